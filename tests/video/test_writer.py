"""The writer: exact times, planes as they were given, and a target that is whole or absent."""

from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video import media
from video.through import hashes, leftovers, through, times

from vdeblur.errors import InputError, VdeblurError
from vdeblur.frame import Frame
from vdeblur.video.clip import Colour
from vdeblur.video.formats import views
from vdeblur.video.probing import probe
from vdeblur.video.sink import Sink, check_target
from vdeblur.video.verify import verify


def seconds(made: media.Made) -> list[Fraction]:
    return [pts * made.time_base for pts in made.pts]


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_uneven_times_come_back(codec: str, suffix: str, tmp_path: Path) -> None:
    """Exact in MP4, to the millisecond in Matroska; with B frames, a late start, and the last duration."""
    made = media.write_clip(tmp_path / "in.mp4", pts=media.vfr_pts(14, 3, start=135135), size=(64, 64))
    preset = {"av1": "12", "vp9": "8"}.get(codec, "ultrafast" if codec == "hevc" else "medium")
    gone = through(made.path, tmp_path / f"out{suffix}", codec=codec, preset=preset)
    back, wanted = times(gone.target), seconds(made)
    off = max(abs(a - b) for a, b in zip(back, wanted, strict=True))
    assert off <= (0 if suffix == ".mp4" else Fraction(1, 1000))
    last = lasting(gone.target)
    assert abs(last - lasting(made.path)) <= (0 if suffix == ".mp4" else Fraction(1, 1000))


def test_a_pause_that_mp4_cannot_say_names_the_way_out(tmp_path: Path) -> None:
    second = 10**9
    made = media.write_clip(
        tmp_path / "in.nut", codec="ffv1", pts=[0, second, 4 * second], time_base=Fraction(1, second)
    )
    with pytest.raises(VdeblurError, match=r"frame 2 at 4.00 s .* use a \.mkv target"):
        through(made.path, tmp_path / "out.mp4")
    through(made.path, tmp_path / "out.mkv", codec="h264")
    assert leftovers(tmp_path) == []


def lasting(path: Path) -> Fraction:
    """Of the last picture; where FFmpeg shows none (VP9 in MP4 with a late start), from the stream's end."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        *_, last = container.decode(video)
        if not last.duration and video.duration:
            return (video.start_time + video.duration - last.pts) * video.time_base
        return last.duration * last.time_base


LOSSLESS = """
yuv420p yuv422p yuv444p yuvj420p yuv420p10le yuv422p10le yuv444p12le nv12 gray gray10le gbrp gbrp10le
yuva420p yuv440p rgb24 bgra
""".split()  # noqa: SIM905


@pytest.mark.parametrize("pix_fmt", LOSSLESS)
def test_untouched_frames_are_bit_identical_in_a_lossless_codec(pix_fmt: str, tmp_path: Path) -> None:
    """Semi-planar and packed pictures come back in the planar form: the same numbers, other places."""
    codec = {"nv12": "rawvideo", "rgb24": "rawvideo", "yuvj420p": "mjpeg", "gbrp": "utvideo"}.get(
        pix_fmt, "ffv1"
    )
    made = media.write_clip(tmp_path / "in.nut", codec=codec, pix_fmt=pix_fmt, size=(98, 66), frames=3)
    gone = through(made.path, tmp_path / "out.mkv", codec="ffv1")
    assert [pixels(f) for f in decoded(made.path, gone)] == [pixels(f) for f in decoded(gone.target, gone)]


def decoded(path: Path, gone: Any) -> list[av.VideoFrame]:
    """Pictures in the written format, converted by swscale where the source has another one."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    wanted = gone.choice.pix_fmt.replace("bgr0", "gbrp")  # the padding byte of bgr0 says nothing
    if wanted.replace("yuvj", "yuv") == frames[0].format.name.replace("yuvj", "yuv"):
        return frames
    return [f.reformat(format=wanted) for f in frames]


def pixels(frame: av.VideoFrame) -> list[bytes]:
    return [np.ascontiguousarray(plane).tobytes() for plane in views(frame)]


def test_grey_in_a_codec_without_it_keeps_its_levels(tmp_path: Path) -> None:
    made = media.make("gray_10", tmp_path)
    gone = through(made.path, tmp_path / "out.webm", codec="av1", crf=1)
    assert "neutral colour" in gone.said
    for old, new in zip(plain(made.path), plain(gone.target), strict=True):
        assert abs(old.mean() - new.mean()) < 2  # of 1023


def test_full_range_becomes_limited_where_the_codec_knows_no_other(tmp_path: Path) -> None:
    made = media.make("full_range", tmp_path)
    gone = through(made.path, tmp_path / "out.mov", codec="prores")
    assert "full range becomes limited range" in gone.said
    assert probe(str(gone.target)).picture.colour.range == 1
    for old, new in zip(plain(made.path), plain(gone.target), strict=True):
        assert abs(new.mean() / 4 - (16 + old.mean() * 219 / 255)) < 0.5
    assert not verify(str(made.path), str(gone.target)).faults


def test_grey_with_alpha_as_ycbcr_keeps_levels_alpha_and_tags(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mkv", codec="ffv1", pix_fmt="ya8", frames=2)
    gone = through(made.path, tmp_path / "out.mov", codec="prores")
    with av.open(str(made.path)) as a, av.open(str(gone.target)) as b:
        before, after = next(a.decode(video=0)), next(b.decode(video=0))
    luma, alpha = views(before)[0].mean((0, 1))
    scale = 1 << (after.format.components[0].bits - 8)
    assert abs(views(after)[0].mean() / scale - luma) < 0.5
    assert abs(views(after)[3].mean() / scale - alpha) < 0.5
    assert not verify(str(made.path), str(gone.target)).faults


def plain(path: Path) -> list[Any]:
    """First planes as the file's own decoder gives them."""
    with av.open(str(path)) as container:
        return [views(f)[0].copy() for f in container.decode(video=0)]


def test_rgb_as_ycbcr_is_tagged_as_what_it_is(tmp_path: Path) -> None:
    made = media.make("gbrp_10", tmp_path)
    gone = through(made.path, tmp_path / "out.mkv", codec="h264", crf=5)
    assert "RGB is converted" in gone.said
    back = probe(str(gone.target)).picture
    assert (back.layout.range, back.layout.matrix) == ("limited", "bt709")
    assert back.colour == Colour(range=1, matrix=1, primaries=1, transfer=13)
    with av.open(str(made.path)) as a, av.open(str(gone.target)) as b:
        old, new = next(a.decode(video=0)), next(b.decode(video=0))
    old, new = (
        f.reformat(format="gbrp10le", src_colorspace=1).to_ndarray(format="rgb24") for f in (old, new)
    )
    assert np.abs(old.astype(int) - new).mean() < 3


def test_jpeg_pictures_say_that_they_are_srgb(tmp_path: Path) -> None:
    """With the matrix alone browsers guessed everything, and showed cameras' MJPEG in wrong colours."""
    made = media.write_clip(tmp_path / "in.avi", codec="mjpeg", pix_fmt="yuvj420p", colour=None, frames=2)
    gone = through(made.path, tmp_path / "out.mkv")
    assert probe(str(gone.target)).picture.colour == Colour(range=2, matrix=5, primaries=1, transfer=13)
    assert verify(str(made.path), str(gone.target)).faults == ()


def test_colour_that_only_the_container_states_is_kept(tmp_path: Path) -> None:
    """FFmpeg takes what a picture of ProRes leaves open for the word that counts; QuickTime does not."""
    made = media.write_clip(tmp_path / "in.mov", codec="prores_ks", pix_fmt="yuv422p10le", frames=2)
    data = bytearray(made.path.read_bytes())
    at = -1
    while (at := data.find(b"icpf", at + 1)) >= 0:
        data[at + 18 : at + 21] = b"\2\2\2"  # primaries, transfer, matrix
    made.path.write_bytes(data)
    gone = through(made.path)
    assert gone.clip.picture.colour == Colour(*media.BT709)
    assert not [note for note in gone.clip.warnings if "not stated" in note]
    with av.open(str(gone.target)) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (1, 1, 1)
    assert verify(str(made.path), str(gone.target)).faults == ()


def test_changed_planes_reach_the_file(tmp_path: Path) -> None:
    made = media.make("plain", tmp_path)

    def darker(frame: Frame) -> Frame:
        return dataclasses.replace(frame, planes=(frame.planes[0] // 2, *frame.planes[1:]))

    gone = through(made.path, tmp_path / "out.mkv", codec="ffv1", change=darker)
    for old, new in zip(decoded(made.path, gone), decoded(gone.target, gone), strict=True):
        assert np.array_equal(views(new)[0], views(old)[0] // 2)
        assert np.array_equal(views(new)[1], views(old)[1])


def test_pictures_of_another_size_than_the_decoded_ones(tmp_path: Path) -> None:
    """Comparisons are wider than their source: they are new pictures with the source's tags."""
    made = media.make("full_range", tmp_path)

    def doubled(frame: Frame) -> Frame:
        planes = tuple(np.concatenate((p, p), axis=1) for p in frame.planes)
        layout = dataclasses.replace(frame.layout, width=2 * frame.layout.width)
        return dataclasses.replace(frame, planes=planes, layout=layout)

    gone = through(made.path, tmp_path / "out.mp4", change=doubled)
    back = probe(str(gone.target)).picture
    assert (back.layout.width, back.layout.height) == (2 * made.size[0], made.size[1])
    assert back.layout.range == "full"
    assert times(gone.target) == seconds(made)


def test_key_frames_are_the_encoders_own(tmp_path: Path) -> None:
    """The decoder's picture types would force the source's key frames upon the encoder."""
    made = media.write_clip(tmp_path / "in.mp4", frames=20, options={"g": "5", "x264-params": "scenecut=0"})
    gone = through(made.path, tmp_path / "out.mp4")
    with av.open(str(gone.target)) as container:
        keys = [p.pts for p in container.demux(video=0) if p.size and p.is_keyframe]
    assert len(keys) == 1


def test_bottom_field_first_is_said_everywhere(tmp_path: Path) -> None:
    """x264's SEI is what FFmpeg shows as the field order; the order of the slices is in the pictures."""
    made = media.write_clip(
        tmp_path / "in.avi", codec="dvvideo", size=(720, 576), frames=2, colour=None, options={}
    )
    back = probe(str(through(made.path, tmp_path / "out.mov").target)).picture
    assert (back.interlaced, back.field_order) == (True, 3)


@pytest.mark.parametrize("siting", ["left", "center", "topleft"])
@pytest.mark.parametrize("codec", ["h264", "h265", "vp9"])
def test_chroma_stays_where_it_lies(codec: str, siting: str, tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mp4", frames=3, options={"chroma_sample_location": siting})
    gone = through(made.path, tmp_path / "out.mkv", codec=codec)
    assert gone.clip.picture.chroma_siting == siting
    assert probe(str(gone.target)).picture.chroma_siting == siting


@pytest.mark.parametrize("kind", ["hdr10", "hdr10_mp4"])
@pytest.mark.parametrize("codec", ["hevc", "h264", "av1"])
def test_hdr10_data_comes_back(kind: str, codec: str, tmp_path: Path) -> None:
    made = media.make(kind, tmp_path)
    preset = {"av1": "12"}.get(codec, "ultrafast")
    gone = through(made.path, tmp_path / f"out{made.path.suffix}", codec=codec, preset=preset)
    back = probe(str(gone.target)).picture
    assert back.hdr.light == media.LIGHT
    assert back.hdr.mastering is not None
    old, new = (np.frombuffer(d[:80], "<i4").reshape(10, 2) for d in (media.MASTERING, back.hdr.mastering))
    assert np.allclose(old[:, 0] / old[:, 1], new[:, 0] / new[:, 1], atol=3e-5, rtol=1e-4)
    assert (back.colour.primaries, back.colour.transfer, back.colour.matrix) == (9, 16, 9)


def test_hdr10_data_of_rgb_comes_back(tmp_path: Path) -> None:
    made = media.make("hdr10", tmp_path, pix_fmt="gbrp", colour=(2, 0, 9, 16))
    gone = through(made.path, tmp_path / "out.mp4", codec="h264")
    back = probe(str(gone.target)).picture
    assert back.pix_fmt == "gbrp"
    assert back.hdr.mastering is not None
    assert back.hdr.light == media.LIGHT


CAPTIONS = bytes.fromhex("06040e b50031 47413934 03 41ff fc9420 ff 80")


@pytest.mark.parametrize(("codec", "stay"), [("h264", True), ("h265", True), ("av1", False)])
def test_closed_captions_stay_or_their_loss_is_said(codec: str, stay: bool, tmp_path: Path) -> None:
    """In an SEI message of ATSC A/53, put between the parameter sets and the first picture."""
    stream = media.make("raw_h264", tmp_path, frames=3).path.read_bytes()
    at = stream.index(b"\0\0\1\x65")  # the first picture
    source = tmp_path / "captions.h264"
    source.write_bytes(stream[:at] + b"\0\0\1" + CAPTIONS + stream[at:])
    with av.open(str(source)) as container:
        assert "A53_CC" in {part.type.name for part in next(container.decode(video=0)).side_data}
    preset = "12" if codec == "av1" else "ultrafast"
    gone = through(source, tmp_path / "out.mkv", codec=codec, preset=preset)
    with av.open(str(gone.target)) as container:
        found = {part.type.name for part in next(container.decode(video=0)).side_data}
    assert ("A53_CC" in found) == stay
    assert ("closed captions" in gone.said) != stay
    assert any("closed captions" in note for note in verify(str(source), str(gone.target)).notes) != stay


def test_index_stands_in_front(tmp_path: Path) -> None:
    made = media.make("plain", tmp_path)
    data = through(made.path, tmp_path / "out.mp4").target.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_hevc_is_called_hvc1_in_mp4(tmp_path: Path) -> None:
    made = media.make("hdr10_mp4", tmp_path)
    assert probe(str(through(made.path, tmp_path / "out.mp4").target)).picture.codec_tag == "hvc1"


@pytest.mark.parametrize("at", ["mux", "close"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = media.make("plain", tmp_path)
    opened = Sink.__init__

    class Full:
        """An output container on a disk that is full, for one of its verbs."""

        def __init__(self, container: Any) -> None:
            self._container = container

        def __getattr__(self, name: str) -> Any:
            return getattr(self._container, name)

        def mux(self, packet: Any) -> None:
            if at == "mux":
                raise OSError(errno.ENOSPC, "No space left on device")
            self._container.mux(packet)

        def close(self) -> None:
            self._container.close()
            raise OSError(errno.ENOSPC, "No space left on device")

    def init(self: Sink, *args: Any, **options: Any) -> None:
        opened(self, *args, **options)
        self.container = Full(self.container)

    monkeypatch.setattr(Sink, "__init__", init)
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(VdeblurError, match="disk full") as failure:
        through(made.path, folder / "out.mp4")
    assert failure.value.exit_code == 1
    assert list(folder.iterdir()) == []


def test_an_abandoned_file_leaves_the_old_target_alone(tmp_path: Path) -> None:
    made = media.make("plain", tmp_path)
    target = tmp_path / "out.mp4"
    target.write_bytes(b"precious")

    def breaks(frame: Frame) -> Frame:
        if frame.index == 5:
            raise RuntimeError("engine broke")
        return frame

    with pytest.raises(RuntimeError):
        through(made.path, target, change=breaks)
    assert target.read_bytes() == b"precious"
    assert leftovers(tmp_path) == []


def test_targets_that_cannot_be_written_are_refused_early(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    source.write_bytes(b"x")
    (tmp_path / "there.mp4").write_bytes(b"y")
    (tmp_path / "link.mp4").symlink_to(source)
    for target, overwrite, words in [
        (source, True, "same file"),
        (tmp_path / "link.mp4", True, "same file"),
        (tmp_path / "there.mp4", False, "--overwrite"),
        (tmp_path / "none" / "o.mp4", False, "does not exist"),
        (tmp_path, True, "is a folder"),
    ]:
        with pytest.raises(InputError, match=words):
            check_target(target, str(source), overwrite=overwrite)
    check_target(tmp_path / "there.mp4", str(source), overwrite=True)
    check_target(tmp_path / "new.mp4", "-")
    assert leftovers(tmp_path) == []


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path, **options: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "touch", denied)
    with pytest.raises(InputError, match="cannot be written there"):
        check_target(tmp_path / "o.mp4", "in.mp4")


def test_names_with_odd_letters_and_great_length(tmp_path: Path) -> None:
    made = media.make("plain", tmp_path)
    target = tmp_path / ("ž %d 'a' " + "x" * 225 + ".mp4")
    assert through(made.path, target).target.exists()
    assert leftovers(tmp_path) == []


def test_two_runs_give_the_same_packets(tmp_path: Path) -> None:
    made = media.make("b_frames_audio", tmp_path)
    one, two = (through(made.path, tmp_path / name).target for name in ("one.mp4", "two.mp4"))
    assert hashes(one) == hashes(two)


def test_a_video_of_two_frames_begins_where_it_begins(tmp_path: Path) -> None:
    """libx265 makes decoding times from memory that nobody has written where it gets so few."""
    made = media.write_clip(tmp_path / "in.mp4", frames=2)
    target = tmp_path / "out.mp4"
    words = ["-m", "vdeblur", made.path, "-o", target, "--codec", "h265", "--strength", "0"]
    filled = os.environ | {"MALLOC_PERTURB_": "85"}
    done = subprocess.run([sys.executable, *map(str, words)], env=filled, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    with av.open(str(target)) as container:
        decoding = [float(p.dts * p.time_base) for p in container.demux(video=0) if p.size]
    assert all(-1 < when <= 0.04 for when in decoding)
    assert times(target) == seconds(made)
