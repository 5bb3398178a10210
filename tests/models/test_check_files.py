"""The networks reproduce the official code's results: inputs, weights and outputs lie beside the project."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vdeblur.models.contract import DeblurNetwork
from vdeblur.models.mimo_unet import MimoUNet, RotationEnsemble
from vdeblur.models.msresnet import MSResNet, gaussian_pyramid

SHARED = Path(__file__).resolve().parents[3] / "shared"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(
        not (SHARED / "checkpoints" / "fill.py").exists(), reason=f"no check files at {SHARED}"
    ),
]
SIZES = ("64x64", "96x160")


def check_file(name: str, layout: str) -> tuple[Any, dict[str, torch.Tensor]]:
    """The arrays of a check file and the weights that belong to it, whose digest is compared first."""
    spec = importlib.util.spec_from_file_location("fill", SHARED / "checkpoints" / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    arrays = np.load(SHARED / "checkpoints" / f"{name}.npz")
    shapes = fill.layout(SHARED / "state_dicts" / f"{layout}.txt")
    state = fill.fill(shapes, float(arrays["gain"]), float(arrays["bias"]))
    assert fill.digest(state) == str(arrays["weights_sha256"]), "numpy draws other weights than the file's"
    return arrays, {key: torch.from_numpy(value) for key, value in state.items()}


def assert_close(result: torch.Tensor, reference: np.ndarray[Any, Any], scale: float = 1.0) -> None:
    error = np.abs(result.numpy() * scale - reference).max() / (reference.max() - reference.min())
    assert error <= 1e-5, f"largest error {error:.2e} of the reference's range"


@pytest.mark.parametrize(("name", "blocks"), [("mimo-unet", 8), ("mimo-unet-plus", 20)])
@torch.inference_mode()
def test_mimo_unet_gives_the_official_results_at_all_three_sizes(name: str, blocks: int) -> None:
    arrays, state = check_file(name, name)
    network = MimoUNet(blocks=blocks, dropout=0.1 if blocks == 20 else 0.0).eval()
    network.load_state_dict(state)
    for size in SIZES:
        rgb = torch.from_numpy(arrays[f"input_{size}"])
        for result, scale in zip(network.scales(rgb), ("full", "half", "quarter"), strict=True):
            assert_close(result, arrays[f"output_{scale}_{size}"])
        assert_close(network(rgb), arrays[f"output_full_{size}"])


@torch.inference_mode()
def test_the_rotation_ensemble_gives_the_reference_mean() -> None:
    arrays, state = check_file("mimo-unet-plus-plus", "mimo-unet-plus")
    network = MimoUNet(blocks=20).eval()
    network.load_state_dict(state)
    for size in SIZES:
        result = RotationEnsemble(network)(torch.from_numpy(arrays[f"input_{size}"]))
        assert_close(result, arrays[f"output_full_{size}"])


@torch.inference_mode()
def test_msresnet_gives_the_official_results_from_its_own_pyramid() -> None:
    arrays, state = check_file("deepdeblur-msresnet", "deepdeblur-msresnet")
    network = MSResNet().eval()
    network.load_state_dict(state)
    for size in SIZES:
        rgb = torch.from_numpy(arrays[f"image_{size}"]).permute(2, 0, 1)[None].float() / 255
        for level, scale in zip(gaussian_pyramid(rgb, 3), ("full", "half", "quarter"), strict=True):
            assert np.abs(level.numpy() * 255 - arrays[f"input_{scale}_{size}"]).max() < 1e-3
        for result, scale in zip(network.scales(rgb), ("full", "half", "quarter"), strict=True):
            assert_close(result, arrays[f"output_{scale}_{size}"], 255)


@pytest.mark.parametrize(
    ("layout", "make"),
    [
        ("mimo-unet", MimoUNet),
        ("mimo-unet-plus", lambda: MimoUNet(blocks=20)),
        ("deepdeblur-msresnet", MSResNet),
    ],
)
def test_keys_and_shapes_are_the_official_ones(layout: str, make: Callable[[], DeblurNetwork]) -> None:
    listed = {
        key: shape
        for key, shape, _ in (
            line.split() for line in (SHARED / "state_dicts" / f"{layout}.txt").read_text().splitlines()
        )
    }
    ours = {key: "x".join(map(str, value.shape)) for key, value in make().state_dict().items()}
    assert ours == listed


@torch.inference_mode()
def test_half_precision_stays_within_one_per_cent_where_it_is_called_safe() -> None:
    """MSResNet was measured once in the same way (3e-3); float16 on a CPU is too slow to repeat it here."""
    arrays, state = check_file("mimo-unet", "mimo-unet")
    network = MimoUNet().eval()
    network.load_state_dict(state)
    rgb = torch.from_numpy(arrays["input_64x64"])[..., :16, :16]
    exact = network(rgb)
    rough = network.half()(rgb.half()).float()
    assert (rough - exact).abs().max() <= 1e-2 * (exact.max() - exact.min())
