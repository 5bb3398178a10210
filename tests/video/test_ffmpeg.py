"""The user's own ffmpeg: exact times through two pipes, other streams as ever, clear words where it fails."""

from __future__ import annotations

import dataclasses
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video import media
from video.test_codecs import clip_of
from video.through import hashes, leftovers, through, times

from vdeblur.errors import InputError, MissingRuntimeError, VdeblurError
from vdeblur.frame import Frame
from vdeblur.video import ffmpeg
from vdeblur.video.codecs import choose_output
from vdeblur.video.ffmpeg import find_binary
from vdeblur.video.formats import views
from vdeblur.video.probing import probe
from vdeblur.video.verify import verify

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg program in PATH")


def test_without_the_program_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg.shutil, "which", lambda name: None)
    with pytest.raises(MissingRuntimeError, match="no ffmpeg program in PATH"):
        find_binary()


@needs_ffmpeg
@pytest.mark.parametrize("target", ["out.mp4", "out.mkv"])
def test_uneven_times_and_sound_come_back(target: str, tmp_path: Path) -> None:
    made = media.write_clip(
        tmp_path / "in.mp4",
        pts=media.vfr_pts(20, 5, start=9009),
        b_frames=True,
        audio=({"codec": "aac"},),
        chapters=((0.0, 0.3, "one"),),
    )
    gone = through(made.path, tmp_path / target, encoder="ffmpeg", preset="veryfast")
    wanted = [pts * made.time_base for pts in made.pts]
    off = max(abs(a - b) for a, b in zip(times(gone.target), wanted, strict=True))
    assert off <= (0 if target.endswith("mp4") else Fraction(1, 1000))
    hidden = 0 if target.endswith("mp4") else 1  # the encoder's priming, before an edit list's start
    assert hashes(gone.target)[1] == hashes(made.path)[1][hidden:]
    assert leftovers(tmp_path) == []


@needs_ffmpeg
def test_colour_and_hdr_come_back(tmp_path: Path) -> None:
    made = media.make("hdr10", tmp_path)
    gone = through(made.path, tmp_path / "out.mkv", encoder="ffmpeg", preset="ultrafast")
    old, new = probe(str(made.path)).picture, probe(str(gone.target)).picture
    assert (new.pix_fmt, new.hdr.mastering, new.hdr.light) == (old.pix_fmt, old.hdr.mastering, old.hdr.light)
    assert (new.colour.range, new.colour.matrix, new.colour.transfer) == (1, 9, 16)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("kind", "codec", "target"),
    [
        ("rotated", None, "out.mov"),
        ("sar_mkv", None, "out.mkv"),
        ("plain", "vp9", "out.webm"),
        ("plain", "ffv1", "out.mkv"),
        ("prores", None, "out.mov"),
        ("gbrp", "av1", "out.mkv"),
    ],
)
def test_shape_of_pixels_and_colour_tags_come_back(
    kind: str, codec: str | None, target: str, tmp_path: Path
) -> None:
    """NUT, in which the program answers, has no word for colours."""
    made = media.make(kind, tmp_path)
    gone = through(made.path, tmp_path / target, encoder="ffmpeg", codec=codec, fast=False)
    receipt = verify(str(made.path), str(gone.target))
    assert not receipt.faults, [fault.line() for fault in receipt.faults]


@needs_ffmpeg
def test_rgb_becomes_the_same_ycbcr_as_with_the_built_in_encoders(tmp_path: Path) -> None:
    """Left to itself the program takes BT.601, whatever is tagged."""
    made = media.make("gbrp", tmp_path)
    means = []
    for name, more in (("ours.mkv", {}), ("theirs.mkv", {"encoder": "ffmpeg"})):
        gone = through(made.path, tmp_path / name, codec="av1", fast=False, **more)
        with av.open(str(gone.target)) as container:
            planes = views(next(container.decode(video=0)))
        means.append([float(plane.mean()) for plane in planes])
    assert np.allclose(*means, atol=1.0)


@needs_ffmpeg
def test_changed_planes_reach_the_program(tmp_path: Path) -> None:
    made = media.make("plain", tmp_path)

    def black(frame: Frame) -> Frame:
        return dataclasses.replace(
            frame, planes=tuple(0 * p + (16, 128, 128)[k] for k, p in enumerate(frame.planes))
        )

    gone = through(made.path, tmp_path / "out.mp4", encoder="ffmpeg", change=black)
    assert gone.target.stat().st_size < made.path.stat().st_size / 2


@needs_ffmpeg
def test_an_encoder_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="has no encoder h264_nowhere"):
        choose_output(clip_of(), Path("o.mp4"), codec="h264_nowhere", encoder="ffmpeg")


@needs_ffmpeg
def test_a_program_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    made = media.make("plain", tmp_path)
    with pytest.raises(VdeblurError, match="libx264 failed") as failure:
        through(
            made.path,
            tmp_path / "out.mp4",
            encoder="ffmpeg",
            encoder_options={"profile:v": "nonsense"},
        )
    assert "\n" not in str(failure.value)
    assert [p.name for p in tmp_path.iterdir()] == [made.path.name]


@needs_ffmpeg
def test_an_error_in_the_middle_ends_the_program(tmp_path: Path) -> None:
    made = media.make("plain", tmp_path)

    def breaks(frame: Frame) -> Frame:
        if frame.index == 3:
            raise RuntimeError("engine broke")
        return frame

    with pytest.raises(RuntimeError):
        through(made.path, tmp_path / "out.mp4", encoder="ffmpeg", change=breaks)
    assert [p.name for p in tmp_path.iterdir()] == [made.path.name]
