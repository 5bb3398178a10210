"""The memory that `scripts/gpu_kernels.py` counts for a network is what it moves."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from engine.late import LateDevice, Schedule
from torch.profiler import ProfilerActivity

from vdeblur.models.msresnet import MSResNet

SCRIPT = Path(__file__).parents[2] / "scripts/gpu_kernels.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_kernels", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_kernels", loaded)  # its dataclass looks itself up there
    spec.loader.exec_module(loaded)
    return loaded


def test_the_script_goes_through_without_a_gpu(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a device of the tests: what a GPU is lent for must not break at a line that none has run."""
    monkeypatch.setattr(script, "Cuda", lambda place: LateDevice(Schedule(), lambda lap: 1.0))
    monkeypatch.setattr(script, "ProfilerActivity", SimpleNamespace(CUDA=ProfilerActivity.CPU))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sys, "argv", ["gpu_kernels.py", "--model", "mimo-unet-tiny", "--size", "64x48"])
    assert script.main() == 0
    said = capsys.readouterr().out
    for line in (
        "mimo-unet-tiny, 64x48, float16: ",
        "float16: 1000.000 ms a frame, open after ",
        "float32: 1000.000 ms a frame, open after ",
        "float16, one frame at a time: torch's profiler sees no kernels here",
        "float16, cuDNN's own choice of kernels: 1000.000 ms a frame",
        "float16, 4 frames at a time: 250.000 ms a frame",
        "float16, all kernels tried: ",
    ):
        assert line in said, said


def test_memory_is_counted_as_by_hand(script: ModuleType) -> None:
    """Three scales of four convolutions of 5x5, 8 to 8 channels, the second with a ReLU; two between."""
    found = script.traffic(MSResNet(features=8, blocks=1), 16, 24)
    fine, weights = 2 * 8 * 16 * 24, 2 * 8 * 8 * 5 * 5
    middle, coarse = fine // 4, fine // 16
    assert found.convolutions == 3 * 4 + 2
    each = (fine + middle + coarse) * (4 * 2 + 1)  # in and out, and the block's input, added
    larger = (middle + coarse) * (1 + 2)  # 8 channels to 16
    assert found.once == each + 12 * weights + larger + 2 * 2 * weights
    # The pass reads and writes; all have one but those with a ReLU, which read their own result.
    assert found.passes == (fine + middle + coarse) * 3 * 2 + (middle + coarse) * 2 * 2
    assert found.unused == fine + middle + coarse
