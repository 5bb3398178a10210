"""The training loop on a tiny network: it learns, resumes, averages, skips bad steps and survives a crash."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from vdeblur.data.synthesis import BlurSettings, held_out
from vdeblur.errors import InputError
from vdeblur.learn import checkpoint
from vdeblur.learn import train as training
from vdeblur.learn.muon import orthogonal
from vdeblur.learn.recipe import read_recipe
from vdeblur.learn.train import Settings, follow, rate_at, train
from vdeblur.learn.widen import widen
from vdeblur.models.mimo_unet import MimoUNet

cv2 = pytest.importorskip("cv2", reason="OpenCV does not load here", exc_type=ImportError)

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
BLUR = BlurSettings(size=48, longest_px=6)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three training pictures and one held out, 64x64."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    names = (f"picture-{i}.png" for i in itertools.count())
    training_names = itertools.islice((n for n in names if not held_out(n)), 3)
    validation_names = itertools.islice((n for n in names if held_out(n)), 1)
    for name in [*training_names, *validation_names]:
        cells = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / name), cv2.resize(cells, (64, 64), interpolation=cv2.INTER_NEAREST))
    return folder


def settings(photographs: Path, output: Path, steps: int) -> Settings:
    return Settings(
        photographs,
        output,
        steps=steps,
        decay=4,
        warm_up=2,
        batch=2,
        crop=32,
        optimizer="muon",
        bf16=False,
        pool=4,
        log_every=2,
        save_every=3,
        validate_every=1000,
        blur=BLUR,
    )


def network() -> MimoUNet:
    torch.manual_seed(1)
    return MimoUNet(4, 1, "half")


def test_a_run_leaves_a_checkpoint_and_goes_on_from_it(photographs: Path, tmp_path: Path) -> None:
    said: list[str] = []
    outcome = train(network(), settings(photographs, tmp_path, 4), said.append)
    assert outcome.steps == 4
    assert outcome.skipped == 0
    assert any("synthetic gain" in line for line in said)
    state = checkpoint.load(tmp_path / "last.pt")
    assert state["step"] == 4
    assert not list(tmp_path.glob("*.part"))

    said.clear()
    again = train(network(), settings(photographs, tmp_path, 6), said.append)
    assert said[0] == "going on from step 4"
    assert again.steps == 6
    assert checkpoint.load(tmp_path / "last.pt")["step"] == 6


def test_steps_whose_gradient_is_not_finite_change_nothing(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(results: tuple[torch.Tensor, ...], targets: object) -> torch.Tensor:
        return results[0].sum() * math.nan

    monkeypatch.setattr(training, "mimo_loss", broken)
    start = network()
    before = {key: value.clone() for key, value in start.state_dict().items()}
    outcome = train(start, settings(photographs, tmp_path, 3), lambda _: None)
    assert outcome.skipped == 3
    assert all(torch.equal(value, before[key]) for key, value in start.state_dict().items())


def test_the_rate_rises_stays_and_falls() -> None:
    s = Settings(Path(), Path(), steps=100, decay=40, warm_up=10)
    assert rate_at(0, s) == pytest.approx(0.1)
    assert rate_at(9, s) == rate_at(60, s) == 1.0
    assert rate_at(80, s) == pytest.approx(0.5)
    assert rate_at(99, s) < 0.01


def test_the_average_follows_slowly() -> None:
    average, moving = network(), network()
    with torch.no_grad():
        for weight in moving.parameters():
            weight.add_(1.0)
    before = [weight.clone() for weight in average.parameters()]
    follow(average, moving, 0.9)
    for weight, old in zip(average.parameters(), before, strict=True):
        torch.testing.assert_close(weight, old + 0.1)


def test_learning_lowers_the_loss_on_one_batch() -> None:
    torch.manual_seed(2)
    student = MimoUNet(16, 1, "half")
    sharp = torch.rand(2, 3, 32, 32)
    blurred = torch.nn.functional.avg_pool2d(sharp, (1, 5), 1, (0, 2))
    optimizers = training.make_optimizers(student, Settings(Path(), Path(), optimizer="muon", rate=3e-3))
    losses = []
    for _ in range(25):
        loss = training.mimo_loss(student.scales(blurred), student.pyramid(sharp))
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("shape", [(16, 144), (64, 16)])
def test_muon_updates_are_nearly_orthogonal(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrices))
    assert values.min() > 0.3
    assert values.max() < 1.3


@pytest.mark.parametrize("stem", ["full", "half"])
@torch.inference_mode()
def test_a_widened_network_computes_the_same(stem: str) -> None:
    torch.manual_seed(4)
    narrow = MimoUNet(8, 2, stem)  # type: ignore[arg-type]
    wide = widen(narrow)
    assert wide.channels == 16
    rgb = torch.rand(1, 3, 32, 48)
    for ours, theirs in zip(wide.scales(rgb), narrow.scales(rgb), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_the_copies_of_a_widened_network_part_ways() -> None:
    torch.manual_seed(4)
    wide = widen(MimoUNet(8, 1, "half"))
    rgb = torch.rand(1, 3, 32, 32)
    wide(rgb).square().mean().backward()
    gradient = wide.get_parameter("Encoder.1.layers.0.main.0.main.0.weight").grad
    assert gradient is not None
    assert not torch.allclose(gradient[:16], gradient[16:], rtol=1e-2)


def test_exported_weights_are_half_precision_with_facts(tmp_path: Path) -> None:
    from safetensors import safe_open

    path = tmp_path / "small.safetensors"
    checkpoint.export(path, network().state_dict(), {"family": "mimo-unet"})
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"family": "mimo-unet"}
        assert set(file.keys()) == set(network().state_dict())
        assert file.get_tensor("feat_extract.0.main.0.weight").dtype == torch.float16


def test_a_crash_while_saving_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"step": 1})

    def crash(state: object, target: Path) -> None:
        target.write_bytes(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", crash)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, {"step": 2})
    assert checkpoint.load(path) == {"step": 1}


def test_the_shipped_recipes_are_read() -> None:
    for name, channels in (("tiny", 16), ("small", 32)):
        recipe = read_recipe(CONFIGS / f"mimo-unet-{name}.toml", {"steps": 7, "blur_jpeg": 1})
        network = recipe.make_network()
        assert (network.channels, network.blocks, network.stem) == (channels, 4, "half")
        assert recipe.settings.steps == 7
        assert recipe.settings.blur.jpeg == 1.0


@pytest.mark.parametrize("line", ["step = 3", "steps = 2.5", 'rate = "fast"', "bf16 = 1", "steps ="])
def test_a_recipe_with_a_mistake_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(line)
    with pytest.raises(InputError, match=r"recipe\.toml"):
        read_recipe(path)
