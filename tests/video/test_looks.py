"""Every picture of a file looks as it was made, or it is said which does not; coding alone is no damage."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video import media

from vdeblur.cli.main import main
from vdeblur.errors import SuspectError
from vdeblur.frame import Frame
from vdeblur.jobs.deblur import deblur_file
from vdeblur.video import formats
from vdeblur.video.alignment import Times
from vdeblur.video.encoding import Encoding
from vdeblur.video.looks import BYTES, CODED, Looks, compared, look, looks_of

FRAMES = 24


def _clip(folder: Path, **changes: Any) -> Path:
    """Something that moves: neighbours differ by more than coding."""
    return media.write_clip(folder / "in.mkv", frames=FRAMES, size=(192, 128), **changes).path


Pictures = list[av.VideoFrame]


def _swapped(pictures: Pictures) -> Pictures:
    pictures[8], pictures[9] = pictures[9], pictures[8]
    return pictures


def _doubled(pictures: Pictures) -> Pictures:
    return [*pictures[:10], pictures[9], *pictures[11:]]


def _late(pictures: Pictures) -> Pictures:
    return [pictures[0], *pictures[:-1]]


def _painted(fill: Callable[[tuple[Any, ...]], None]) -> Callable[[Pictures], Pictures]:
    def damage(pictures: Pictures) -> Pictures:
        fill(formats.views(pictures[12]))
        return pictures

    return damage


def _green(planes: tuple[Any, ...]) -> None:
    for plane in planes:
        plane[...] = 0


def _grey_block(planes: tuple[Any, ...]) -> None:
    planes[0][: planes[0].shape[0] // 3, : planes[0].shape[1] // 3] = 230


def _colours_swapped(planes: tuple[Any, ...]) -> None:
    planes[1][...], planes[2][...] = planes[2].copy(), planes[1].copy()


def _chroma_moved(planes: tuple[Any, ...]) -> None:
    planes[1][...] = np.roll(planes[1], planes[1].shape[1] // 3, axis=1)


def _noise(planes: tuple[Any, ...]) -> None:
    planes[0][...] = np.random.default_rng(0).integers(0, 255, planes[0].shape, np.uint8)


def _upside_down(planes: tuple[Any, ...]) -> None:
    for plane in planes:
        plane[...] = plane[::-1].copy()


DAMAGE: dict[str, tuple[Callable[[Pictures], Pictures], str]] = {
    "swapped": (_swapped, "2 of 24 show another frame, the first is number 8"),
    "doubled": (_doubled, "show another frame, the first is number 10"),
    "one late": (_late, "show another frame, the first is number 1"),
    "green": (_painted(_green), "1 of 24 do not look as they should, the first is number 12"),
    "a block": (_painted(_grey_block), "do not look as they should, the first is number 12"),
    "colours swapped": (_painted(_colours_swapped), "do not look as they should, the first is number 12"),
    "chroma moved": (_painted(_chroma_moved), "do not look as they should, the first is number 12"),
    "noise": (_painted(_noise), "do not look as they should, the first is number 12"),
    "upside down": (_painted(_upside_down), "do not look as they should, the first is number 12"),
}


@pytest.fixture
def damaging(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Pictures], Pictures]], None]:
    """Between the ledger and the encoder: frames are held back, damaged, and sent with their own times."""

    def install(damage: Callable[[Pictures], Pictures]) -> None:
        encode, flush = Encoding.encode, Encoding.flush
        held: list[Frame] = []

        def hold(self: Encoding, frame: Frame) -> Iterator[Any]:
            held.append(frame)
            return iter(())

        def let_go(self: Encoding) -> Iterator[Any]:
            copies = []
            for frame in held:
                picture = av.VideoFrame(frame.layout.width, frame.layout.height, frame.layout.name)
                for there, here in zip(formats.views(picture), frame.planes, strict=True):
                    there[...] = here
                copies.append(picture)
            for frame, picture in zip(held, damage(copies), strict=True):
                yield from encode(self, dataclasses.replace(frame, planes=formats.views(picture), side=None))
            held.clear()
            yield from flush(self)

        monkeypatch.setattr(Encoding, "encode", hold)
        monkeypatch.setattr(Encoding, "flush", let_go)

    return install


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_between_engine_and_file_is_found(name: str, tmp_path: Path, damaging: Any) -> None:
    damage, says = DAMAGE[name]
    source = _clip(tmp_path)
    damaging(damage)
    with pytest.raises(SuspectError) as stop:
        deblur_file(source, tmp_path / "out.mkv", strength=0.0, verify="full")
    faults = [fault.line() for fault in stop.value.result.receipt.faults]
    assert any(says in line for line in faults), faults
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("b_frames_audio", {}),
        ("vfr", {"crf": 40}),
        ("420_10_hlg", {"codec": "h265", "crf": 45}),
        ("odd_size", {}),
        ("gray_10", {}),
        ("gray", {"codec": "h264"}),
        ("gbrp_10", {}),
        ("gbrp", {"codec": "h264"}),
        ("alpha", {}),
        ("full_range", {"codec": "ffv1"}),
        ("interlaced", {}),
        ("interlaced", {"deinterlace": True}),
        ("422_10", {"codec": "prores"}),
        ("late_start", {"codec": "av1", "preset": "12", "crf": 60}),
        ("tracks_chapters_mkv", {"codec": "vp9", "preset": "8", "crf": 60}),
        ("rotated", {"compare": "side"}),
    ],
)
def test_coding_is_no_damage(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    made = media.make(kind, tmp_path)
    suffix = ".mov" if options.get("codec") == "prores" else made.path.suffix
    if options.get("codec") == "ffv1":
        suffix = ".mkv"
    compare = options.pop("compare", None)
    result = deblur_file(
        made.path, tmp_path / f"out{suffix}", strength=0.0, verify="full", compare=compare, **options
    )
    assert result.receipt is not None
    assert result.receipt.line().endswith(f"{made.frames} pictures look as they were made")
    assert result.report()["receipt"]["pictures_alike"] == made.frames


def test_a_part_and_a_pipe_are_looked_at_too(tmp_path: Path) -> None:
    source = _clip(tmp_path)
    result = deblur_file(source, tmp_path / "out.mkv", strength=0.0, verify="full", start=Fraction(1, 2))
    assert result.receipt is not None
    assert "not verified: only a part of the source was asked for; 11 pictures look" in result.receipt.line()


def test_verify_full_looks_at_any_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _clip(tmp_path)
    good, bad = tmp_path / "good.mkv", tmp_path / "bad.mkv"
    deblur_file(source, good, strength=0.0)
    with av.open(str(source)) as there, av.open(str(bad), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 192, 128, "yuv420p"
        pictures = list(there.decode(video=0))
        times = [(p.pts, p.time_base) for p in pictures]
        for picture, (pts, base) in zip(_late(pictures), times, strict=True):
            copy = av.VideoFrame(192, 128, "yuv420p")
            for a, b in zip(formats.views(copy), formats.views(picture), strict=True):
                a[...] = b
            copy.pts, copy.time_base = pts, base
            out.mux(stream.encode(copy))
        out.mux(stream.encode(None))
    assert main(["verify", str(source), str(good), "--full"]) == 0
    assert f"{FRAMES} pictures look like the source's" in capsys.readouterr().out
    assert main(["verify", str(source), str(bad)]) in (0, 1)
    capsys.readouterr()
    assert main(["verify", str(source), str(bad), "--full"]) == 1
    assert "show another frame" in capsys.readouterr().out


@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    name=st.sampled_from(
        ["yuv420p", "yuv422p10le", "p010le", "nv12", "gray12le", "gbrp", "rgb24", "gbrap16le"]
    ),
)
@settings(max_examples=60, deadline=None)
def test_a_look_is_the_mean_of_flat_pictures(width: int, height: int, name: str) -> None:
    """Whatever the size and format: a flat picture has 64 equal cells of its value in 8-bit codes."""
    layout = formats.layout_of(name, width, height, range_tag=1)
    picture = av.VideoFrame(width, height, name)
    code = 64 << (layout.depth - 8 + layout.lsb)
    for plane in formats.views(picture):
        plane[...] = code
    seen = np.frombuffer(look(formats.views(picture), layout), np.uint8).reshape(3, 64)
    expected = {"yuv": (64, 64, 64), "gray": (64, 128, 128), "rgb": (16 + 64 * 219 / 255, 128, 128)}
    for row, value in zip(seen, expected[layout.kind], strict=True):
        assert abs(row.astype(float) - value).max() <= 1


def test_files_of_different_length_are_paired_by_time(tmp_path: Path) -> None:
    looks = looks_of(str(_clip(tmp_path)))
    tick = looks.times.tick
    ticks = list(looks.times.ticks)
    shorter = Looks(Times.of(ticks[:7] + ticks[8:], tick), looks.data[: 7 * BYTES] + looks.data[8 * BYTES :])
    assert compared(looks, shorter, CODED) == (FRAMES - 1, [])
