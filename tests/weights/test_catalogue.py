"""The table says of every known network what it is, how it scored by which definition, and where it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from weights.files import mimo_state, write_safetensors

from vdeblur.cli.main import main
from vdeblur.models.mimo_unet import MimoUNet
from vdeblur.models.msresnet import MSResNet
from vdeblur.weights import catalogue, places
from vdeblur.weights.catalogue import OFFICIAL, PACKAGE_NAMES


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "package"
    folder.mkdir()
    monkeypatch.setattr(places, "package_folder", lambda: folder)
    return folder


def row(name: str) -> catalogue.Row:
    return next(row for row in catalogue.rows() if row.name == name)


def test_the_official_files_of_both_papers_are_listed() -> None:
    text = " ".join(f"{official.file} {official.page}" for official in OFFICIAL)
    for wanted in (
        "GOPRO_L1,",
        "REDS_L1,",
        "GOPRO_L1_amp",
        "REDS_L1_amp",
        "MIMO-UNet.pkl",
        "MIMO-UNetPlus.pkl",
    ):
        assert wanted in text
    assert "RealBlur" in text
    for official in OFFICIAL:
        assert official.name not in PACKAGE_NAMES
        assert official.stands_for in PACKAGE_NAMES
        assert official.licence
        assert official.page.startswith("https://github.com/")
        if "dB" in official.scores:
            assert "PSNR of" in official.scores, "a score without its definition"
            assert "SSIM" in official.scores


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("mimo-unet-gopro", lambda: MimoUNet(32, 8)),
        ("mimo-unet-plus-gopro", lambda: MimoUNet(32, 20)),
        ("deepdeblur-gopro", lambda: MSResNet()),
    ],
)
def test_parameter_counts_are_those_of_the_networks(name: str, network: type) -> None:
    import torch

    with torch.device("meta"):
        count = sum(value.numel() for value in network().parameters())
    assert row(name).parameters == count


def test_what_ships_is_described_by_its_own_file(package: Path) -> None:
    state = mimo_state(stem="half")
    path = package / "mimo-unet-small.safetensors"
    write_safetensors(path, state, {"license": "Apache-2.0"})
    assert row("mimo-unet-small").scores == "see its card"
    card = "# mimo-unet-small\n\nScores: real pairs +0.3 dB (PSNR of RGB, 8 bit)\n"
    path.with_suffix(".md").write_text(card, encoding="utf-8")
    small = row("mimo-unet-small")
    assert small.here
    assert small.parameters == sum(value.numel() for value in state.values())
    assert (small.family, small.licence) == ("mimo-unet", "Apache-2.0")
    assert small.scores == "real pairs +0.3 dB (PSNR of RGB, 8 bit)"


@pytest.mark.usefixtures("package")
def test_a_broken_import_is_a_row_and_not_the_end_of_the_table() -> None:
    folder = places.imported_folder()
    folder.mkdir(parents=True)
    (folder / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    write_safetensors(folder / "mine.safetensors", mimo_state(), {"source": "MIMO-UNet.pkl"})
    assert row("broken").family == "broken file"
    mine = row("mine")
    assert mine.here
    assert (mine.family, mine.page) == ("mimo-unet", "MIMO-UNet.pkl")


def test_names_are_listed_once() -> None:
    write_safetensors(places.imported_folder() / "mimo-unet-gopro.safetensors", mimo_state())
    names = [row.name for row in catalogue.rows()]
    assert len(names) == len(set(names))


def test_other_weights_under_an_official_name_do_not_borrow_its_scores() -> None:
    state = mimo_state()
    write_safetensors(places.imported_folder() / "mimo-unet-gopro.safetensors", state, {"source": "own.pt"})
    own = row("mimo-unet-gopro")
    assert own.here
    assert own.parameters == sum(value.numel() for value in state.values())
    assert (own.scores, own.page) == ("", "own.pt")


def test_words_of_strangers_do_nothing_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {
        "license": "free\x1b[31m\x1b]0;owned\x07",
        "scores": "high\nmimo-unet-huge  made up",
        "source": "a\rb",
    }
    write_safetensors(places.imported_folder() / "mine.safetensors", mimo_state(), facts)
    assert main(["weights", "list"]) == 0
    out = capsys.readouterr().out
    assert {letter for letter in out if not letter.isprintable()} == {"\n"}
    assert not [line for line in out.splitlines() if line.startswith("mimo-unet-huge")]
    assert "    from:   a b" in out
