"""Memory that runs out in the middle of a run costs smaller tiles and one line, not the run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from engine import standins
from torch import Tensor
from video import media

from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.jobs import deblur
from vdeblur.jobs.plan import Options, make_plan


class RunsOut(standins.ConstantDifference):
    """Has room for small pictures only, from its twelfth picture on."""

    calls = 0

    def correction(self, rgb: Tensor) -> Tensor:
        self.calls += 1
        if self.calls > 12 and rgb.shape[-2] * rgb.shape[-1] > 400 * 400:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().correction(rgb)


def test_the_frame_is_done_again_and_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "clip.mp4"
    media.write_clip(clip, frames=20, size=(640, 400))
    network = RunsOut(0.02, 0.02, 0.02)
    engine = Deblurrer(network, device="cpu", precision="fp32")
    monkeypatch.setattr(Deblurrer, "load", lambda **options: engine)
    told: list[str] = []
    plan = make_plan(str(clip), tmp_path / "out.mp4", Options(model="mimo-unet-tiny"))
    result = deblur.run(plan, lambda event: told.append(getattr(event, "text", "")))
    totals = result.ledger.totals()
    assert totals["frames"] == 20, totals
    said = [text for text in told if "memory" in text]
    assert said == [
        "out of memory: going on in tiles of 512x400",
        "out of memory: going on in tiles of 384x384",
    ]
