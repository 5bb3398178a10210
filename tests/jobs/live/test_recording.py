"""Recordings follow the clock of capture, hold nobody up, and are kept when something fails."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from jobs.live.playing import Eyes, Slow, pictures, play
from video import media

from vdeblur.errors import VdeblurError
from vdeblur.frame import Frame
from vdeblur.jobs.live.ladder import Goal
from vdeblur.jobs.live.picture import Look
from vdeblur.jobs.live.record import RecordAsk, Recordings
from vdeblur.jobs.live.serve import _MUXERS
from vdeblur.jobs.live.view import Controls, View
from vdeblur.video import formats
from vdeblur.video.sink import Sink
from vdeblur.video.writer import Writer


def test_a_recording_follows_the_clock_of_capture(clip: Path, tmp_path: Path) -> None:
    eyes, target = Eyes(enough=25), tmp_path / "out.mp4"
    result = play(clip, eyes, network=Slow(0.04), loop=True, record=RecordAsk(target))
    assert result.recordings == (target,)
    with av.open(str(target)) as file:
        video = file.streams.video[0]
        found = [float(frame.pts * video.time_base) for frame in file.decode(video)]
    expected = [t - eyes.times[0] for t in eyes.times]
    assert np.abs(np.subtract(found, expected[: len(found)])).max() < 2 / 90000
    assert len(found) >= len(expected) - 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_nobody_waits_while_a_recording_is_finished(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An MP4 is written once more for its index, which may take long. Nor is its name given away."""
    controls, seen, finish = Controls(recording=True), threading.Event(), Writer.finish
    waited: list[bool] = []

    def late(self: Writer) -> Path:
        waited.append(seen.wait(10))
        return finish(self)

    def act(view: View, count: int) -> None:
        if count in (5, 10, 15):
            controls.wish("record")
        if count == 20:
            seen.set()

    monkeypatch.setattr(Writer, "finish", late)
    monkeypatch.setattr(time, "strftime", lambda form: "now")
    monkeypatch.chdir(tmp_path)
    result = play(clip, Eyes(act, enough=20), loop=True, controls=controls)
    assert waited == [True, True]
    assert len(set(result.recordings)) == 2
    for path in result.recordings:
        assert len(list(pictures(path))) > 2


def test_a_picture_that_changes_its_size_goes_on_in_another_recording_and_is_not_stretched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "both.ts"
    parts = [
        media.write_clip(tmp_path / f"{n}.ts", size=size, frames=20, rate=30).path.read_bytes()
        for n, size in enumerate(((96, 64), (128, 96)))
    ]
    whole.write_bytes(b"".join(parts))
    eyes, target, served = Eyes(), tmp_path / "out.mp4", tmp_path / "served.ts"
    monkeypatch.setitem(_MUXERS, "file", "mpegts")
    asked = {"record": RecordAsk(target), "output": f"file://{served}"}
    result = play(whole, eyes, goal=Goal(fps=20), model="mimo-unet-tiny", **asked)
    assert {view.after.shape for view in eyes.views} == {(64, 96, 3), (96, 128, 3)}
    sizes = [{(p.width, p.height) for p in pictures(path)} for path in result.recordings]
    assert sizes == [{(96, 64)}, {(128, 96)}]
    assert {(p.width, p.height) for p in pictures(served)} == {(128, 96)}  # written over the first


def test_a_recording_that_fails_is_given_up_and_the_picture_goes_on(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while an earlier one is still being finished; no other is begun in its place."""
    begun, ended = [], threading.Event()
    init, write, finish = Writer.__init__, Writer.write, Writer.finish

    def begin(self: Writer, sink: Sink, *rest: Any) -> None:
        begun.append(sink.target.name)
        init(self, sink, *rest)

    def fails(self: Writer, frame: Frame) -> None:
        if len(begun) > 1:
            raise VdeblurError("out.mp4: disk full; free some space or write elsewhere")
        write(self, frame)

    def late(self: Writer) -> Path:
        ended.wait(10)
        return finish(self)

    def act(view: View, count: int) -> None:
        if count in (5, 7):
            controls.wish("record")
        if count == 15:
            ended.set()

    monkeypatch.setattr(Writer, "__init__", begin)
    monkeypatch.setattr(Writer, "write", fails)
    monkeypatch.setattr(Writer, "finish", late)
    eyes, controls = Eyes(act, enough=20), Controls(recording=True)
    with pytest.raises(VdeblurError, match="disk full"):
        play(clip, eyes, loop=True, controls=controls, record=RecordAsk(tmp_path / "out.mp4"))
    assert len(eyes.views) == 20
    assert begun == ["out.mp4", "out-2.mp4"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="a limit stands for the full disk")
def test_a_full_disk_costs_the_last_second_and_recording_can_begin_anew(tmp_path: Path) -> None:
    import resource

    said, controls, noise = list[str](), Controls(recording=True), np.random.default_rng(1)
    recordings = Recordings(RecordAsk(tmp_path / "out.mp4"), controls, said.append)
    layout = formats.layout_of("gray", 96, 64)

    def play(number: int) -> None:
        pixels = noise.integers(0, 256, (64, 96)).astype(np.uint8)
        recordings.put(Frame((pixels,), layout, number * 3000, Fraction(1, 90000), 0, number), Look(), 30.0)
        time.sleep(0.002)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        numbers = iter(range(5000))
        while controls.recording:
            play(next(numbers))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    kept = tmp_path / "out.unfinished.mp4"
    assert said[-1].startswith("recording stops: ")
    assert said[-1].endswith(f"what was recorded so far: {kept}")
    assert recordings.target is None
    found = []
    with suppress(av.error.InvalidDataError):  # the last picture may be cut in two
        for frame in pictures(kept):
            found.append(frame.pts)
    assert len(found) > 60
    controls.wish("record")
    for _ in range(5):
        play(next(numbers))
    assert recordings.target == tmp_path / "out-2.mp4"
    recordings.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-2.mp4", kept.name]
    assert len(list(pictures(tmp_path / "out-2.mp4"))) == 5
    assert "File too large" in str(recordings.failure)


@pytest.mark.parametrize("pix_fmt", ["bgr0", "yuv420p", "yuv420p10le"])
def test_pictures_of_an_odd_size_are_recorded(pix_fmt: str, tmp_path: Path) -> None:
    path = media.write_clip(tmp_path / "odd.mkv", codec="ffv1", pix_fmt=pix_fmt, size=(97, 65)).path
    play(path, record=RecordAsk(tmp_path / "out.mp4"))
    assert {(p.width, p.height) for p in pictures(tmp_path / "out.mp4")} == {(97, 65)}
