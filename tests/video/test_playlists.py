"""Addresses whose film lies in parts (HLS): variants, sound, a clock that starts anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from video import media
from video.serving import serving

from vdeblur.cli.main import main
from vdeblur.video.probing import probe


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path) as server:
        yield f"http://{server.address}"


def playlist(folder: Path, name: str, *parts: str) -> Path:
    """An HLS playlist of whole files, whose clocks have nothing to do with each other."""
    lines = "#EXT-X-DISCONTINUITY\n".join(f"#EXTINF:2,\n{part}\n" for part in parts)
    path = folder / name
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n{lines}#EXT-X-ENDLIST\n", encoding="utf-8")
    return path


def part(folder: Path, name: str, size: tuple[int, int]) -> str:
    sound = {"codec": "aac", "layout": "mono"}
    return media.write_clip(folder / name, size=size, frames=40, audio=(sound,)).path.name


def test_the_best_of_several_variants_is_taken_with_its_own_sound(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    master = "#EXTM3U\n"
    for bits, size in ((300_000, (64, 48)), (900_000, (96, 64)), (100_000, (48, 32))):
        name = f"{bits}.m3u8"
        playlist(tmp_path, name, part(tmp_path, f"{bits}.ts", size))
        master += f"#EXT-X-STREAM-INF:BANDWIDTH={bits}\n{name}\n"
    (tmp_path / "master.m3u8").write_text(master, encoding="utf-8")
    target = tmp_path / "out.mp4"
    assert main([f"{address}/master.m3u8", "-o", str(target), "--strength", "0"]) == 0
    said = capsys.readouterr()
    assert "in several qualities: stream 2 is taken, --video-stream can be 0, 2, 4" in said.err
    assert "kept: 1 audio; 40 of 40 frames" in said.out
    with av.open(str(target)) as container:
        assert [(s.type, getattr(s, "width", None)) for s in container.streams] == [
            ("video", 96),
            ("audio", None),
        ]
    asked = probe(f"{address}/master.m3u8", video_stream=0)
    assert asked.picture.layout.width == 64
    assert [s.kind for s in asked.streams] == ["video", "audio"]


def test_sound_goes_on_with_the_pictures_where_the_clock_starts_anew(tmp_path: Path, address: str) -> None:
    first = part(tmp_path, "first.ts", (64, 48))
    playlist(tmp_path, "twice.m3u8", first, first)
    target = tmp_path / "out.mkv"
    assert main([f"{address}/twice.m3u8", "-o", str(target), "--strength", "0"]) == 0
    with av.open(str(target)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    ends = float(max(packet.pts * packet.time_base for packet in packets))
    begins = float(min(packet.pts * packet.time_base for packet in packets))
    with av.open(str(tmp_path / first)) as container:
        assert len(packets) == 2 * sum(1 for packet in container.demux(audio=0) if packet.size)
    assert ends - begins == pytest.approx(3.2, abs=0.1)
