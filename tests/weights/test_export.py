"""An exported network gives the same pictures, at sizes other than the one it was exported with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from weights.files import mimo_state, msresnet_state, write_safetensors

from vdeblur.errors import InputError
from vdeblur.weights import store
from vdeblur.weights.loading import load_network

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")


@pytest.mark.parametrize("network", ["full", "half", "msresnet", "full@ensemble"])
def test_the_exported_network_gives_the_same_pictures(network: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    plain = network.removesuffix("@ensemble")
    state = msresnet_state() if plain == "msresnet" else mimo_state(stem=plain)
    path = write_safetensors(tmp_path / "w.safetensors", state)
    file = tmp_path / "w.onnx"
    line = store.export_onnx(str(path) + network.removeprefix(plain), file, 64, 96)
    assert str(file) in line
    assert [p.name for p in tmp_path.iterdir() if "onnx" in p.name] == ["w.onnx"]
    session = runtime.InferenceSession(str(file))
    own = load_network(path, ensemble=network != plain).network
    for height, width in ((64, 96), (40, 120)):
        rgb = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        (sharp,) = session.run(None, {"blurred": rgb.numpy()})
        with torch.inference_mode():
            error = np.abs(sharp - own(rgb).numpy())
        assert error.max() < 1e-5, f"{height}x{width}: max {error.max():.2e}, mean {error.mean():.2e}"


def test_targets_and_sizes_that_cannot_be(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "w.safetensors", mimo_state(stem="half"))
    for file, size, words in (
        ("w.bin", (64, 64), "must end in .onnx"),
        ("none/w.onnx", (64, 64), "there is no folder"),
        ("w.onnx", (60, 64), "multiples of 8"),
        ("w.onnx", (8, 64), "multiples of 8"),
    ):
        with pytest.raises(InputError, match=words):
            store.export_onnx(str(path), tmp_path / file, *size)
    (tmp_path / "w.onnx").write_bytes(b"mine")
    with pytest.raises(InputError, match="is there already"):
        store.export_onnx(str(path), tmp_path / "w.onnx", 64, 64)
    assert (tmp_path / "w.onnx").read_bytes() == b"mine"
