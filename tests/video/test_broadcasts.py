"""Streams that nobody announced: sound that begins late, streams that come up on the way, other tags."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video import media

from vdeblur.cli.main import main
from vdeblur.video.probing import probe
from vdeblur.video.reader import Reader

PROBED = 5_000_000  # bytes in which FFmpeg looks for what a stream is


def noise(path: Path, *, sound: bool, frames: int = 24) -> Path:
    """A clip larger than FFmpeg's first look; `sound` is announced at its start and begins at its end."""
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "qp": "1"})
        video.width, video.height, video.pix_fmt = 640, 360, "yuv420p"
        audio: Any = out.add_stream("aac", rate=48000) if sound else None
        for _ in range(frames):
            picture = av.VideoFrame.from_ndarray(random.integers(0, 256, (540, 640), np.uint8), "yuv420p")
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
        for number in range(20 if sound else 0):
            tone = np.sin(np.arange(1024) / 20, dtype=np.float32)[None]
            frame = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
            frame.sample_rate, frame.pts = 48000, 48000 + 1024 * number
            out.mux(audio.encode(frame))
        if sound:
            out.mux(audio.encode(None))
    assert path.stat().st_size > PROBED
    return path


def packets(path: Path, kind: str) -> int:
    with av.open(str(path)) as container:
        return sum(1 for packet in container.demux(**{kind: 0}) if packet.size)


def test_sound_that_begins_late_is_kept(tmp_path: Path) -> None:
    source = noise(tmp_path / "in.ts", sound=True)
    assert (
        main([str(source), "-o", str(tmp_path / "out.mkv"), "--strength", "0", "--preset", "ultrafast"]) == 0
    )
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.streams.audio[0].codec_context.sample_rate == 48000
    assert packets(tmp_path / "out.mkv", "audio") >= 20


def test_a_stream_that_comes_up_on_the_way_is_said_and_does_not_end_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = noise(tmp_path / "first.ts", sound=False)
    second = media.write_clip(tmp_path / "second.ts", size=(640, 360), audio=({"codec": "ac3"},)).path
    source = tmp_path / "in.ts"
    # FFmpeg looks at the beginning and at the end.
    source.write_bytes(first.read_bytes() + second.read_bytes() + first.read_bytes())
    words = [str(source), "-o", str(tmp_path / "out.ts"), "--strength", "0", "--preset", "ultrafast"]
    assert main(words) == 0
    assert "streams that come up in the middle of the file" in capsys.readouterr().err
    assert packets(tmp_path / "out.ts", "video") == 24 + 12 + 24
    assert main([str(first), "-o", str(tmp_path / "first_out.ts"), "--strength", "0"]) == 0
    assert "come up in the middle" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"colour": (1, 9, 9, 18)}, "the colour tags change"),
        ({"sar": Fraction(4, 3)}, "the shape of the pixels changes"),
        ({"interlaced": True}, "interlaced from some place on"),
        ({}, None),
    ],
)
def test_what_changes_in_the_middle_is_said(
    changes: dict[str, Any], says: str | None, tmp_path: Path
) -> None:
    first, second = (
        media.write_clip(tmp_path / f"{name}.ts", frames=20, **more).path
        for name, more in (("first", {}), ("second", changes))
    )
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    with Reader(probe(str(both))) as reader:
        assert sum(1 for _ in reader) == 40
    said = [text for text in reader.warnings if "middle" in text or "some place" in text]
    assert ([] if says is None else [says in text for text in said]) == [True] * (says is not None)


def test_a_codec_tag_that_is_a_number_is_no_obstacle(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.avi", codec="mpeg4", audio=({"codec": "aac"},))
    assert [stream.codec for stream in probe(str(made.path)).streams] == ["mpeg4", "aac"]
    assert main([str(made.path), "-o", str(tmp_path / "out.mkv"), "--strength", "0"]) == 0
