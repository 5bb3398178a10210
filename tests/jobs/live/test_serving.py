"""What is recorded and served on looks like the screen; pipes, addresses and virtual cameras get it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from jobs.live.playing import SMALL, Eyes, pictures, play, served, started
from video import media

from vdeblur import colour
from vdeblur.frame import Frame
from vdeblur.jobs.live.picture import Framer, Screen
from vdeblur.jobs.live.record import RecordAsk
from vdeblur.video import formats


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "tag"),
    [
        ("mjpeg", "yuvj422p", 2),  # as most webcams give
        ("mjpeg", "yuvj444p", 2),
        ("ffv1", "yuv422p", 2),
        ("ffv1", "yuv444p", 1),
        ("ffv1", "gray", 2),
        ("ffv1", "gray", 0),  # not stated: limited, as H.264 says
        ("ffv1", "gray10le", 1),
        ("ffv1", "bgr0", 2),
    ],
)
def test_what_is_recorded_and_served_has_the_brightness_of_the_screen(
    codec: str, pix_fmt: str, tag: int, tmp_path: Path
) -> None:
    tags = (tag, 5, 5, 6) if pix_fmt.startswith("yuv") else (tag, 2, 2, 2)
    path = media.write_clip(tmp_path / "clip.mkv", codec=codec, pix_fmt=pix_fmt, colour=tags, frames=5).path
    eyes, target, sent = Eyes(), tmp_path / "out.mkv", tmp_path / "served.ts"
    play(path, eyes, record=RecordAsk(target, crf=1))
    captured = served(path, sent)
    weights = colour.MATRICES["bt709" if pix_fmt == "bgr0" else "smpte170m"][0]
    recorded = target, eyes.views[0].before, 1
    for file, screen, coarse in (recorded, (sent, Screen().rgb(captured.frame), 2)):
        frame, shown = Framer().decoded(next(pictures(file)), 0.0).frame, screen @ weights
        found = Screen().rgb(frame) @ weights  # chroma is halved on the way
        assert found.mean() == pytest.approx(shown.mean(), abs=1.5 * coarse)
        assert found.std() == pytest.approx(shown.std(), rel=0.02 * coarse)


@pytest.mark.parametrize(("tag", "black"), [(0, 16), (1, 16), (2, 0)])
def test_grey_is_shown_in_its_range(tag: int, black: int) -> None:
    layout = formats.layout_of("gray", 8, 8, range_tag=tag)
    frame = Frame((np.full((8, 8), black, np.uint8),), layout, 0, Fraction(1, 25), 0, 0)
    assert Screen().rgb(frame)[0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("rotation", [0, 90])
def test_a_picture_looks_as_in_a_player_on_screen_recorded_and_served(rotation: int, tmp_path: Path) -> None:
    """Pixels that are not square, HDR, rotation: as the source says."""
    path = media.write_clip(
        tmp_path / "wide.mp4",
        pix_fmt="yuv420p10le",
        codec="libx265",
        sar=Fraction(3, 2),
        rotation=rotation,
        colour=(1, 9, 9, 16),
        **SMALL,
    ).path
    target, sent = tmp_path / "out.mp4", tmp_path / "served.ts"
    eyes = Eyes(enough=4)
    served(path, sent)
    play(path, eyes, loop=True, record=RecordAsk(target))
    assert eyes.views[0].before.shape == ((144, 64, 3) if rotation else (64, 144, 3))
    for file, turned in ((target, rotation), (sent, 0)):
        with av.open(str(file)) as found:
            video = found.streams.video[0]
            first = next(found.decode(video))
            size = (64, 96) if rotation and not turned else (96, 64)
            assert (video.width, video.height, first.rotation) == (*size, turned)
            assert video.sample_aspect_ratio == (Fraction(3, 2) if size == (96, 64) else Fraction(2, 3))
            assert (int(first.color_primaries), int(first.color_trc)) == (9, 16)


def test_a_virtual_camera_gets_the_picture_and_one_that_fails_is_said_and_opened_again(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, sent = list[Any](), list[Any]()

    class Camera:
        def __init__(self, width: int, height: int, fps: float, *, device: str) -> None:
            opened.append((width, height, device))

        def send(self, pixels: Any) -> None:
            sent.append(pixels.shape)
            if len(sent) == 2:
                raise ValueError("unexpected frame")

        def close(self) -> None: ...

    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=Camera))
    eyes = Eyes(lambda view, count: None if len(sent) > 3 else time.sleep(0.02), enough=60)
    play(clip, eyes, loop=True, output="v4l2:/dev/video9")
    assert opened == [(96, 64, "/dev/video9")] * 2
    assert len(sent) > 3
    assert set(sent) == {(64, 96, 3)}
    said = {view.status.message for view in eyes.views}
    assert "--output v4l2:/dev/video9: lost (unexpected frame), trying again in 0.2 s" in said


@pytest.mark.slow
def test_the_picture_is_served_on(clip: Path) -> None:
    port = 20000 + (os.getpid() + 7) % 20000
    process = started(clip, "--output", f"udp://127.0.0.1:{port}")
    times: list[float] = []
    try:
        with av.open(f"udp://127.0.0.1:{port}", timeout=90) as received:
            for frame in received.decode(video=0):
                times.append(frame.time)
                if len(times) > 20:
                    break
    finally:
        process.send_signal(signal.SIGINT)
        print(process.communicate(timeout=60)[1])
    assert (frame.width, frame.height) == (96, 64)
    assert times == sorted(times)
    assert 0.2 < times[-1] - times[0] < 30


def test_a_pipe_gets_the_stream_and_nothing_else(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.ts"
    words = [sys.executable, "-m", "vdeblur", "live", str(clip), "--model", "mimo-unet-tiny", "--output", "-"]
    with target.open("wb") as out:
        done = subprocess.run(
            words, stdout=out, stderr=subprocess.PIPE, cwd=Path(__file__).parents[3], timeout=120
        )
    assert done.returncode == 0, done.stderr
    assert target.read_bytes()[0] == 0x47  # the first byte of MPEG-TS
    assert len(list(pictures(target))) > 5
