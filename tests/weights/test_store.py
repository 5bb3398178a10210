"""A name means weights: names are found, refused with the next step, imported once and removed again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from weights.files import mimo_state, msresnet_state, write_safetensors, write_torch

from vdeblur.errors import InputError, MissingRuntimeError, VdeblurError
from vdeblur.weights import catalogue, places, quantised, store
from vdeblur.weights.arrays import load_arrays
from vdeblur.weights.containers import read_header, sha256
from vdeblur.weights.loading import load_network


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with tiny stand-ins for the shipped weights."""
    folder = tmp_path / "package"
    for name in ("mimo-unet-small", "mimo-unet-tiny"):
        write_safetensors(folder / f"{name}.safetensors", mimo_state(stem="half"), {"license": "Apache-2.0"})
    monkeypatch.setattr(places, "package_folder", lambda: folder)
    return folder


def refusal(model: str, weights: Path | None = None, kind: str = "cpu") -> str:
    with pytest.raises(InputError) as caught:
        store.resolve(model, weights, kind)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("kind", ["cpu", "cuda", "mps"])
def test_auto_is_the_small_network_until_a_larger_one_ships(kind: str, package: Path) -> None:
    assert store.resolve("auto", None, kind).name == "mimo-unet-small"
    write_safetensors(package / "mimo-unet.safetensors", mimo_state())
    wanted = "mimo-unet-small" if kind == "cpu" else "mimo-unet"
    assert store.resolve("auto", None, kind).name == wanted


def test_folders_that_cannot_be_looked_into_are_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of another user's; a name too long fails alike, also for root."""
    for variable in ("VDEBLUR_DATA", "VDEBLUR_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path / ("x" * 300)))
    assert {row.name for row in catalogue.rows() if row.here} == {"mimo-unet-tiny", "mimo-unet-small"}
    assert quantised.find(places.shipped()["mimo-unet-tiny"], ensemble=True) == (None, "")
    assert "no weights of that name" in refusal("mine")


def test_auto_without_any_weights_says_so(package: Path) -> None:
    for path in package.iterdir():
        path.unlink()
    assert "install vdeblur again" in refusal("auto")
    assert "missing from this installation" in refusal("mimo-unet-small")


def test_names_of_the_package(package: Path) -> None:
    found = store.resolve("mimo-unet-tiny", None, "cpu")
    path = package / "mimo-unet-tiny.safetensors"
    assert found == store.WeightsRef("mimo-unet-tiny", path, "mimo-unet", False)
    assert store.resolve("mimo-unet-tiny@ensemble", None, "cpu").ensemble


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "file", "use"),
    [
        ("mimo-unet", "MIMO-UNet.pkl", "--model mimo-unet-gopro"),
        ("mimo-unet-plus", "MIMO-UNetPlus.pkl", "--model mimo-unet-plus-gopro"),
        ("mimo-unet-plus-plus", "MIMO-UNetPlus.pkl", "--model mimo-unet-plus-gopro@ensemble"),
        ("deepdeblur", "GOPRO_L1", "--model deepdeblur-gopro"),
        ("deepdeblur-reds-amp", "REDS_L1_amp", "--model deepdeblur-reds-amp"),
    ],
)
def test_a_name_without_weights_says_how_to_get_them(name: str, file: str, use: str) -> None:
    text = refusal(name)
    assert text.startswith(f"--model {name}: ")
    assert file in text
    assert "https://github.com/" in text
    assert "`vdeblur weights import FILE --name" in text
    assert text.endswith(use)


@pytest.mark.usefixtures("package")
def test_unknown_names_are_met_with_near_ones(tmp_path: Path) -> None:
    assert "did you mean mimo-unet-small" in refusal("mimo-unet-smal")
    text = refusal("zzz")
    assert "did you mean" not in text
    assert "here: mimo-unet-small, mimo-unet-tiny" in text
    file = write_torch(tmp_path / "own.pkl", {"model": mimo_state()})
    assert refusal(str(file)).endswith(f"write --weights {file}")


@pytest.mark.usefixtures("package")
def test_a_file_instead_of_a_name(tmp_path: Path) -> None:
    pickle = write_torch(tmp_path / "own.pkl", {"model": mimo_state()})
    assert store.resolve("auto", pickle, "cpu") == store.WeightsRef("own.pkl", pickle, None, False)
    tensors = write_safetensors(tmp_path / "own.safetensors", msresnet_state())
    assert store.resolve("auto", tensors, "cpu").family == "msresnet"
    assert store.resolve("mimo-unet-plus-plus", pickle, "cpu").ensemble
    assert "leave --model out" in refusal("mimo-unet", pickle)
    assert "no rotation ensemble" in refusal("mimo-unet-plus-plus", tensors)
    assert "there is no such weights file" in refusal("auto", tmp_path / "none.pt")


@pytest.mark.usefixtures("package")
def test_a_file_whose_keys_have_a_prefix_is_used_as_it_is(tmp_path: Path) -> None:
    state = {f"module.{key}": value for key, value in mimo_state().items()}
    path = write_safetensors(tmp_path / "mine.safetensors", state)
    assert store.resolve("auto", path, "cpu").family == "mimo-unet"
    assert load_arrays(path).architecture.channels == 4


def test_import_use_list_remove(tmp_path: Path) -> None:
    state = mimo_state(channels=8, blocks=2)
    original = write_torch(tmp_path / "MIMO-UNetPlus.pkl", {"model": state}, legacy=True)
    stored = store.import_weights(str(original), "mimo-unet-plus-gopro")
    original_sum = sha256(original)
    original.unlink()
    assert stored.sha256 == original_sum
    assert dict(stored.describe())["SHA-256"].startswith(original_sum)

    header = read_header(stored.path)
    assert header.metadata["original_sha256"] == original_sum
    assert header.metadata["source"] == "MIMO-UNetPlus.pkl"
    assert (header.metadata["family"], header.metadata["blocks"]) == ("mimo-unet", "2")

    found = store.resolve("mimo-unet-plus-gopro@ensemble", None, "cpu")
    assert (found.path, found.ensemble) == (stored.path, True)
    loaded = load_network(stored.path)
    for key, value in loaded.network.state_dict().items():
        assert torch.equal(value, state[key])
    assert "you have mimo-unet-plus-gopro@ensemble" in refusal("mimo-unet-plus-plus")
    assert {row.name: row.here for row in catalogue.rows()}["mimo-unet-plus-gopro"]
    assert "mimo-unet-plus-gopro" in places.imported()

    with pytest.raises(InputError, match="weights remove mimo-unet-plus-gopro"):
        store.import_weights(str(stored.path), "mimo-unet-plus-gopro")
    assert "removed" in store.remove("mimo-unet-plus-gopro")
    assert not stored.path.exists()
    with pytest.raises(InputError, match="not imported"):
        store.remove("mimo-unet-plus-gopro")


@pytest.mark.parametrize("name", [*catalogue.PACKAGE_NAMES, "auto"])
def test_names_of_the_package_are_taken(name: str) -> None:
    with pytest.raises(InputError, match="names of the package are taken; type for example --name") as caught:
        store.import_weights("any.pkl", name)
    store.check_name(str(caught.value).split("--name ")[-1])
    with pytest.raises(InputError, match=r"stays|not imported"):
        store.remove(name)


@pytest.mark.parametrize(
    "name", ["", "../x", "A", "a/b", "a b", ".x", "-x", "x.", "x@ensemble", "a" * 65, "ü"]
)
def test_names_that_cannot_be_files_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="small letters"):
        store.check_name(name)


@pytest.mark.parametrize(("key", "words"), [("SCM2.conv.main.0.bias", "is missing"), ("", "not numbers")])
def test_a_file_laid_beside_the_imports_is_looked_at_like_any_other(key: str, words: str) -> None:
    """What `import` has looked at is read as it is, also without torch; what somebody copied there is not."""
    state = mimo_state()
    if key:
        del state[key]
    else:
        state["FAM1.merge.main.0.bias"][0] = float("nan")
    path = write_safetensors(places.imported_folder() / "copied.safetensors", state)
    with pytest.raises(InputError, match=words):
        load_arrays(path)
    good = write_torch(places.imported_folder() / "good.pkl", {"model": mimo_state()})
    stored = store.import_weights(str(good), "good")
    assert len(load_arrays(stored.path).arrays) == len(mimo_state())


def test_a_refused_import_leaves_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pkl"
    bad.write_text("no weights here")
    with pytest.raises(InputError, match="a text file"):
        store.import_weights(str(bad), "mine")
    assert not places.imported()
    assert [path for path in places.data_folder().rglob("*") if path.is_file()] == []


def test_a_data_folder_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("VDEBLUR_DATA", str(tmp_path / "file"))
    original = write_torch(tmp_path / "w.pkl", {"model": mimo_state()})
    with pytest.raises(VdeblurError, match="VDEBLUR_DATA names another folder"):
        store.import_weights(str(original), "mine")


def test_the_data_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VDEBLUR_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "/x/share")
    assert places.data_folder() == Path("/x/share/vdeblur")
    monkeypatch.setenv("XDG_DATA_HOME", "relative/ignored")
    assert places.data_folder() == tmp_path / ".local/share/vdeblur"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert places.data_folder() == tmp_path / "Library/Application Support/vdeblur"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/appdata")
    assert places.data_folder() == Path("/appdata/vdeblur")


def test_a_user_without_a_home_runs_what_the_package_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare number in a container: `~` means nothing."""
    monkeypatch.delenv("VDEBLUR_DATA")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert store.resolve("auto", None, "cpu").path.parent == places.package_folder()
    assert places.imported() == {}
    assert places.data_folder().is_absolute()


@pytest.mark.parametrize("name", ["a" * 300, "~nobody-here/w.pt"])
def test_names_that_no_file_can_have_are_refused_in_one_line(name: str) -> None:
    for ask in (
        lambda: store.resolve(name, None, "cpu"),
        lambda: store.resolve("auto", Path(name), "cpu"),
        lambda: store.import_weights(name, "mine"),
        lambda: store.export_onnx(name, Path("w.onnx"), 64, 64),
    ):
        with pytest.raises(InputError):
            ask()


def test_export_says_what_to_install_where_onnx_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    path = write_safetensors(tmp_path / "w.safetensors", mimo_state())
    with pytest.raises(MissingRuntimeError, match=r"needs onnx.*pip install 'vdeblur\[onnx\]'"):
        store.export_onnx(str(path), tmp_path / "w.onnx", 64, 64)
    assert not (tmp_path / "w.onnx").exists()


def test_finding_and_listing_load_no_torch(tmp_path: Path) -> None:
    write_safetensors(places.imported_folder() / "mine.safetensors", mimo_state())
    file = write_torch(tmp_path / "w.pkl", {"model": mimo_state()})
    program = (
        "import sys; from pathlib import Path; from vdeblur.weights import catalogue, store\n"
        "assert any(row.name == 'mine' and row.here for row in catalogue.rows())\n"
        "store.resolve('mine', None, 'cpu'); store.resolve('auto', Path(sys.argv[1]), 'cpu')\n"
        "store.remove('mine')\n"
        "print(sorted({'torch', 'numpy', 'safetensors', 'av'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
