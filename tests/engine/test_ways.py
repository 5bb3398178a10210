"""Ways to compute on a GPU, as far as they can be seen without one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vdeblur.engine import ways
from vdeblur.engine.rewrite import plain
from vdeblur.models.mimo_unet import MimoUNet


@pytest.mark.parametrize(
    ("tried", "search_s", "searches"),
    [(10, 60.0, True), (10, -1.0, False), (0, -1.0, True), (None, 60.0, False)],
)
def test_kernels_are_searched_for_as_long_as_there_is_time(
    tried: int | None, search_s: float, searches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library may compile for minutes: the first frame does not wait for all of it."""
    seen: set[bool] = set()

    def watching(*parts: Any) -> Tensor:
        seen.add(torch.backends.cudnn.benchmark)
        return plain(*parts)

    monkeypatch.setattr(ways, "SEARCH_S", search_s)
    correct = ways._computing(MimoUNet(channels=8, blocks=1).eval(), tried, watching)
    before = torch.backends.cudnn.benchmark
    with torch.inference_mode():
        correct(torch.rand(1, 3, 16, 16))
    assert seen == {searches}
    assert torch.backends.cudnn.benchmark == before
