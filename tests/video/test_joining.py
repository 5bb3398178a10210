"""What passes by while segments are joined: all that belongs to a range, wherever in the file it lies."""

from __future__ import annotations

import zlib
from fractions import Fraction
from pathlib import Path

import av
import pytest
from video import media
from video.test_carry import cues
from video.through import hashes

from vdeblur.cli.main import main
from vdeblur.video.probing import probe

FAST = ("--strength", "0", "--preset", "ultrafast")


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_subtitle_that_is_on_screen_where_a_range_begins_is_shown(suffix: str, tmp_path: Path) -> None:
    """The pictures are entered at a key frame behind its packet."""
    text = {"codec": "mov_text" if suffix == ".mp4" else "srt", "cues": ((0.5, 5.9, "long"),)}
    made = media.write_clip(
        tmp_path / f"in{suffix}", frames=60, rate=10, options={"g": "10"}, subtitles=(text,)
    )
    out = tmp_path / f"out{suffix}"
    assert main([str(made.path), "-o", str(out), "--start", "4", *FAST]) == 0
    assert cues(out) == [(0, 1900, "long")]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
def test_a_clock_that_wraps_within_the_file_hides_nothing(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """MPEG-TS counts to 2**33; FFmpeg gives what lies before the wrap times before zero."""
    first = (1 << 33) - 180_000
    made = media.write_clip(
        tmp_path / "in.ts",
        pts=[first + 3600 * n for n in range(75)],
        b_frames=True,
        audio=({"start": first / 90000, "seconds": 3},),
        container_options={"muxdelay": "0", "muxpreload": "0"},
    )
    out = tmp_path / f"out{suffix}"
    assert main([str(made.path), "-o", str(out), *FAST]) == 0
    assert "kept: 1 audio; 75 of 75 frames on time" in capsys.readouterr().out
    with av.open(str(out)) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    assert len(times) == 75
    with av.open(str(made.path)) as container:
        assert next(container.decode(video=0)).pts < 0


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_recording_begins_at_zero_elsewhere(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its clock has run for eleven hours, for which players would show nothing; all streams move alike."""
    first = 40_000 * 90_000
    made = media.write_clip(
        tmp_path / "in.ts",
        pts=[first + 3600 * n for n in range(10)],
        audio=({"codec": "mp2", "start": first / 90000 - 0.1, "seconds": 0.5},),
    )
    out = tmp_path / f"out{suffix}"
    assert main([str(made.path), "-o", str(out), *FAST]) == 0
    said = capsys.readouterr()
    assert "kept: 1 audio; 10 of 10 frames on time" in said.out
    assert "the recording's own clock is not kept" in said.err
    (video, audio), (new_video, new_audio) = begins(made.path), begins(out)
    assert audio > 39_999
    assert new_audio == 0
    assert new_video == pytest.approx(video - audio, abs=0.0011)


def begins(path: Path) -> list[float]:
    """Of each stream, in seconds."""
    with av.open(str(path)) as container:
        return [float(s.start_time * s.time_base) for s in container.streams]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("longer_s", [Fraction(0), Fraction(3, 10)])
def test_the_sound_of_recordings_put_one_behind_the_other_goes_on_with_the_pictures(
    suffix: str, longer_s: Fraction, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [9000 + 3600 * n for n in range(75)]
    parts = [
        media.write_clip(
            tmp_path / f"{hz}.ts",
            pts=pictures,
            b_frames=True,
            audio=({"start": 0.1, "seconds": float(3 + longer_s), "hz": hz},),
        ).path
        for hz in (300, 400, 500)
    ]
    both = tmp_path / "in.ts"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    out = tmp_path / f"out{suffix}"
    assert main([str(both), "-o", str(out), *FAST]) == 0
    said = capsys.readouterr()
    assert "kept: 1 audio; 225 of 225 frames counted" in said.out
    assert "given up" not in said.err
    assert said.err.count("crowded") == (2 if longer_s else 0)
    sound = hashes(both)[1]
    assert len(hashes(out)[1]) == len(sound)
    with av.open(str(out)) as container:
        shown = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    with av.open(str(out)) as container:
        heard = [packet.pts * packet.time_base for packet in container.demux(audio=0) if packet.size]
    assert len(set(heard)) == len(heard)
    third = len(sound) // 3
    apart = [float(heard[n * third + third - 1] - shown[n * 75 + 74]) for n in range(3)]
    assert apart == pytest.approx([apart[0]] * 3, abs=0.001)


@pytest.mark.parametrize("start", [4, 11])
def test_a_range_of_recordings_put_one_behind_the_other_is_found(start: int, tmp_path: Path) -> None:
    """Seeking goes by the file's clock, which comes to the same time in each of them."""
    pictures = [9000 + 9000 * n for n in range(80)]
    part = media.write_clip(
        tmp_path / "part.ts",
        pts=pictures,
        rate=10,
        audio=({"start": 0.1, "seconds": 8},),
        options={"g": "10"},
    )
    both = tmp_path / "in.ts"
    both.write_bytes(part.path.read_bytes() * 3)
    out = tmp_path / "out.mp4"
    assert main([str(both), "-o", str(out), "--start", str(start), *FAST]) == 0
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 240 - 10 * start
    with av.open(str(out)) as container:
        heard = [float(packet.pts * packet.time_base) for packet in container.demux(audio=0) if packet.size]
    assert heard[0] < 0.05
    assert heard[-1] == pytest.approx(24 - start, abs=0.1)


@pytest.mark.parametrize("pictures_first", [False, True])
def test_a_range_of_a_badly_woven_file_has_its_sound(pictures_first: bool, tmp_path: Path) -> None:
    sound = {"codec": "pcm_s16le"}
    made = media.write_clip(tmp_path / "well.mkv", frames=40, rate=1, audio=(sound,), options={"g": "5"})
    badly = media.badly_woven(made.path, tmp_path / "badly.mkv", pictures_first=pictures_first)
    out = tmp_path / "out.mkv"
    assert main([str(badly), "-o", str(out), "--start", "10", "--end", "15", *FAST]) == 0
    assert set(hashes(out)[1]) <= set(hashes(badly)[1])
    with av.open(str(out)) as container:
        times = [packet.pts * packet.time_base for packet in container.demux(audio=0) if packet.size]
    assert len(times) == 235  # packets of 1024 samples that begin in these five seconds
    assert times[0] < Fraction(1, 10)
    assert Fraction(49, 10) < times[-1] < 5


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_range_keeps_the_cover_and_says_which_video_does_not_begin_in_it(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = media.write_clip(tmp_path / "in.mp4", frames=60, cover=True, second_video=True)
    out = tmp_path / f"out{suffix}"
    assert main([str(made.path), "-o", str(out), "--start", "1.2", *FAST]) == 0
    assert capsys.readouterr().err.count("stream 1 has no key frame in the range") == 1
    with av.open(str(out)) as container:
        covers = [s for s in container.streams.video if s.disposition & av.stream.Disposition.attached_pic]
        assert [packet.size > 0 for packet in container.demux(covers) if packet.size] == [True]


@pytest.mark.parametrize("suffix", [".webm", ".mkv"])
def test_alpha_that_becomes_vp9_is_seen_by_players(suffix: str, tmp_path: Path) -> None:
    made = media.make("alpha", tmp_path)
    out = tmp_path / f"out{suffix}"
    assert main([str(made.path), "-o", str(out), "--codec", "vp9", "--strength", "0"]) == 0
    assert probe(str(out)).picture.pix_fmt == "yuva420p"


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mov", "prores"),
        (".mp4", "av1"),
        (".mp4", "vp9"),
        (".webm", "vp9"),
        (".mkv", "av1"),
        (".mkv", "ffv1"),
    ],
)
def test_the_shape_of_pixels_is_kept_where_the_codec_itself_knows_none(
    suffix: str, codec: str, tmp_path: Path
) -> None:
    made = media.write_clip(tmp_path / "in.mp4", frames=3, sar=Fraction(64, 45))
    out = tmp_path / f"out{suffix}"
    assert main([str(made.path), "-o", str(out), "--strength", "0", "--codec", codec]) == 0
    # Matroska says how wide the 96 pixels are shown, in whole pixels: 137 for 136.53
    kept = Fraction(137, 96) if suffix in (".mkv", ".webm") else Fraction(64, 45)
    assert probe(str(out)).picture.sample_aspect_ratio == kept


@pytest.mark.parametrize(
    ("profile", "tag", "suffix"),
    [("proxy", "apco", ".mov"), ("lt", "apcs", ".mkv"), ("4444", "ap4h", ".mov")],
)
def test_prores_is_called_by_its_profile(profile: str, tag: str, suffix: str, tmp_path: Path) -> None:
    """Every one was called 422 HQ, even 4444, for which editors then take the wrong decoder."""
    pix_fmt = "yuv444p10le" if profile == "4444" else "yuv422p10le"
    options = {"profile": profile}
    made = media.write_clip(
        tmp_path / "in.mov", codec="prores_ks", pix_fmt=pix_fmt, frames=2, options=options
    )
    out = tmp_path / f"out{suffix}"
    assert main([str(made.path), "-o", str(out), "--strength", "0"]) == 0
    assert probe(str(out)).picture.codec_tag == tag


def test_the_shape_of_pixels_stands_in_matroska_itself(tmp_path: Path) -> None:
    """Some players take it from there only, whatever an H.264 stream says; 64 x 64/45 is 91.02."""
    made = media.write_clip(tmp_path / "in.mp4", frames=3, size=(64, 48), sar=Fraction(64, 45))
    out = tmp_path / "out.mkv"
    assert main([str(made.path), "-o", str(out), *FAST]) == 0
    head = out.read_bytes()[:2000]
    assert b"\x54\xb0\x81\x5b" in head  # DisplayWidth
    assert b"\x54\xba\x81\x30" in head  # DisplayHeight
    assert b"\x54\xb2" not in head  # DisplayUnit: unknown
    begin = head.rindex(b"\x16\x54\xae\x6b") + 6  # the index before names it too
    size = int.from_bytes(head[begin - 2 : begin]) & 0x3FFF
    crc = int.from_bytes(head[begin + 2 : begin + 6], "little")
    assert zlib.crc32(head[begin + 6 : begin + size]) == crc


def test_a_pause_behind_the_first_frame_makes_no_film_longer_or_later(tmp_path: Path) -> None:
    """Frames are decoded before they are shown; how long shall not follow from the first ones' steps."""
    times = [0, *(54_000_000 + 3600 * n for n in range(11))]
    made = media.write_clip(tmp_path / "in.mkv", pts=times)
    for suffix in (".mp4", ".ts"):
        out = tmp_path / f"out{suffix}"
        assert main([str(made.path), "-o", str(out), "--strength", "0", "--codec", "h264"]) == 0
        with av.open(str(out)) as container:
            video = container.streams.video[0]
            assert video.codec_context.has_b_frames
            assert video.start_time * video.time_base < Fraction(1, 2)
            if suffix == ".mp4":
                assert video.duration * video.time_base == Fraction(600 * 90000 + 11 * 3600, 90000)
