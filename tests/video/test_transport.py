"""MPEG-TS in its two forms: recordings of camcorders stay what cameras and televisions look for."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import pytest
from video import media
from video.through import through

from vdeblur.video.verify import verify

SOUND = {"codec": "ac3"}


def pgs(path: Path) -> Path:
    """Picture subtitles of discs (.sup): a white box shown from 0.1 to 0.2 s, another from 0.3 to 0.4 s."""

    def segment(when: float, kind: int, body: bytes) -> bytes:
        return b"PG" + struct.pack(">IIBH", round(when * 90000), 0, kind, len(body)) + body

    def shown(when: float, number: int, wide: int) -> bytes:
        window = b"\1\0" + struct.pack(">HHHH", 8, 8, wide, 4)
        picture = bytes([0, 0x80 | wide, 1, 0, 0]) * 4
        head = b"\0\0\0\xc0" + (len(picture) + 4).to_bytes(3) + struct.pack(">HH", wide, 4)
        composition = struct.pack(">HHBHBBBBHBBHH", 96, 64, 16, number, 128, 0, 0, 1, 0, 0, 0, 8, 8)
        parts = [(0x16, composition), (0x17, window), (0x14, bytes([0, 0, 1, 235, 128, 128, 255]))]
        return b"".join(segment(when, *part) for part in (*parts, (0x15, head + picture), (0x80, b"")))

    def cleared(when: float, number: int) -> bytes:
        composition = struct.pack(">HHBHBBBB", 96, 64, 16, number, 0, 0, 0, 0)
        return segment(when, 0x16, composition) + segment(when, 0x80, b"")

    path.write_bytes(shown(0.1, 0, 20) + cleared(0.2, 1) + shown(0.3, 2, 30) + cleared(0.4, 3))
    return path


def camcorder(folder: Path) -> Path:
    """As AVCHD cameras write it: H.264, AC-3, and the date as picture subtitles."""
    made = media.write_clip(folder / "plain.m2ts", frames=15, audio=(SOUND,))
    target = folder / "00001.mts"
    options = {"mpegts_m2ts_mode": "1"}
    with (
        av.open(str(made.path)) as a,
        av.open(str(pgs(folder / "s.sup"))) as b,
        av.open(str(target), "w", format="mpegts", container_options=options) as out,
    ):
        into = {s: out.add_stream_from_template(s, opaque=True) for s in (*a.streams, *b.streams)}
        for packet in [*a.demux(), *b.demux()]:
            if packet.size:
                packet.stream = into[packet.stream]
                out.mux(packet)
    return target


def packet_bytes(path: Path) -> int:
    data = path.read_bytes()
    return next(size for size in (188, 192) if data[size - 188 :: size] == b"\x47" * (len(data) // size))


@pytest.mark.parametrize("name", ["out.mts", "out.m2ts", "out.mkv", "out.ts"])
def test_recordings_of_camcorders_keep_their_form_and_their_subtitles(name: str, tmp_path: Path) -> None:
    """Their picture subtitles were lost in .mts, and verify took those of .mkv for lost."""
    source = camcorder(tmp_path)
    gone = through(source, tmp_path / name)
    receipt = verify(str(source), str(gone.target))
    assert receipt.faults == ()
    assert receipt.kept.get("subtitles", 0) == (0 if name == "out.ts" else 1)
    assert ("ts files hold no hdmv_pgs_subtitle; .mkv would" in gone.said) == (name == "out.ts")
    if name != "out.mkv":
        assert packet_bytes(gone.target) == (188 if name == "out.ts" else 192)


def test_a_picture_subtitle_that_lacks_a_part_is_damage(tmp_path: Path) -> None:
    source = camcorder(tmp_path)
    with av.open(str(source)) as a, av.open(str(tmp_path / "torn.m2ts"), "w") as out:
        into = [out.add_stream_from_template(s, opaque=True) for s in a.streams]
        for packet in a.demux():
            if packet.size and bytes(packet)[:1] != b"\x15":
                packet.stream = into[packet.stream.index]
                out.mux(packet)
    faults = verify(str(source), str(tmp_path / "torn.m2ts")).faults
    assert [fault.what for fault in faults] == ["subtitle 2"]


def test_sound_that_discs_do_not_know_is_written_in_the_plain_form(tmp_path: Path) -> None:
    """In the other one AAC is private data, for which many players have no ear."""
    made = media.write_clip(tmp_path / "in.mp4", frames=15, audio=({"codec": "aac"},))
    gone = through(made.path, tmp_path / "out.m2ts")
    assert packet_bytes(gone.target) == 188
    assert verify(str(made.path), str(gone.target)).faults == ()
