"""Files from strangers: a playlist opens nothing, what is larger than a film is refused, secrets stay so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from video import media
from video.serving import Server, serving

from vdeblur.cli.main import main
from vdeblur.errors import InputError, presentable
from vdeblur.video import formats, trust
from vdeblur.video.probing import probe

LISTS = {
    "playlist.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{uri}\n#EXT-X-ENDLIST\n",
    "playlist.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{uri}\n#EXT-X-ENDLIST\n",
    "map.m3u8": '#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXT-X-MAP:URI="{uri}"\n'
    "#EXTINF:5,\n{uri}\n#EXT-X-ENDLIST\n",
    "list.ffconcat": "ffconcat version 1.0\nfile '{uri}'\n",
    "list.txt": "ffconcat version 1.0\nfile '{uri}'\n",
    "picture.png": "ffconcat version 1.0\nfile '{uri}'\n",
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{uri}\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "manifest.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
    "<BaseURL>{uri}</BaseURL></Representation></AdaptationSet></Period></MPD>",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "www").mkdir()
    with serving(tmp_path / "www") as made:
        yield made


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("reaches", ["file", "network", "data", "concat", "subfile"])
def test_a_list_in_a_file_opens_nothing(name: str, reaches: str, tmp_path: Path, server: Server) -> None:
    canary = media.make("mpegts", tmp_path / "www").path
    uri = {
        "file": f"file:{canary}",
        "network": f"http://{server.address}/{canary.name}",
        "data": "data:video/mp2t;base64,R0AAEAAAsA0AAcEAAAABwQAA",
        "concat": f"concat:{canary}|{canary}",
        "subfile": f"subfile,,start,0,end,0,,:{canary}",
    }[reaches]
    made = tmp_path / name
    made.write_text(LISTS[name].format(uri=uri), encoding="utf-8")
    with pytest.raises(InputError) as stop:
        probe(str(made))
    assert "\n" not in str(stop.value)
    assert server.asked == []


def test_a_playlist_on_a_server_opens_its_parts_and_no_file(tmp_path: Path, server: Server) -> None:
    made = media.make("mpegts", tmp_path / "www").path
    playlist = tmp_path / "www" / "live.m3u8"
    playlist.write_text(LISTS["playlist.m3u8"].format(uri=made.name), encoding="utf-8")
    clip = probe(f"http://{server.address}/live.m3u8")
    assert clip.picture.codec == "h264"
    assert server.asked == ["/live.m3u8", f"/{made.name}"] or f"/{made.name}" in server.asked
    secret = media.make("mpegts", tmp_path).path
    for uri in (f"file:{secret}", str(secret), f"concat:{secret}", f"subfile,,start,0,end,0,,:{secret}"):
        playlist.write_text(LISTS["playlist.m3u8"].format(uri=uri), encoding="utf-8")
        with pytest.raises(InputError):
            probe(f"http://{server.address}/live.m3u8")


@pytest.mark.parametrize(
    "typed", ["concat:{clip}|{clip}", "subfile,,start,0,end,0,,:{clip}", "data:video/mp4,x", "cache:{clip}"]
)
def test_protocols_that_lead_elsewhere_are_names_of_files(typed: str, tmp_path: Path) -> None:
    clip = media.make("plain", tmp_path).path
    with pytest.raises(InputError, match="no such file"):
        probe(typed.format(clip=clip))


def test_a_file_may_be_named_as_an_address(tmp_path: Path) -> None:
    clip = media.make("plain", tmp_path).path
    assert probe(f"file:{clip}").picture.codec == probe(str(clip)).picture.codec == "h264"


@pytest.mark.parametrize(
    ("limit", "value", "says"),
    [
        ("MOST_PIXELS", 1000, "96x64"),
        ("MOST_CHAPTERS", 1, "2 chapters"),
        ("MOST_TAG_BYTES", 10, "tags"),
        ("MOST_ATTACHED_BYTES", 500, "attachments"),
        ("MOST_STREAMS", 3, "more than 3 streams"),
    ],
)
def test_what_is_larger_than_any_film_is_refused_in_one_line(
    limit: str, value: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = media.make("tracks_chapters_mkv", tmp_path).path
    monkeypatch.setattr(trust, limit, value)
    with pytest.raises(InputError, match=says) as stop:
        probe(str(clip))
    assert str(stop.value).startswith(str(clip))


def test_a_picture_that_grows_in_mid_stream_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header says small, a later key frame is larger than the limit: it counts as one that fails."""
    small = media.write_clip(tmp_path / "a.h264", format="h264", frames=3, size=(96, 64)).path
    large = media.write_clip(tmp_path / "b.h264", format="h264", frames=3, size=(320, 240)).path
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes() + small.read_bytes())
    monkeypatch.setattr(trust, "MOST_PIXELS", 10_000)
    from vdeblur.video.reader import Reader

    with Reader(probe(str(both)), keep_partial=True) as reader:
        sizes = {frame.planes[0].shape for frame in reader}
        assert reader.failed_packets >= 1
    assert sizes == {(64, 96)}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://user:pass@cam/1", "rtsp://***@cam/1"),
        ("http://u:p%40@h/x?token=abc&t=3#f", "http://***@h/x?token=***&t=3#f"),
        ("https://h/x.m3u8?X-Amz-Signature=abc", "https://h/x.m3u8?X-Amz-Signature=***"),
        ("a@b.mp4: no such file", "a@b.mp4: no such file"),
        ("clip\x1b]0;owned\x07.mp4\n2", "clip ]0;owned .mp4 2"),
        ("\u202egpj.exe", " gpj.exe"),
    ],
)
def test_presentable(text: str, shown: str) -> None:
    assert presentable(text) == shown


@pytest.mark.parametrize("words", [["info"], []])
@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_logins_are_never_said(
    words: list[str], debug: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for address in ("rtsp://me:geheim@127.0.0.1:9/cam", "http://me:geheim@127.0.0.1:9/x?key=geheim"):
        target = ["-o", str(tmp_path / "out.mp4")] if not words else []
        assert main([*words, address, *target, *debug]) == 2
    said = capsys.readouterr()
    assert "geheim" not in said.out + said.err


def test_the_report_of_a_stream_keeps_its_login_to_itself(tmp_path: Path, server: Server) -> None:
    made = media.make("plain", tmp_path / "www")
    report = tmp_path / "report.json"
    address = f"http://me:geheim@{server.address}/{made.path.name}?token=geheim"
    words = [address, "-o", str(tmp_path / "out.mp4"), "--strength", "0", "--report", str(report)]
    assert main(words) == 0
    assert "geheim" not in report.read_text(encoding="utf-8")
    assert json.loads(report.read_text(encoding="utf-8"))["totals"]["frames"] == made.frames


def test_words_of_a_file_reach_the_terminal_as_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Markup of the terminal library and control sequences in tags, languages and chapter titles."""
    made = media.write_clip(
        tmp_path / "in.mkv",
        tags={"title": "[bold red]loud[/bold red] \x1b[31m [link=file:///etc/passwd]x[/link]"},
        audio=[{"codec": "aac", "language": "eng", "title": "[/] \x1b]0;owned\x07"}],
        chapters=((0.0, 0.2, "[blink]\x1b[2J"),),
    )
    assert main(["info", str(made.path)]) == 0
    assert main([str(made.path), "-o", str(tmp_path / "out.ts"), "--strength", "0"]) == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "\x07" not in said.out + said.err
    assert "[bold red]loud[/bold red]" in said.out


def test_samples_beyond_their_depth_are_clipped() -> None:
    """FFmpeg fills what is missing with 0x8080, which aborts x264 (found by scripts/fuzz.py)."""
    frame = media.new_frame("yuv420p10le", 32, 16)
    layout = formats.layout_of("yuv420p10le", 32, 16, range_tag=1, matrix_tag=1)
    planes = formats.views(frame)
    before = [plane.copy() for plane in planes]
    formats.clip_to_depth(planes, layout)
    for plane, old in zip(planes, before, strict=True):
        np.testing.assert_array_equal(plane, old)
    planes[0][3, 5] = 0x8080
    formats.clip_to_depth(formats.views(frame), layout)
    assert formats.views(frame)[0].max() <= 1023
    assert formats.views(frame)[0][3, 5] == 1023
