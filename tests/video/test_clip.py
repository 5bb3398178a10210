"""What `probe` finds, and what it refuses: one sentence, before anything is written."""

from __future__ import annotations

import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from video import media
from video.serving import serving

from vdeblur.errors import BrokenSourceError, InputError
from vdeblur.video.probing import probe
from vdeblur.video.reader import Reader


def test_colour_hdr_rotation_aspect_fields(tmp_path: Path) -> None:
    hdr = probe(str(media.make("hdr10", tmp_path).path)).picture
    assert (hdr.colour.range, hdr.colour.matrix, hdr.colour.primaries, hdr.colour.transfer) == media.PQ
    assert hdr.layout.matrix == "bt2020nc"
    assert hdr.hdr.mastering == media.MASTERING
    assert hdr.hdr.light == media.LIGHT

    rotated = probe(str(media.make("rotated", tmp_path).path)).picture
    assert rotated.rotation == -90
    assert rotated.display_matrix is not None
    assert len(rotated.display_matrix) == 36
    assert rotated.sample_aspect_ratio == Fraction(4, 3)

    fields = probe(str(media.make("interlaced", tmp_path).path)).picture
    assert fields.interlaced
    assert fields.field_order == 2

    full = probe(str(media.make("full_range", tmp_path).path)).picture
    assert full.layout.range == "full"
    assert probe(str(media.make("alpha", tmp_path).path)).picture.layout.alpha is not None


def test_an_unstated_matrix_is_guessed_aloud(tmp_path: Path) -> None:
    clip = probe(str(media.make("untagged", tmp_path).path))
    assert clip.picture.layout.matrix == "smpte170m"
    assert ["BT.601" in warning for warning in clip.warnings] == [True]
    assert probe(str(media.make("plain", tmp_path).path)).warnings == ()


def test_streams_chapters_and_tags(tmp_path: Path) -> None:
    clip = probe(str(media.make("tracks_chapters_mkv", tmp_path).path))
    assert [s.kind for s in clip.streams] == [*["video"] * 2, *["audio"] * 2, *["subtitle"] * 2, "attachment"]
    assert [s.language for s in clip.streams if s.kind == "audio"] == ["eng", "ger"]
    assert clip.streams[3].metadata["title"] == "Kommentar – Müller"
    assert clip.chapters == 2
    assert clip.tags["title"] == "a clip – Übung"
    assert clip.picture.codec == "h264"


def test_the_stream_to_deblur(tmp_path: Path) -> None:
    two = str(media.make("tracks_chapters_mkv", tmp_path).path)
    assert probe(two).picture.index == 0
    assert probe(two, video_stream=1).picture.index == 1
    assert probe(two, video_stream=1).picture.layout.width == 48
    with pytest.raises(InputError, match="stream 2 is audio; --video-stream can be 0, 1"):
        probe(two, video_stream=2)
    with pytest.raises(InputError, match="stream 9 does not exist"):
        probe(two, video_stream=9)
    cover = media.make("cover_mp4", tmp_path).path
    clip = probe(str(cover))
    assert clip.picture.codec == "h264"
    (index,) = [s.index for s in clip.streams if s.is_cover]
    with pytest.raises(InputError, match="is a cover picture"):
        probe(str(cover), video_stream=index)


def test_the_default_flag_decides(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "two.mkv", second_video=True)
    path = tmp_path / "second.mkv"
    with av.open(str(made.path)) as source, av.open(str(path), "w") as target:
        streams = [target.add_stream_from_template(s, opaque=True) for s in source.streams]
        streams[0].disposition = av.stream.Disposition(0)
        streams[1].disposition = av.stream.Disposition.default
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    assert probe(str(path)).picture.index == 1


def test_tags_that_are_not_utf8_open(tmp_path: Path) -> None:
    """av.open itself raises UnicodeDecodeError on them unless told otherwise."""
    made = media.write_clip(tmp_path / "a.mkv", tags={"title": "MARKMARK"})
    data = made.path.read_bytes().replace(b"MARKMARK", b"Caf\xe9 \xff\xfe!")
    made.path.write_bytes(data)
    assert probe(str(made.path)).tags["title"].encode(errors="surrogateescape") == b"Caf\xe9 \xff\xfe!"


def test_an_opaque_gif_has_no_alpha(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "a.gif", codec="gif", pix_fmt="gray", colour=None, frames=5, rate=10)
    picture = probe(str(made.path)).picture
    assert picture.pix_fmt == "bgra"
    assert picture.layout.name == "gbrp"
    assert picture.layout.alpha is None


def test_a_video_with_a_palette_has_no_alpha(tmp_path: Path) -> None:
    """As emulators record it; FFmpeg gives every palette an alpha."""
    made = media.write_clip(tmp_path / "a.avi", codec="rawvideo", pix_fmt="rgb24", colour=None, frames=1)
    with av.open(str(tmp_path / "p.avi"), "w") as out:
        video: Any = out.add_stream("zmbv", rate=25)
        video.width, video.height, video.pix_fmt = *made.size, "pal8"
        picture = av.VideoFrame(*made.size, "pal8")
        picture.planes[1].update(bytes(range(256)) * 4)
        out.mux(video.encode(picture))
        out.mux(video.encode(None))
    layout = probe(str(tmp_path / "p.avi")).picture.layout
    assert (layout.name, layout.alpha) == ("gbrp", None)


def test_vp8_is_bt601_with_alpha_too(tmp_path: Path) -> None:
    """The decoder that keeps its alpha says nothing of it."""
    made = media.write_clip(
        tmp_path / "a.webm",
        codec="libvpx",
        pix_fmt="yuva420p",
        colour=None,
        options={"auto-alt-ref": "0"},
        video_tags={"alpha_mode": "1"},
    )
    picture = probe(str(made.path)).picture
    assert (picture.layout.alpha is not None, picture.colour.matrix) == (True, 5)


def test_raw_motion_jpeg_is_a_video(tmp_path: Path) -> None:
    """FFmpeg takes it for its first picture."""
    made = media.write_clip(tmp_path / "a.mjpeg", codec="mjpeg", pix_fmt="yuvj420p", format="mjpeg")
    with Reader(probe(str(made.path))) as reader:
        assert len(list(reader)) == made.frames


# -- what is refused


def test_bad_input_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello " * 5000)
    (tmp_path / "big.txt").write_text("hello\n" * 50000)  # FFmpeg opens it as "tty"
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:02,000\nhi\n\n")
    (tmp_path / "picture.mp4").write_bytes(_png())
    media.write_clip(tmp_path / "sound.mkv", frames=3, audio=({},))
    _keep_only(tmp_path / "sound.mkv", tmp_path / "only_sound.mp4", "audio")
    for name, words in {
        "none.mp4": "no such file",
        "": "a folder",
        "empty.mp4": "empty",
        "text.mp4": "not a video",
        "big.txt": "text",
        "a.srt": "text or subtitle",
        "picture.mp4": "single picture",
        "only_sound.mp4": r"no video \(its streams: audio\)",
    }.items():
        with pytest.raises(InputError, match=words) as caught:
            probe(str(tmp_path / name))
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2
    with pytest.raises(InputError, match="protocol srt:"):
        probe("srt://127.0.0.1:9")
    with pytest.raises(InputError, match="Connection refused"):
        probe("http://127.0.0.1:9/a.mp4")


def test_a_photo_in_tiles_is_refused(tmp_path: Path) -> None:
    """As phones take them; FFmpeg gives every tile as a video of its own."""
    one = media.write_clip(tmp_path / "tile.mp4", codec="libx265", size=(64, 64), frames=1).path.read_bytes()
    (tmp_path / "photo.heic").write_bytes(_heic(_inside(one, b"hvcC"), _inside(one, b"mdat")))
    with pytest.raises(InputError, match=r"photo in tiles \(HEIC\)"):
        probe(str(tmp_path / "photo.heic"))


def test_a_silent_sender_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdeblur.video.source.TIMEOUT_S", 0.3)
    with pytest.raises(InputError, match="time limit"):
        probe("udp://127.0.0.1:52521")


def test_pictures_that_do_not_decode(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "a.mov", codec="prores_ks", pix_fmt="yuv422p10le", frames=2)
    data = bytearray(made.path.read_bytes())
    at = -1
    while (at := data.find(b"icpf", at + 1)) >= 0:  # the mark at the head of every picture
        data[at : at + 4] = b"xxxx"
    made.path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="no picture of stream 0"):
        probe(str(made.path))


CUTS = {
    "mp4 with its index in front": ("a.mp4", {"container_options": {"movflags": "faststart"}}),
    "fragmented mp4": (
        "a.mp4",
        {"container_options": {"movflags": "frag_keyframe+empty_moov"}, "options": {"g": "4"}},
    ),
    "mkv": ("a.mkv", {}),
    "webm": ("a.webm", {"codec": "libvpx-vp9"}),
    "avi": ("a.avi", {"codec": "mjpeg", "pix_fmt": "yuvj422p", "colour": media.FULL709}),
}


@pytest.mark.parametrize("keep", [0.97, 0.6])
@pytest.mark.parametrize("kind", CUTS)
def test_cut_files_are_found_before_anything_is_written(kind: str, keep: float, tmp_path: Path) -> None:
    name, arguments = CUTS[kind]
    made = media.write_clip(tmp_path / name, frames=30, size=(160, 96), **arguments)
    assert probe(str(made.path)).broken is None
    clip = probe(str(media.cut_off(made.path, tmp_path / f"cut_{name}", keep)))
    assert clip.broken is not None
    assert clip.broken_at_s is not None
    assert 0 < clip.broken_at_s < 30 / 25
    with pytest.raises(BrokenSourceError, match=r"breaks off at \d\.\d\d s .*--keep-partial") as caught:
        Reader(clip)
    assert caught.value.at_s == clip.broken_at_s


def test_an_mp4_without_index_says_so(tmp_path: Path) -> None:
    made = media.make("plain", tmp_path)
    with pytest.raises(InputError, match=r"without its index \(moov\)"):
        probe(str(media.cut_off(made.path, tmp_path / "cut.mp4", 0.7)))


def test_sizes_that_were_never_filled_in_are_no_break(tmp_path: Path) -> None:
    """Written to a pipe: Matroska's segment has no size."""
    path = tmp_path / "live.mkv"
    with path.open("wb") as file:
        made = media.write_clip(tmp_path / "a.mkv", frames=8)
        with av.open(str(made.path)) as source, av.open(_Unseekable(file), "w", format="matroska") as target:
            stream = target.add_stream_from_template(source.streams[0], opaque=True)
            for packet in source.demux():
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
    assert probe(str(path)).broken is None
    assert probe(str(media.cut_off(path, tmp_path / "cut.mkv", 0.9))).broken is not None
    (tmp_path / "junk.mkv").write_bytes(path.read_bytes() + b"\0" * 100)
    assert probe(str(tmp_path / "junk.mkv")).broken is None


# -- pipes and networks


@pytest.mark.parametrize("kind", ["b_frames_mkv", "mpegts", "fragmented"])
def test_stdin_is_probed_and_then_read_whole(kind: str, tmp_path: Path) -> None:
    made = media.make(kind, tmp_path)
    done = _through_stdin(made.path.read_bytes())
    assert done.stdout.split() == [str(made.frames)], done.stderr
    with made.path.open("rb") as file:
        done = subprocess.run([sys.executable, "-c", _COUNT], stdin=file, capture_output=True, text=True)
    assert done.stdout.split() == [str(made.frames)], done.stderr


def test_a_pipe_that_brings_an_index_too_late_is_refused_as_such(tmp_path: Path) -> None:
    data = media.make("plain", tmp_path).path.read_bytes()
    index = data.index(b"moov") - 4
    gap = struct.pack(">I4s", 8 << 20, b"free") + bytes((8 << 20) - 8)  # more than is remembered of a pipe
    done = _through_stdin(data[:index] + gap + data[index:])
    assert "InputError: stdin: no video that a pipe can carry (save an MP4 with its index" in done.stderr


def test_a_pipe_through_which_nothing_comes_is_named() -> None:
    assert "InputError: stdin: nothing came through" in _through_stdin(b"").stderr


def test_a_pipe_that_ends_too_early_is_noticed(tmp_path: Path) -> None:
    data = media.make("b_frames_mkv", tmp_path).path.read_bytes()
    done = _through_stdin(data[: len(data) * 7 // 10])
    assert "BrokenSourceError: stdin: breaks off at" in done.stderr


def test_http(tmp_path: Path) -> None:
    made = media.make("b_frames_audio", tmp_path)
    with serving(tmp_path) as server:
        with Reader(probe(f"http://{server.address}/{made.path.name}")) as reader:
            assert sum(1 for _ in reader) == made.frames
        with pytest.raises(InputError, match="404"):
            probe(f"http://{server.address}/none.mp4")


@pytest.mark.shared
def test_real_clips(shared: Path) -> None:
    find = lambda name: probe(str(shared / "media" / name))  # noqa: E731
    assert find("avif_sequence_alpha_gray.avifs").picture.index == 2  # the moving colour picture
    assert find("vp9_alpha_vorbis.webm").picture.pix_fmt == "yuva420p"
    assert find("iphone_rotated.mov").picture.index == 1
    assert find("iphone_spatial_mvhevc.mov").picture.codec == "hevc"  # its side data cannot be read
    assert find("many_tracks_chapters.mkv").picture.duration_from_header_s == pytest.approx(12.12)
    assert find("first_pts_10s_sar.mp4").picture.sample_aspect_ratio == Fraction(1137, 800)
    assert find("iphone_hlg_dovi_metadata.mov").picture.hdr.dynamic[0] == "Dolby Vision"
    assert find("hevc_hdr10plus_vfr_phone.mp4").picture.hdr.dynamic == ("HDR10+ dynamic metadata",)
    assert find("bad/non_utf8_tags.mov").picture.pix_fmt == "yuvj422p"
    assert find("bad/truncated.mp4").broken_at_s == pytest.approx(0.463)
    for name, words in {
        "audio_only.mp4": "holds no video",
        "audio_with_cover.wv": "only a cover picture",
        "bad/corrupt.mkv": "damaged",
        "README.md": "not a video",
    }.items():
        with pytest.raises(InputError, match=words):
            find(name)


_COUNT = """
from vdeblur.video.probing import probe
from vdeblur.video.reader import Reader
with Reader(probe("-")) as reader:
    print(sum(1 for _ in reader))
"""


def _through_stdin(data: bytes) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-c", _COUNT], input=data, capture_output=True)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def _png() -> bytes:
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt, context.time_base = 32, 32, "rgb24", Fraction(1, 25)
    frame = media.new_frame("rgb24", 32, 32)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def _keep_only(source: Path, target: Path, kind: str) -> None:
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams = {
            s.index: new.add_stream_from_template(s, opaque=True) for s in old.streams if s.type == kind
        }
        for packet in old.demux():
            if packet.size and packet.stream.index in streams:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)


class _Unseekable:
    def __init__(self, file: object) -> None:
        self.write = file.write  # type: ignore[attr-defined]


def test_a_time_base_is_no_frame_rate(tmp_path: Path) -> None:
    """FFmpeg guesses 90000 frames a second for MPEG-TS without a rhythm."""
    made = media.make("mpegts", tmp_path, frames=36, pts=media.vfr_pts(36, 3, step=3213, start=9000))
    rate = probe(str(made.path)).picture.rate
    assert rate is None or rate < 100


@pytest.mark.parametrize("rate", [30, Fraction(24000, 1001)])
def test_raw_streams_have_the_rate_that_they_state(tmp_path: Path, rate: Fraction) -> None:
    """FFmpeg takes 25 for all of them; the stream itself says more."""
    made = media.make("raw_h264", tmp_path, rate=rate)
    clip = probe(str(made.path))
    assert clip.picture.rate == rate
    with Reader(clip) as reader:
        seconds = [float(f.pts * f.time_base) for f in reader]
    assert seconds == pytest.approx([n / rate for n in range(made.frames)], abs=1e-5)


def test_dv_has_its_lower_field_first(tmp_path: Path) -> None:
    made = media.write_clip(
        tmp_path / "a.avi", codec="dvvideo", size=(720, 576), frames=2, colour=None, options={}
    )
    assert probe(str(made.path)).picture.field_order == 3


def test_a_video_of_360_degrees_is_named(tmp_path: Path) -> None:
    plain = media.write_clip(tmp_path / "a.mp4", frames=3)
    turned = media.write_clip(tmp_path / "b.mp4", frames=3, tags={"comment": "GSpherical:Spherical"})
    said = ["360" in " ".join(probe(str(made.path)).warnings) for made in (plain, turned)]
    assert said == [False, True]


def _heic(config: bytes, tile: bytes) -> bytes:
    """Two tiles of 64 x 64 side by side (ISO/IEC 23008-12); both are the same bytes of the file."""

    def box(kind: bytes, *parts: bytes) -> bytes:
        return struct.pack(">I4s", 8 + sum(map(len, parts)), kind) + b"".join(parts)

    def infe(item: int, kind: bytes) -> bytes:
        return box(b"infe", struct.pack(">IHH", 2 << 24, item, 0), kind, b"\0")

    def head(tile_at: int) -> bytes:
        ftyp = box(b"ftyp", b"heic", bytes(4), b"mif1heic")
        hdlr = box(b"hdlr", bytes(8), b"pict", bytes(13))
        pitm = box(b"pitm", struct.pack(">IH", 0, 3))
        iinf = box(b"iinf", struct.pack(">IH", 0, 3), infe(1, b"hvc1"), infe(2, b"hvc1"), infe(3, b"grid"))
        iref = box(b"iref", bytes(4), box(b"dimg", struct.pack(">4H", 3, 2, 1, 2)))
        sizes = [box(b"ispe", struct.pack(">III", 0, width, 64)) for width in (64, 128)]
        ipma = box(b"ipma", struct.pack(">IIHBHHBHHBB", 0, 3, 1, 2, 0x8102, 2, 2, 0x8102, 3, 1, 3))
        iprp = box(b"iprp", box(b"ipco", box(b"hvcC", config), *sizes), ipma)
        grid = struct.pack(">BBBBHH", 0, 0, 0, 1, 128, 64)
        places = [(1, 0, tile_at, len(tile)), (2, 0, tile_at, len(tile)), (3, 1, 0, len(grid))]
        entries = b"".join(
            struct.pack(">HHHHII", item, way, 0, 1, at, size) for item, way, at, size in places
        )
        iloc = box(b"iloc", struct.pack(">IHH", 1 << 24, 0x4400, 3), entries)
        return ftyp + box(b"meta", bytes(4), hdlr, pitm, iloc, iinf, iref, iprp, box(b"idat", grid))

    return head(len(head(0)) + 8) + box(b"mdat", tile)


def _inside(file: bytes, kind: bytes) -> bytes:
    """The content of the first box of this kind."""
    at = file.index(kind)
    return file[at + 4 : at - 4 + int.from_bytes(file[at - 4 : at], "big")]
