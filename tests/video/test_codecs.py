"""The tables: which container, encoder and pixel format, what is said of losses, and what is refused."""

from __future__ import annotations

import contextlib
import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdeblur.errors import InputError
from vdeblur.video.clip import Clip, Colour, Hdr, Picture, Stream
from vdeblur.video.codecs import CONTAINERS, choose_output
from vdeblur.video.encoders import ENCODERS, OutputChoice, formats_of
from vdeblur.video.formats import layout_of
from vdeblur.video.shapes import losses, nearest_format, shape_of


def clip_of(
    name: str = "in.mp4",
    codec: str = "h264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    **more: Any,
) -> Clip:
    """A clip that exists only as values; `more` are fields of Picture."""
    layout = layout_of(pix_fmt, *size, range_tag=1, matrix_tag=1)
    values: dict[str, Any] = {
        "index": 0,
        "codec": codec,
        "pix_fmt": pix_fmt,
        "layout": layout,
        "colour": Colour(1, 1, 1, 1),
        "time_base": Fraction(1, 1000),
        "first_pts": 0,
        "rate": Fraction(25),
    }
    stream = Stream(0, "video", codec, disposition=1, time_base=Fraction(1, 1000))
    return Clip(name, "mov,mp4,m4a,3gp,3g2,mj2", (stream,), Picture(**(values | more)))


def chosen(choice: OutputChoice) -> tuple[str, str, str]:
    return choice.suffix, choice.encoder, choice.pix_fmt


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "expected"),
    [
        ("a.mp4", "h264", "yuv420p", (".mp4", "libx264", "yuv420p")),
        ("a.mov", "h264", "yuvj420p", (".mov", "libx264", "yuvj420p")),
        ("a.mp4", "h264", "yuv444p", (".mp4", "libx264", "yuv444p")),
        ("a.mp4", "hevc", "yuv420p10le", (".mp4", "libx265", "yuv420p10le")),
        ("a.mp4", "av1", "yuv420p10le", (".mp4", "libsvtav1", "yuv420p10le")),
        ("a.webm", "vp9", "yuv420p", (".webm", "libvpx-vp9", "yuv420p")),
        ("a.webm", "vp8", "yuva420p", (".webm", "libvpx-vp9", "yuva420p")),
        ("a.webm", "vp9", "yuv420p10le", (".webm", "libsvtav1", "yuv420p10le")),
        ("a.webm", "vp9", "yuv420p12le", (".mkv", "libx265", "yuv420p12le")),
        ("a.mov", "prores", "yuv422p10le", (".mov", "prores_ks", "yuv422p10le")),
        ("a.mxf", "prores", "yuv422p10le", (".mov", "prores_ks", "yuv422p10le")),
        ("a.mov", "prores", "yuv444p12le", (".mov", "prores_ks", "yuv444p10le")),
        ("a.mov", "prores", "yuva444p12le", (".mov", "prores_ks", "yuva444p10le")),
        ("a.mkv", "ffv1", "gray16le", (".mkv", "ffv1", "gray16le")),
        ("a.gif", "gif", "bgra", (".mkv", "ffv1", "bgra")),
        ("a.avi", "mpeg4", "yuv420p", (".mkv", "libx264", "yuv420p")),
        ("a.avi", "rawvideo", "nv12", (".mkv", "ffv1", "yuv420p")),
        ("a.avi", "lagarith", "yuv422p", (".mkv", "ffv1", "yuv422p")),
        ("a.avi", "fraps", "bgr24", (".mkv", "ffv1", "bgr0")),
        ("a.avi", "zmbv", "bgr0", (".mkv", "libx264rgb", "bgr0")),
        ("a.h264", "h264", "yuv420p", (".mkv", "libx264", "yuv420p")),
        ("a.ts", "hevc", "yuv420p", (".ts", "libx265", "yuv420p")),
        ("a.mpg", "mpeg2video", "yuv422p", (".mkv", "libx264", "yuv422p")),
        ("a.avif", "av1", "gray10le", (".mkv", "libx265", "gray10le")),
        ("-", "h264", "yuv420p", (".mp4", "libx264", "yuv420p")),
        ("http://host/a.mp4?x=1", "h264", "yuv420p", (".mp4", "libx264", "yuv420p")),
    ],
)
def test_what_is_written_for_which_source(
    name: str, codec: str, pix_fmt: str, expected: tuple[str, str, str]
) -> None:
    assert chosen(choose_output(clip_of(name, codec, pix_fmt), None)) == expected


def test_a_loss_is_said_and_a_whole_result_says_nothing() -> None:
    assert choose_output(clip_of(), None).notes == ()
    notes = " ".join(choose_output(clip_of("a.mov", "prores", "yuva444p12le"), None).notes)
    assert "10 bits instead of 12" in notes
    assert "few players show" in " ".join(choose_output(clip_of("a.gif", "gif", "bgra"), Path("a.mp4")).notes)
    assert "written as mkv" in " ".join(choose_output(clip_of("a.avi", "mpeg4"), None).notes)


def test_key_frames_of_a_container_without_an_index_are_a_second_apart() -> None:
    """Players land on the next one: up to ten seconds too late."""
    assert choose_output(clip_of("a.mts"), None).options["g"] == "25"
    assert choose_output(clip_of("a.mp4"), None).options["g"] == "250"
    assert choose_output(clip_of("a.ts"), None, encoder_options={"g": "50"}).options["g"] == "50"


def test_hdr10_data_goes_before_the_family_of_the_source() -> None:
    """ProRes and VP9 carry no mastering data in their streams; H.265 does."""
    hdr = Hdr(mastering=bytes(88), light=bytes(8))
    for pix_fmt in ("yuv422p10le", "yuv444p12le"):
        assert choose_output(clip_of("a.mov", "prores", pix_fmt, hdr=hdr), None).encoder == "libx265"
    assert choose_output(clip_of("a.webm", "vp9", "yuv420p10le", hdr=hdr), None).encoder == "libsvtav1"


def test_field_order_goes_before_the_family() -> None:
    fields = clip_of("a.mkv", "hevc", "yuv420p", interlaced=True, field_order=2)
    assert choose_output(fields, None).encoder == "libx264"
    assert choose_output(fields, None).interlaced
    assert choose_output(fields, None, deinterlace=True).encoder == "libx265"


def test_odd_sizes_are_never_padded() -> None:
    odd = clip_of("a.avi", "mjpeg", "yuvj420p", (97, 65))
    assert choose_output(odd, None).encoder == "libvpx-vp9"
    assert choose_output(clip_of("a.mp4", pix_fmt="yuv444p", size=(97, 65)), None).encoder == "libx264"
    with pytest.raises(InputError, match="only even sizes"):
        choose_output(odd, None, codec="h264")


@pytest.mark.parametrize(
    ("target", "wishes", "words"),
    [
        ("o.mp4", {"codec": "ffv1"}, ".mp4 files cannot hold it; use .mkv"),
        ("o.webm", {"codec": "h264"}, "cannot hold it"),
        ("o.ts", {"codec": "libaom-av1", "encoder": "ffmpeg"}, ".ts files cannot hold it; use .mp4"),
        ("o.mkv", {"codec": "libx264rgb"}, "writes no yuv420p pictures of 64x48; leave it out"),
        ("o.avi", {}, "use one of .mp4"),
        ("o", {}, "no suffix at all"),
        ("o.mp4", {"codec": "h266"}, "not a codec"),
        ("o.mp4", {"crf": 99}, "--crf 99: H.264 takes 0"),
        ("o.mkv", {"codec": "ffv1", "crf": 3}, "no such quality"),
        ("o.mov", {"codec": "prores", "preset": "slow"}, "no presets"),
        ("o.mp4", {"preset": "swift"}, "takes ultrafast"),
        ("o.mp4", {"encoder_options": {"nonsense": "1"}}, "libx264 knows no such option"),
        ("o.mp4", {"encoder_options": {"x264-params": "nonsense=1"}}, "--encoder-option nonsense"),
        ("o.mp4", {"codec": "hevc", "encoder_options": {"x265-params": "nonsense=1"}}, "option nonsense"),
        ("o.mp4", {"codec": "h264_nvenc"}, "h264_nvenc"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(target: str, wishes: dict[str, Any], words: str) -> None:
    if wishes.get("codec") == "h264_nvenc" and _nvenc_works():
        pytest.skip("this machine has NVENC")
    with pytest.raises(InputError) as refusal:
        choose_output(clip_of(), Path(target), **wishes)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_good_options_of_the_user_arrive() -> None:
    choice = choose_output(
        clip_of(), Path("o.mkv"), crf=30, preset="veryfast", encoder_options={"tune": "film", "g": "30"}
    )
    assert choice.options | {"crf": "30", "preset": "veryfast", "tune": "film", "g": "30"} == choice.options


def test_the_rate_is_held_near_the_sources_unless_a_quality_is_asked_for() -> None:
    known = clip_of(bit_rate=1_000_000)
    assert choose_output(known, None).options["maxrate"] == "1800000"
    assert "maxrate" not in choose_output(known, None, crf=20).options
    # An hour-long subtitle makes a file of seconds last an hour: no rate follows from that.
    wrong = dataclasses.replace(clip_of(duration_from_header_s=3600.0), size_bytes=100_000)
    assert "maxrate" not in choose_output(wrong, None).options
    stream = dataclasses.replace(wrong.streams[0], metadata={"BPS-eng": "80000"})
    counted = dataclasses.replace(wrong, streams=(stream,))
    assert choose_output(counted, None).options["maxrate"] == "144000"


def test_multi_view_and_dynamic_metadata_are_said() -> None:
    clip = clip_of(codec="hevc", hdr=Hdr(dynamic=("Dolby Vision",)))
    stream = dataclasses.replace(clip.streams[0], disposition=1 | 1 << 21)
    notes = " ".join(choose_output(dataclasses.replace(clip, streams=(stream,)), None).notes)
    assert "Dolby Vision" in notes
    assert "base view" in notes


def test_mp4_times_are_exact_for_every_stream() -> None:
    clip = clip_of(time_base=Fraction(1, 57600))
    sound = Stream(1, "audio", "aac", disposition=1, time_base=Fraction(1, 48000))
    options = choose_output(dataclasses.replace(clip, streams=(*clip.streams, sound)), None).container_options
    assert options["video_track_timescale"] == "57600"
    assert int(options["movie_timescale"]) % 57600 == int(options["movie_timescale"]) % 48000 == 0
    assert "faststart" in options["movflags"]


def test_tags_that_players_know_stay_in_the_boxes_that_players_read() -> None:
    plain = dataclasses.replace(clip_of(), tags={"title": "a", "artist": "b"})
    own = dataclasses.replace(clip_of(), tags={"title": "a", "my.own": "b"})
    assert "use_metadata_tags" not in choose_output(plain, None).container_options["movflags"]
    assert "use_metadata_tags" in choose_output(own, None).container_options["movflags"]


def test_the_container_follows_the_codec_that_is_asked_for() -> None:
    assert choose_output(clip_of(), None, codec="ffv1").suffix == ".mkv"


def test_the_encoder_keeps_up_with_a_fast_network_where_cores_are_few_and_says_so() -> None:
    def preset(cores: float, **wishes: Any) -> tuple[str, list[str]]:
        choice = choose_output(clip_of(), None, pace=(92.0, cores), **wishes)
        return choice.options["preset"], [note for note in choice.notes if "to keep up" in note]

    plenty, few = preset(16), preset(2)
    assert plenty == ("medium", [])
    assert few[0] == "veryfast"
    assert len(few[1]) == 1
    assert "--preset medium" in few[1][0]
    assert preset(3)[0] == "faster"
    assert preset(0.5)[0] == "veryfast"  # nothing that makes files several times as large
    assert preset(1, preset="slow") == ("slow", [])
    assert preset(1, encoder_options={"preset": "slow"}) == ("slow", [])


def test_presets_for_speed_are_the_encoders_own_and_begin_with_the_default() -> None:
    for encoder in ENCODERS.values():
        names, costs = [name for name, _ in encoder.paces], [cost for _, cost in encoder.paces]
        assert names[:1] in ([], [encoder.default_preset])
        assert set(names) <= set(encoder.presets)
        assert costs == sorted(costs, reverse=True)


_FORMATS = sorted({name for encoder in ENCODERS for name in formats_of(encoder)})


@given(st.sampled_from(_FORMATS), st.sampled_from(sorted(ENCODERS)))
def test_nothing_is_lost_without_a_word(source: str, encoder: str) -> None:
    """The nearest format holds at least 8 bits; fewer bits, less colour or no alpha always have a name."""
    best, lost = nearest_format(source, formats_of(encoder))
    old, new = shape_of(source), shape_of(best)
    assert new.bits >= 8
    poorer = new.bits < old.bits or (old.alpha and not new.alpha)
    poorer |= old.kind == new.kind and (new.across > old.across or new.down > old.down)
    assert bool(lost) >= poorer
    assert (best == source) == (source in formats_of(encoder))


@given(st.sampled_from(_FORMATS), st.sampled_from(sorted(CONTAINERS)))
def test_every_container_takes_every_picture_or_says_why_not(pix_fmt: str, suffix: str) -> None:
    choice: OutputChoice | None = None
    with contextlib.suppress(InputError):
        choice = choose_output(clip_of(pix_fmt=pix_fmt), Path(f"o{suffix}"))
    if choice is not None:
        assert choice.suffix == suffix
        assert bool(losses(pix_fmt, choice.pix_fmt)) <= bool(choice.notes)


def _nvenc_works() -> bool:
    try:
        choose_output(clip_of(size=(320, 192)), Path("o.mp4"), codec="h264_nvenc")
    except InputError:
        return False
    return True
