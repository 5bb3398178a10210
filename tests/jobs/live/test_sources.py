"""Cameras, streams, files and the screen: when a picture was captured, and how a lost source comes back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import av
import cv2
import numpy as np
import pytest
from engine.standins import ZeroDifference
from jobs.live.playing import loads, picture
from video import media

from vdeblur.errors import VdeblurError
from vdeblur.jobs.live.capture import Capture
from vdeblur.jobs.live.clocks import ArrivalClock
from vdeblur.jobs.live.live import run
from vdeblur.jobs.live.options import LiveOptions
from vdeblur.jobs.live.picture import Captured, Screen
from vdeblur.jobs.live.sources import SourceAsk, open_source
from vdeblur.jobs.live.view import Status


def test_a_grey_camera_has_all_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a driver gives as grey is not said to be of any range; a file's would be limited."""
    path = media.write_clip(tmp_path / "grey.nut", codec="rawvideo", pix_fmt="gray", colour=(0, 2, 2, 2)).path
    monkeypatch.setattr("vdeblur.jobs.live.sources._device", lambda ask: (str(path), None, {}))
    ranges = []
    for ask in (SourceAsk("/dev/video9", capture="pyav"), SourceAsk(str(path))):
        source = open_source(ask)
        captured = source.read()
        source.close()
        assert captured is not None
        ranges.append(captured.frame.layout.range)
    assert ranges == ["full", "limited"]


class Broken:
    """A source that gives some pictures and is lost; opening fails some times, then it is back."""

    rate, waits = Fraction(100), False

    def __init__(self, fails: int) -> None:
        self.fails, self.opened, self.left = fails, 0, 0

    def __call__(self, ask: SourceAsk) -> Broken:
        if self.opened and self.fails:
            self.fails -= 1
            raise VdeblurError("camera 0: there is no /dev/video0; is it plugged in?")
        self.opened += 1
        self.left = 5
        return self

    def read(self) -> Captured:
        time.sleep(0.01)
        if not self.left:
            raise VdeblurError("camera 0: gives no pictures any more")
        self.left -= 1
        return picture(self.left)

    def close(self) -> None: ...


def test_a_camera_that_is_unplugged_is_found_again_and_the_screen_says_so() -> None:
    source = Broken(fails=2)
    capture = Capture(SourceAsk("0"), source)
    capture.wait_for_first()
    said: list[str] = []
    deadline = time.monotonic() + 30
    while source.opened < 2 and time.monotonic() < deadline:
        said.append(capture.message(time.monotonic()) or "")
        time.sleep(0.02)
    capture.close()
    assert source.opened >= 2
    assert any("gives no pictures any more; trying again in 0." in text for text in said)
    assert any("no /dev/video0" in text for text in said)


def test_who_closes_the_window_need_not_wait_for_a_source_that_does_not_answer() -> None:
    answered, closed = threading.Event(), iter([False, True])

    def opener(ask: SourceAsk) -> Any:
        answered.wait(30)
        raise VdeblurError("no picture within 8 s")

    capture = Capture(SourceAsk("rtsp://cam/1"), opener)
    capture.wait_for_first(unless=lambda: next(closed))
    assert not answered.is_set()
    answered.set()
    capture.close()


class FakeOpenCv:
    """A camera of OpenCV's: 30 pictures a second, then unplugged."""

    opens, stamped_ms, left = True, 0.0, 3
    asked: ClassVar[list[tuple[int, float]]] = []

    def __init__(self, number: object, how: int) -> None: ...

    def isOpened(self) -> bool:  # noqa: N802
        return self.opens

    def set(self, what: int, value: float) -> bool:
        self.asked.append((what, value))
        return True

    def get(self, what: int) -> float:
        return 30.0 if what == cv2.CAP_PROP_FPS else self.stamped_ms

    def read(self) -> tuple[bool, Any]:
        FakeOpenCv.left -= 1
        return FakeOpenCv.left >= 0, np.full((48, 64, 3), (255, 0, 0), np.uint8)

    def release(self) -> None: ...


def test_a_camera_gives_blue_where_blue_is_and_counts_the_wait_in_its_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cv2.VideoCapture", FakeOpenCv)
    monkeypatch.setattr("vdeblur.jobs.live.sources._refuse_device", lambda path, name: None)
    monkeypatch.setattr(FakeOpenCv, "left", 3)
    camera = open_source(SourceAsk("0"))
    monkeypatch.setattr(FakeOpenCv, "stamped_ms", (time.monotonic() - 0.25) * 1000)
    captured = camera.read()
    assert captured is not None
    assert 0.2 < time.monotonic() - captured.at_s < 5
    assert Screen().rgb(captured.frame)[0, 0].tolist() == [0, 0, 255]
    monkeypatch.setattr(FakeOpenCv, "stamped_ms", 12.0)  # some other clock
    asked_s = time.monotonic()
    captured = camera.read()
    assert captured is not None
    assert captured.at_s >= asked_s
    camera.read()
    with pytest.raises(VdeblurError, match="gives no pictures any more"):
        camera.read()
    monkeypatch.setattr(FakeOpenCv, "opens", False)
    with pytest.raises(VdeblurError, match="is another program using it"):
        open_source(SourceAsk("0"))


def test_a_camera_is_asked_for_large_pictures_as_jpeg_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.VideoCapture", FakeOpenCv)
    monkeypatch.setattr("vdeblur.jobs.live.sources._refuse_device", lambda path, name: None)
    monkeypatch.setattr(FakeOpenCv, "asked", [])
    open_source(SourceAsk("0", size=(720, 1280))).close()
    known = (cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    expected = zip(known, (int.from_bytes(b"MJPG", "little"), 1280, 720), strict=True)
    assert [entry for entry in FakeOpenCv.asked if entry[0] in known] == list(expected)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb")
def test_the_screen_is_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    display = f":{100 + os.getpid() % 800}"
    server = subprocess.Popen(["Xvfb", display, "-screen", "0", "320x240x24"], stderr=subprocess.DEVNULL)
    monkeypatch.setenv("DISPLAY", display)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                source = open_source(SourceAsk("screen", rate=Fraction(10)))
                break
            except VdeblurError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        captured = source.read()
        source.close()
    finally:
        server.kill()
        server.wait()
    assert captured is not None
    assert (captured.frame.layout.width, captured.frame.layout.height) == (320, 240)


def test_a_jam_on_the_way_counts_as_age() -> None:
    clock = ArrivalClock()
    assert clock.captured_at(100.0, 5.0) == 5.0
    assert clock.captured_at(100.1, 5.1) == pytest.approx(5.1, abs=0.001)
    assert clock.captured_at(100.2, 7.0) == pytest.approx(5.2, abs=0.001)  # came 1.8 s late
    assert clock.captured_at(100.3, 7.0) == pytest.approx(5.3, abs=0.001)
    assert clock.captured_at(102.0, 7.0) == pytest.approx(7.0, abs=0.001)
    assert clock.captured_at(0.0, 8.0) == 8.0  # the sender has begun anew
    assert clock.captured_at(5.0, 13.0) == pytest.approx(13.0, abs=0.001)
    assert clock.captured_at(0.0, 13.1) == 13.1  # and again, long before JUMP_S: a short clip in a loop
    assert clock.captured_at(None, 9.0) == 9.0


SENDER = """
import sys, time
from fractions import Fraction
import av, numpy as np
with av.open(sys.argv[1], "w", format="mpegts") as out:
    stream = out.add_stream("libx264", rate=30)
    stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
    stream.codec_context.time_base = stream.time_base = Fraction(1, 90000)
    stream.codec_context.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "10"}
    begin = time.monotonic()
    while (now := time.monotonic() - begin) < 60:
        if not 2.0 < now < 4.0:
            grey = np.full((64, 96, 3), int(now * 30) % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = round(now * 90000), Fraction(1, 90000)
            for packet in stream.encode(frame):
                out.mux(packet)
        time.sleep(1 / 30)
"""


@pytest.mark.slow
def test_a_stream_that_stalls_goes_on_where_it_is() -> None:
    port = 20000 + os.getpid() % 20000
    sender = subprocess.Popen([sys.executable, "-c", SENDER, f"udp://127.0.0.1:{port}?pkt_size=1316"])
    seen: list[tuple[float, Status]] = []
    load = loads(ZeroDifference())
    load("any").deblur_rgb_or_none(np.zeros((8, 8, 3), np.float32))
    try:
        options = LiveOptions(SourceAsk(f"udp://127.0.0.1:{port}"), duration_s=5.5)
        run(options, watch=lambda status: seen.append((time.monotonic(), status)), load=load)
    finally:
        sender.kill()
        sender.wait()
    quiet = [number for number, (_, status) in enumerate(seen) if "no new picture" in (status.message or "")]
    assert quiet, "the silence was not noticed"
    assert seen[-1][1].shown > seen[quiet[-1]][1].shown + 5
    assert "no new picture" not in (seen[-1][1].message or "")


@pytest.mark.parametrize("is_live", [True, False])
def test_a_playlist_that_is_not_closed_is_a_stream_that_can_be_lost(is_live: bool, tmp_path: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None: ...

    options = {"hls_flags": "omit_endlist"} if is_live else {}
    with av.open(str(tmp_path / "live.m3u8"), "w", format="hls", options=options) as file:
        stream = file.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(15):
            file.mux(stream.encode(av.VideoFrame(96, 64, "yuv420p")))
        file.mux(stream.encode(None))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    source = open_source(SourceAsk(f"http://127.0.0.1:{server.server_port}/live.m3u8"))
    assert source.read() is not None
    server.shutdown()
    server.server_close()
    with pytest.raises(VdeblurError, match="the sender has ended it") if is_live else nullcontext():
        while source.read() is not None:
            pass
    source.close()


def test_a_file_is_played_at_its_own_pace(tmp_path: Path) -> None:
    path = media.write_clip(
        tmp_path / "vfr.mp4", pts=[0, 18000, 20000, 45000], time_base=Fraction(1, 90000)
    ).path
    source = open_source(SourceAsk(str(path)))
    times = []
    while (captured := source.read()) is not None:
        times.append(captured.at_s)
    source.close()
    steps = np.diff(times)
    assert len(times) == 4
    assert steps == pytest.approx([18000 / 90000, 2000 / 90000, 25000 / 90000], abs=0.002)
    assert time.monotonic() >= times[-1]
