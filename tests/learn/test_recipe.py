"""Recipes: each that is shipped is sound, mistakes are named, options change single settings."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import torch

import vdeblur
from vdeblur.cli.main import main
from vdeblur.errors import InputError
from vdeblur.learn.recipe import SHIPPED, Recipe, changes, find_recipe, make_recipe, read_recipe
from vdeblur.models.mimo_unet import MimoUNet
from vdeblur.models.msresnet import MSResNet

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(SHIPPED.glob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_recipes_in_the_tree_are_sound(path: Path) -> None:
    recipe = read_recipe(path)
    first = path.read_text(encoding="utf-8").splitlines()
    assert first[0].startswith("# "), "say what it is for"
    assert any(f"configs/{path.name}" in line for line in first[:4]), "and the command"
    for milestone in recipe.settings.milestones:
        assert 0 < milestone < recipe.settings.steps


def test_every_installation_brings_the_recipes_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    package = Path(vdeblur.__file__).parent
    patterns = packed["tool"]["setuptools"]["package-data"]["vdeblur"]
    brought = {path for pattern in patterns for path in package.glob(pattern)}
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    listed = capsys.readouterr().out
    for path in FILES:
        found = find_recipe(Path(path.stem))
        assert found in brought
        assert read_recipe(found) == read_recipe(path)
        assert f"  {path.stem} " in listed
    (tmp_path / "smoke").write_text("steps = 3", encoding="utf-8")
    assert find_recipe(Path("smoke")) == Path("smoke"), "a file of one's own comes first"


def built(name: str, **changed: object) -> MimoUNet | MSResNet:
    return read_recipe(SHIPPED / f"{name}.toml", changed).make_network()


def test_networks_have_the_sizes_of_their_papers() -> None:
    with torch.device("meta"):  # sizes without numbers
        sizes = {
            name: sum(weight.numel() for weight in built(name).parameters())
            for name in ("train-mimo-unet", "train-mimo-unet-plus", "train-deepdeblur")
        }
        plus, small = built("train-mimo-unet-plus"), built("mimo-unet-small")
    assert isinstance(plus, MimoUNet)
    assert isinstance(small, MimoUNet)
    assert sizes["train-mimo-unet"] == 6_807_171
    assert sizes["train-mimo-unet-plus"] == 16_107_651
    assert sizes["train-deepdeblur"] == 11_721_321
    assert plus.dropout == 0.1
    assert (small.channels, small.blocks, small.stem) == (32, 4, "half")


def test_weights_to_start_from_know_their_sizes() -> None:
    network = built("finetune-own-video", start="mimo-unet-tiny", dropout=0.25)
    assert isinstance(network, MimoUNet)
    assert (network.channels, network.blocks, network.stem, network.dropout) == (16, 4, "half", 0.25)
    assert all(weight.requires_grad for weight in network.parameters())


def test_weights_that_are_not_here_say_how_to_get_them() -> None:
    with pytest.raises(InputError, match=r"--start mimo-unet-gopro: .*weights import"):
        built("finetune-reds-mimo-unet")


def recipe(**values: object) -> Recipe:
    return make_recipe(values, "recipe.toml")


def test_single_settings_are_changed() -> None:
    changed = changes(["steps=7", "rate=1", "loss=relative", "blur_jpeg=1", "validation=000,val/001"])
    settings = recipe(**changed).settings
    assert (settings.steps, settings.rate, settings.loss) == (7, 1.0, "relative")
    assert settings.motion.jpeg == 1.0
    assert settings.validation == ("000", "val/001")
    assert recipe(**changes(["validation=200"])).settings.validation == ("200",)
    assert recipe(**changes(["validation=2026-05-01"])).settings.validation == ("2026-05-01",)
    assert recipe(milestones=[3, 5]).settings.milestones == (3, 5)
    assert recipe(blur="blur_gamma").settings.blur == "blur_gamma"


@pytest.mark.parametrize(
    "line",
    ["step = 3", "steps = 2.5", 'rate = "fast"', "tensorboard = 1", "steps =", "milestones = [1.5]", "\0"],
)
def test_a_recipe_with_a_mistake_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(InputError, match=r"recipe\.toml"):
        read_recipe(path)


@pytest.mark.parametrize("data", [b"steps = 3 # \xbe", b"\xff\xfes\0t\0", bytes(range(128, 256))])
def test_a_recipe_that_is_not_utf_8_is_refused_in_one_line(
    data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(data)
    assert main(["train", str(path), "--output", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"vdeblur: {path}: is no TOML")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": "l2"}, "loss is 'l2'; choose mimo, relative, energy, l1, mse"),
        ({"steps": 0}, "steps is 0; it must be 1 at least"),
        ({"rate": -1.0}, "rate is -1.0; it must not be negative"),
        ({"ema": 1.0}, "ema must lie"),
        ({"source": "pairs", "cut": 128}, "cut is 128, smaller than crop, which is 192"),
        ({"blur_size": 128}, "blur_size is 128, smaller than crop, which is 192"),
        ({"blur_size": 193, "crop": 64}, "blur_size is 193; it must be even, and 16 at least"),
        (
            {"blur_longest_px": 0.0},
            "blur_shortest_px is 2.0 and blur_longest_px is 0.0; the first must be above",
        ),
        ({"blur_smallest": 0.0}, "blur_smallest is 0.0 and blur_largest is 1.6; the first must be above 0"),
        ({"blur_fewest": 0}, "blur_fewest is 0 and blur_most is 65; the first must be above 0"),
        ({"blur_jpeg": 5.0}, r"blur_jpeg is 5.0; it must lie in \[0, 1\]"),
        ({"neutral": 1.5}, r"ema must lie in \[0, 1\), saturation and neutral in \[0, 1\]"),
        ({"adversarial": 0.1}, "adversarial needs a crop of 256"),
        ({"on_device": True, "source": "drawn"}, "on_device makes blur from sharp pictures"),
        ({"family": "unet"}, "family is 'unet'; choose mimo-unet, deepdeblur"),
        ({"stem": "quarter"}, "stem is 'quarter'; choose full, half"),
        ({"channels": 0}, "channels and blocks must be 1 at least"),
        ({"validation": True}, "validation is True; give beginnings of clips' names, as val/000"),
        ({"milestones": "50,75"}, r"milestones is '50,75'; give steps, as \[1000, 2000\]"),
        ({"start": 3}, "start is 3; expected text"),
        ({"warm_up": 1.5}, "warm_up is 1.5; expected a value like 300"),
    ],
)
def test_values_that_cannot_be_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=rf"recipe\.toml: {message}"):
        recipe(**values)


def test_a_crop_must_fit_the_network() -> None:
    with pytest.raises(InputError, match="crop is 100; this network needs a multiple of 8"):
        recipe(crop=100).settings.check_crop(8)
