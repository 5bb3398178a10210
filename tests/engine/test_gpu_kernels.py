"""The memory that `scripts/gpu_kernels.py` counts for a network is what it moves."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from vdeblur.models.msresnet import MSResNet

SCRIPT = Path(__file__).parents[2] / "scripts/gpu_kernels.py"


def test_memory_is_counted_as_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three scales of four convolutions of 5x5, 8 to 8 channels, the second with a ReLU; two between."""
    spec = importlib.util.spec_from_file_location("gpu_kernels", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_kernels", script)  # its dataclass looks itself up there
    spec.loader.exec_module(script)
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
