"""A network grown to twice its width computes the same, and its copies part ways."""

from __future__ import annotations

import pytest
import torch

from vdeblur.learn.widen import widen
from vdeblur.models.mimo_unet import MimoUNet


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
