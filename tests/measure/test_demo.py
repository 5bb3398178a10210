"""The demo's clip is what it says: blur from motion, in linear light, around the sharp frame."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from vdeblur import metrics
from vdeblur.measure import demo


def test_frames_are_blurred_and_the_sharp_one_stands_in_the_middle() -> None:
    pairs = list(demo.shaken_frames(8, seed=7))
    scores = [metrics.psnr(blurred, sharp, data_range=255) for blurred, sharp in pairs]
    assert {pair[0].shape for pair in pairs} == {(*demo.SIZE, 3)}
    assert 15 < float(np.mean(scores)) < 40
    # Averaging in linear light never darkens.
    assert all(blurred.mean() >= sharp.mean() - 0.5 for blurred, sharp in pairs)


@pytest.mark.slow
def test_demo_leaves_clips_with_sound_scores_and_a_picture(tmp_path: Path) -> None:
    result = demo.demo(tmp_path, seconds=0.25, model="mimo-unet-tiny")
    for path in (result.sharp, result.shaken, result.result):
        with av.open(str(path)) as clip:
            assert sum(1 for _ in clip.decode(video=0)) == result.frames == 6
            assert clip.streams.audio
    assert result.picture.read_bytes().startswith(b"\x89PNG")
    words = dict(result.describe())
    assert "dB before" in words["PSNR"]
    assert result.true_fps > 0
