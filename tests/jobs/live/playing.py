"""What plays a clip as if it were live: networks that are slow, viewers that keep what they saw."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from engine.standins import ZeroDifference

from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.frame import Frame
from vdeblur.jobs.live.live import LiveResult, run
from vdeblur.jobs.live.options import LiveOptions
from vdeblur.jobs.live.picture import Captured
from vdeblur.jobs.live.rungs import Load
from vdeblur.jobs.live.serve import _MUXERS, Encoded
from vdeblur.jobs.live.sources import SourceAsk, open_source
from vdeblur.jobs.live.view import Controls, View
from vdeblur.video import formats

SMALL = {"size": (96, 64), "rate": 30}


def loads(network: Any) -> Load:
    return lambda name: Deblurrer(
        network, tile="off", device="cpu", precision="fp32", backend="torch", latency=True
    )


class Slow(ZeroDifference):
    """Says nothing, and takes its time; `took_s` holds how long really."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.took_s = seconds, []

    def correction(self, rgb: torch.Tensor) -> torch.Tensor:
        begin = time.monotonic()
        time.sleep(self.seconds)
        self.took_s.append(time.monotonic() - begin)
        return super().correction(rgb)


class Eyes:
    """A viewer that keeps what it saw, and may act on every view."""

    def __init__(
        self, act: Callable[[View, int], None] = lambda view, count: None, enough: int = 1 << 30
    ) -> None:
        self.views: list[View] = []
        self.act, self.enough, self.closed_count = act, enough, 0

    def show(self, view: View) -> None:
        self.views.append(view)
        self.act(view, len(self.views))

    def closed(self) -> bool:
        return len(self.views) >= self.enough

    def close(self) -> None:
        self.closed_count += 1

    @property
    def times(self) -> list[float]:
        """Capture times of the different pictures seen."""
        return list(dict.fromkeys(view.captured_at_s for view in self.views))


def play(
    path: Path, *viewers: Eyes, network: Any = None, controls: Controls | None = None, **asked: Any
) -> LiveResult:
    source = SourceAsk(str(path), loop=asked.pop("loop", False))
    options = LiveOptions(source, **asked)
    return run(options, viewers, controls, load=loads(network or ZeroDifference()))


def started(clip: Path, *more: str) -> subprocess.Popen[str]:
    words = ["live", str(clip), "--loop", "--headless", "--model", "mimo-unet-tiny", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "vdeblur", *words],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )


def picture(number: int) -> Captured:
    layout = formats.layout_of("gray", 8, 8)
    pixels = np.full((8, 8), number, np.uint8)
    return Captured(Frame((pixels,), layout, 0, Fraction(1, 90000), 0, number), time.monotonic())


def pictures(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as file:
        yield from file.decode(video=0)


def served(path: Path, target: Path) -> Captured:
    """The first picture of a clip, also as `--output` sends it: into a file that stands for an address."""
    captured = open_source(SourceAsk(str(path))).read()
    assert captured is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_MUXERS, "file", "mpegts")
        outlet = Encoded(f"file://{target}", captured, 30)
    outlet.send(captured)
    outlet.close()
    return captured
