"""The reader: every picture once, in order, with its own time; what breaks off is said; ranges are exact."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from video import media

from vdeblur.errors import BrokenSourceError
from vdeblur.frame import Frame
from vdeblur.video.clip import Clip
from vdeblur.video.probing import probe
from vdeblur.video.reader import Done, Reader


def read(source: Path, on_packet: Any = None, **options: Any) -> tuple[list[Frame], Reader, Clip]:
    """All frames of a source (with planes that outlive the reader), the closed reader, the clip."""
    clip = probe(str(source))
    with Reader(clip, **options) as reader:
        reader.on_packet = on_packet
        return list(reader), reader, clip


@pytest.mark.parametrize("kind", sorted(media.KINDS))
def test_frames_are_what_the_decoder_gives(kind: str, tmp_path: Path) -> None:
    """The judge is a plain PyAV loop; times come from the maker's arguments.  So for what `probe` says."""
    made = media.make(kind, tmp_path)
    frames, reader, clip = read(made.path)
    shown = clip.picture
    assert (shown.pix_fmt, shown.layout.name, clip.broken) == (made.pix_fmt, made.pix_fmt, None)
    assert (shown.layout.width, shown.layout.height) == made.size
    assert shown.first_pts == (None if kind == "raw_h264" else frames[0].pts)
    assert [frame.index for frame in frames] == list(range(made.frames))
    with av.open(str(made.path)) as container:
        pictures = list(container.decode(container.streams.video[0]))
        assert len(clip.streams) == len(container.streams)
    for frame, picture in zip(frames, pictures, strict=True):
        assert frame.side.format.name == picture.format.name == frame.layout.name
        for ours, plane in zip(frame.planes, picture.planes, strict=True):
            raw = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
            width = ours.shape[1] * ours.itemsize
            np.testing.assert_array_equal(np.ascontiguousarray(ours).view(np.uint8), raw[:, :width])
    tick = clip.picture.time_base
    moved = frames[0].pts * tick - made.pts[0] * made.time_base if kind == "mpegts" else 0
    assert [frame.pts * tick - moved for frame in frames] == [t * made.time_base for t in made.pts]
    assert all(frame.time_base == tick for frame in frames)
    assert [a.duration for a in frames[:-1]] == [b.pts - a.pts for a, b in itertools.pairwise(frames)]
    assert frames[-1].duration > 0
    said = {"interlaced": "interlaced", "raw_h264": "without a time"}
    assert [said[kind] in warning for warning in reader.warnings] == [True] * (kind in said)


def test_side_is_the_decoded_picture_with_its_time(tmp_path: Path) -> None:
    frames, _, _ = read(media.make("hdr10", tmp_path).path)
    for frame in frames:
        assert (frame.side.pts, frame.side.time_base) == (frame.pts, frame.time_base)
        assert frame.side.duration == frame.duration
    assert "MASTERING_DISPLAY_METADATA" in {part.type.name for part in frames[0].side.side_data}


def test_writing_into_a_frame_does_not_reach_its_successors(tmp_path: Path) -> None:
    """Without make_writable the decoder's reference pictures would change."""
    made = media.write_clip(tmp_path / "a.mp4", frames=30, b_frames=True)
    meant = [frame.planes for frame in read(made.path)[0]]
    with Reader(probe(str(made.path))) as reader:
        for frame, planes in zip(reader, meant, strict=True):
            for ours, plane in zip(frame.planes, planes, strict=True):
                np.testing.assert_array_equal(ours, plane)
                ours[...] = 0


def test_packets_of_other_streams_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    made = media.make("tracks_chapters_mkv", tmp_path)
    with av.open(str(made.path)) as container:
        meant = [(p.stream.index, p.pts, bytes(p)) for p in container.demux() if p.size and p.stream.index]
    got: list[tuple[int, int | None, bytes]] = []
    wanted = frozenset({1, 2, 3, 4, 5})
    read(made.path, wanted=wanted, on_packet=lambda p: got.append((p.stream.index, p.pts, bytes(p))))
    assert got == [packet for packet in meant if packet[0] in wanted]
    assert {index for index, *_ in got} == wanted
    got.clear()
    read(made.path, wanted=frozenset({3}), on_packet=lambda p: got.append((p.stream.index, p.pts, bytes(p))))
    assert got == [packet for packet in meant if packet[0] == 3]


def test_packets_without_decoding_time_are_not_lost(tmp_path: Path) -> None:
    """Matroska has none: with B-frames the first packets of a second video have dts None."""
    made = media.write_clip(tmp_path / "a.mkv", b_frames=True, second_video=True, frames=12)
    seen: list[Any] = []
    read(made.path, wanted=frozenset({1}), on_packet=seen.append)
    assert len(seen) == 12


# -- ranges

RANGE_KINDS = {
    "mp4": ("a.mp4", {"b_frames": True, "options": {"g": "8"}}),
    "mkv": ("a.mkv", {"b_frames": True, "options": {"g": "8"}}),
    "ts": ("a.ts", {"b_frames": True, "options": {"g": "8"}}),
    "open gop hevc": (
        "h.mp4",
        {
            "codec": "libx265",
            "b_frames": True,
            "options": {"x265-params": "log-level=none:keyint=8:open-gop=1"},
        },
    ),
    "vfr that starts late": ("l.mp4", {"pts": media.vfr_pts(40, 3, start=90000), "b_frames": True}),
    "raw h264": ("a.h264", {"format": "h264"}),
}


@pytest.fixture(scope="module")
def ranged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[Frame]]]:
    folder = tmp_path_factory.mktemp("ranges")
    made = {
        kind: media.write_clip(
            folder / name,
            **({"frames": 40} | arguments),
            audio=() if name.endswith("h264") else ({"seconds": 2.0},),
        ).path
        for kind, (name, arguments) in RANGE_KINDS.items()
    }
    return {kind: (path, read(path)[0]) for kind, path in made.items()}


@pytest.mark.parametrize("kind", RANGE_KINDS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bounds=st.tuples(st.integers(0, 160), st.integers(0, 160)))
def test_any_range_is_exact(
    kind: str, bounds: tuple[int, int], ranged: dict[str, tuple[Path, list[Frame]]]
) -> None:
    path, whole = ranged[kind]
    start, end = (Fraction(part, 100) for part in sorted(bounds))
    with av.open(str(path)) as container:
        times = [s.start_time * s.time_base for s in container.streams if s.start_time is not None]
    origin = min(times, default=Fraction(0))
    meant = [frame for frame in whole if origin + start <= frame.pts * frame.time_base < origin + end]
    frames, reader, _ = read(path, start=start, end=end)
    assert len(frames) == len(meant)
    for ours, frame in zip(frames, meant, strict=True):
        assert ours.pts * ours.time_base == frame.pts * frame.time_base - reader.shift
        for a, b in zip(ours.planes, frame.planes, strict=True):
            np.testing.assert_array_equal(a, b)
    if meant and meant[0] is not whole[0]:
        assert frames[0].pts == 0
    if meant and start == 0:
        assert reader.shift == origin


def test_shift_is_known_with_the_first_frame_of_a_range(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "a.mp4", frames=50, b_frames=True, audio=({},), options={"g": "10"})
    ends: dict[int, Fraction] = defaultdict(Fraction)
    with Reader(
        probe(str(made.path)), start=Fraction(51, 50), end=Fraction(3, 2), wanted=frozenset({1})
    ) as reader:

        def take(packet: Any) -> None:
            ends[packet.stream.index] = (packet.pts + packet.duration) * packet.time_base

        reader.on_packet = take
        shifts = [reader.shift for _ in reader]
    assert len(shifts) == 12
    assert set(shifts) == {Fraction(26, 25)}  # the first frame at or after 1.02 s
    assert ends[1] >= Fraction(3, 2)  # sound is read up to the end of the range


def test_sound_before_a_late_video_is_not_lost_by_seeking(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "a.mp4", pts=media.vfr_pts(8, start=180000), audio=({"seconds": 2.5},))
    first: list[Fraction] = []
    read(
        made.path,
        start=Fraction(1, 2),
        wanted=frozenset({1}),
        on_packet=lambda p: first.append(p.pts * p.time_base),
    )
    assert first[0] <= Fraction(1, 2)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("start", "end", "times"),
    [
        (5, None, [(0, 5), (5, 1), (6, 1)]),
        (5, 8, [(0, 3)]),
        (Fraction(99, 10), None, [(0, 1), (1, 1)]),  # a tenth of a second is no still picture
    ],
)
def test_a_still_picture_is_shown_from_where_a_range_begins(
    suffix: str, start: Fraction, end: Fraction | None, times: list[tuple[int, int]], tmp_path: Path
) -> None:
    tick = Fraction(1, 1000)
    made = media.write_clip(tmp_path / f"a{suffix}", pts=[0, 10000, 11000, 12000], time_base=tick, rate=1)
    whole = read(made.path)[0]
    frames, reader, _ = read(made.path, start=start, end=end)
    given = [(frame.pts * frame.time_base, frame.duration * frame.time_base) for frame in frames]
    assert given[: len(times)] == times
    shown = 0 if start == 5 else 1
    assert reader.shift == (start if start == 5 else 10)
    np.testing.assert_array_equal(frames[0].planes[0], whole[shown].planes[0])
    for enter in (None, 1) if len(frames) == 3 else ():
        done = Done(times=[frame.pts for frame in frames[:2]], moved=reader.moved, enter=enter)
        rest, _, _ = read(made.path, start=start, end=end, done=done)
        assert [frame.pts for frame in rest] == [frames[2].pts]


def test_a_range_behind_the_end_is_empty(tmp_path: Path) -> None:
    assert read(media.make("plain", tmp_path).path, start=Fraction(100))[0] == []


# -- sources that change or break


def test_interlaced_pictures_are_made_progressive_on_demand(tmp_path: Path) -> None:
    made = media.make("interlaced", tmp_path)
    woven, told, _ = read(made.path)
    frames, reader, clip = read(made.path, deinterlace=True)
    assert ["--deinterlace" in warning for warning in told.warnings] == [True]
    assert reader.warnings == []
    assert [f.pts for f in frames] == [f.pts for f in woven] == list(made.pts)
    assert all(f.time_base == clip.picture.time_base for f in frames)
    assert not any(f.side.interlaced_frame for f in frames)
    assert any((a.planes[0] != b.planes[0]).any() for a, b in zip(frames, woven, strict=True))


def test_deinterlacing_leaves_progressive_pictures_alone(tmp_path: Path) -> None:
    made = media.make("vfr", tmp_path)
    plain, _, _ = read(made.path)
    frames, _, _ = read(made.path, deinterlace=True)
    for a, b in zip(frames, plain, strict=True):
        assert (a.pts, a.duration) == (b.pts, b.duration)
        np.testing.assert_array_equal(a.planes[0], b.planes[0])


def test_a_size_change_is_scaled_to_the_first_size(tmp_path: Path) -> None:
    parts = [
        media.write_clip(tmp_path / f"{n}.h264", format="h264", size=s).path
        for n, s in enumerate([(96, 64), (64, 48)])
    ]
    both = tmp_path / "both.h264"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, reader, _ = read(both)
    assert len(frames) == 24
    assert {frame.planes[0].shape for frame in frames} == {(64, 96)}
    assert sum("size changes" in warning for warning in reader.warnings) == 1


def test_a_format_change_is_converted_to_the_first_format(tmp_path: Path) -> None:
    parts = [
        media.write_clip(tmp_path / f"{n}.h264", format="h264", pix_fmt=f).path
        for n, f in enumerate(["yuv444p", "yuv420p"])
    ]
    both = tmp_path / "both.h264"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, reader, _ = read(both)
    assert {frame.side.format.name for frame in frames} == {"yuv444p"}
    assert sum("pixel format changes" in warning for warning in reader.warnings) == 1


@pytest.mark.parametrize("seed", range(3))
def test_bit_errors_in_the_middle_are_counted_and_not_fatal(seed: int, tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "a.mkv", frames=40, size=(160, 96), b_frames=True)
    damaged = media.flip_bits(made.path, tmp_path / "damaged.mkv", seed=seed, count=8)
    frames, reader, _ = read(damaged)
    assert len(frames) + reader.failed_packets == 40
    assert reader.corrupt_frames + reader.failed_packets > 0
    assert any("damaged" in warning or "do not decode" in warning for warning in reader.warnings)


def test_an_incomplete_last_packet_breaks_off(tmp_path: Path) -> None:
    """FLV promises nothing about its length, so only reading shows it."""
    made = media.write_clip(tmp_path / "a.flv", frames=30, size=(160, 96))
    cut = media.cut_off(made.path, tmp_path / "cut.flv", 0.8)
    with pytest.raises(BrokenSourceError, match=r"breaks off at \d\.\d\d s") as caught:
        read(cut)
    assert caught.value.at_s == pytest.approx(0.9, abs=0.15)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_noise_in_place_of_the_last_picture_breaks_off(name: str, tmp_path: Path) -> None:
    """Frame threads that are emptied say nothing of it, and lose the pictures shown around it too."""
    made = media.write_clip(tmp_path / name, frames=36, size=(96, 64), b_frames=True)
    with av.open(str(made.path)) as container:
        last = [bytes(packet) for packet in container.demux(video=0) if packet.size][-1]
    noise = np.random.default_rng(1).integers(0, 256, len(last), dtype=np.uint8).tobytes()
    made.path.write_bytes(made.path.read_bytes().replace(last, noise))
    with pytest.raises(BrokenSourceError, match="its last picture cannot be decoded"):
        read(made.path)
    assert len(read(made.path, keep_partial=True)[0]) == 35


@pytest.mark.parametrize("name", ["a.flv", "a.mkv", "a.avi"])
def test_keep_partial_ends_with_a_warning(name: str, tmp_path: Path) -> None:
    codec = {"a.avi": "mpeg4"}.get(name, "libx264")
    made = media.write_clip(tmp_path / name, frames=30, size=(160, 96), codec=codec)
    frames, reader, _ = read(media.cut_off(made.path, tmp_path / f"cut_{name}", 0.7), keep_partial=True)
    assert 10 < len(frames) < 30
    assert sum("breaks off" in warning for warning in reader.warnings) == 1


def test_leaving_early_closes_without_hanging(tmp_path: Path) -> None:
    """Dropped frame threads can wait for ever; this test's timeout is the judge."""
    made = media.write_clip(tmp_path / "a.mp4", frames=30, b_frames=True)
    for _ in range(10):
        with Reader(probe(str(made.path))) as reader:
            next(iter(reader))
        reader.close()


# -- the real clips


def _expected(shared: Path) -> list[tuple[str, dict[int, tuple[int, int | None]]]]:
    """From the table in the clips' README: file -> {stream: (frames, first pts)}."""
    rows = re.findall(r"^\| `([^`]+)` \|(.*)$", (shared / "media" / "README.md").read_text(), re.M)
    found = []
    for name, rest in rows:
        streams = {
            int(index): (int(frames), None if first == "None" else int(first))
            for index, frames, first in re.findall(
                r"\bv(\d+): .*?(\d+) frames\b.*?(?:first pts|pts) (\d+|None)", rest
            )
        }
        found.append((name, streams))
    return found


@pytest.mark.shared
@pytest.mark.slow
def test_all_frames_of_the_real_clips(shared: Path) -> None:
    read_whole = 0
    for name, streams in _expected(shared):
        path = shared / "media" / name
        if name in ("audio_only.mp4", "audio_with_cover.wv", "bad/corrupt.mkv"):
            continue
        if name == "bad/truncated.mp4":
            with pytest.raises(BrokenSourceError, match=r"breaks off at 0\.46 s"):
                read(path)
            continue
        clip = probe(str(path))
        others: dict[int, int] = defaultdict(int)
        wanted = frozenset(s.index for s in clip.streams if s.index != clip.picture.index)

        def count(packet: Any, others: dict[int, int] = others) -> None:
            others[packet.stream.index] += 1

        with Reader(clip, wanted=wanted) as reader:
            reader.on_packet = count
            pts = [frame.pts for frame in reader]
        frames, first = streams[clip.picture.index]
        assert len(pts) == frames, name
        assert pts[0] == (first or 0), name
        with av.open(str(path), metadata_errors="surrogateescape") as container:
            packets = [p.stream.index for p in container.demux() if p.size]
        assert others == {index: packets.count(index) for index in wanted if index in packets}, name
        read_whole += 1
    assert read_whole >= 34
