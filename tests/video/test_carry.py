"""What passes by: packets byte for byte, text converted, covers, chapters, tags, ranges; losses are said."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video import media
from video.test_codecs import clip_of
from video.through import hashes, through

from vdeblur.video import carry as carrying
from vdeblur.video import tags
from vdeblur.video.carry import Action, Carry, plan_carry
from vdeblur.video.clip import Clip, Stream
from vdeblur.video.codecs import choose_output
from vdeblur.video.probing import probe
from vdeblur.video.templates import Trial
from vdeblur.video.verify import verify

SOUND = {"codec": "aac", "language": "eng", "title": "English"}
CUES = ((0.05, 0.2, "one"), (0.25, 0.4, "two – žluť"))


def other(index: int, kind: Any, codec: str | None, **more: Any) -> Stream:
    return Stream(index, kind, codec, time_base=Fraction(1, 1000), **more)


def with_streams(*streams: Stream, **more: Any) -> Clip:
    clip = clip_of("in.mkv")
    return dataclasses.replace(clip, streams=(*clip.streams, *streams), **more)


@pytest.mark.parametrize(
    ("suffix", "stream", "action"),
    [
        (".mp4", other(1, "audio", "aac"), Action.COPY),
        (".mp4", other(1, "subtitle", "mov_text"), Action.COPY),
        (".mp4", other(1, "subtitle", "subrip"), Action.CONVERT),
        (".mov", other(1, "subtitle", "ass"), Action.CONVERT),
        (".mp4", other(1, "subtitle", "hdmv_pgs_subtitle"), Action.DROP),
        (".mkv", other(1, "subtitle", "hdmv_pgs_subtitle"), Action.COPY),
        (".mkv", other(1, "subtitle", "mov_text"), Action.CONVERT),
        (".ts", other(1, "subtitle", "subrip"), Action.DROP),
        (".ts", other(1, "audio", "vorbis"), Action.DROP),
        (".ts", other(1, "audio", "ac3"), Action.COPY),
        (".ts", other(1, "audio", "truehd"), Action.DROP),
        (".m2ts", other(1, "audio", "truehd"), Action.COPY),
        (".mts", other(1, "audio", "pcm_bluray"), Action.COPY),
        (".mts", other(1, "audio", "aac"), Action.COPY),
        (".mp4", other(1, "audio", "pcm_s24le"), Action.CONVERT),
        (".mov", other(1, "audio", "pcm_s24le"), Action.COPY),
        (".ts", other(1, "audio", "s302m"), Action.COPY),
        (".mkv", other(1, "attachment", None), Action.COPY),
        (".mp4", other(1, "attachment", None), Action.DROP),
        (".mkv", other(1, "video", "png", is_cover=True), Action.ATTACH),
        (".mp4", other(1, "video", "png", is_cover=True), Action.COPY),
        (".ts", other(1, "video", "png", is_cover=True), Action.DROP),
        (".mov", other(1, "video", "png", is_cover=True), Action.DROP),
        (".mkv", other(1, "data", None), Action.DROP),
        (".mov", other(1, "data", None), Action.COPY),
        (".mov", other(1, "data", None, metadata={"timecode": "01:00:00:00"}), Action.ANEW),
        (".ts", other(1, "data", None, metadata={"timecode": "01:00:00:00"}), Action.DROP),
    ],
)
def test_what_happens_to_which_stream(suffix: str, stream: Stream, action: Action) -> None:
    clip = with_streams(stream)
    plan = plan_carry(clip, choose_output(clip, Path(f"o{suffix}")))
    assert plan.streams[0].action is action
    silent = action in (Action.COPY, Action.ATTACH)
    assert bool(plan.notes) != (silent and suffix not in (".ts", ".m2ts", ".mts"))
    assert (1 in plan.wanted) == (action not in (Action.DROP, Action.ANEW))
    assert plan.lines()[0].startswith(f"{stream.kind} 1")


def test_chapters_and_tags_are_counted_where_they_are_kept() -> None:
    clip = dataclasses.replace(clip_of("in.mkv"), chapters=1, tags={"title": "A", "artist": "B"})
    lines = {s: plan_carry(clip, choose_output(clip, Path(f"o{s}"))).lines() for s in (".mkv", ".ts")}
    assert lines == {".mkv": ["1 chapter", "2 tags"], ".ts": []}


def test_what_a_muxer_refuses_is_said_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = other(3, "audio", None, metadata={"handler_name": "Spatial"})
    clip = with_streams(other(1, "audio", "wmav2"), other(2, "data", None), strange)
    choice = choose_output(clip, Path("o.mov"))
    tried = Trial(refused=frozenset({1, 3}), chapters=frozenset({2}))
    monkeypatch.setattr(carrying, "trial", lambda clip, muxer: tried)
    plan = plan_carry(clip, choice)
    assert [c.action for c in plan.streams] == [Action.CONVERT, Action.ANEW, Action.DROP]
    assert "no mov muxer takes this Spatial audio stream" in plan.notes[1]
    assert plan.notes[2].endswith("converted: to alac, sample by sample, as no mov muxer takes it")


def test_tags_of_what_is_left_out_are_no_loss_of_their_own() -> None:
    font = other(1, "attachment", "ttf", metadata={"filename": "font.ttf"})
    sound = other(2, "audio", "aac", metadata={"studio": "A"})
    clip = with_streams(font, sound)
    plan = plan_carry(clip, choose_output(clip, Path("o.mp4")))
    assert plan.notes[1:] == ("mp4 files keep no such tags of single streams: studio",)


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_sound_that_no_muxer_takes_keeps_every_sample(name: str, tmp_path: Path) -> None:
    """PyAV's Matroska refuses ADPCM, WMA and the LPCM of DVDs, which its FFmpeg takes."""
    sound = {"codec": "adpcm_ima_wav"}
    made = media.write_clip(tmp_path / "in.avi", codec="mjpeg", pix_fmt="yuvj420p", frames=40, audio=(sound,))
    gone = through(made.path, tmp_path / name)
    assert "sample by sample" in gone.said
    assert (samples(gone.target) == samples(made.path)).all()
    receipt = verify(str(made.path), str(gone.target))
    assert receipt.faults == ()
    assert any("adpcm_ima_wav became" in note for note in receipt.notes)
    part = through(made.path, tmp_path / f"part_{name}", end=Fraction(1))
    assert samples(part.target).shape[1] == pytest.approx(48000, abs=4096)
    details = [fault.detail for fault in verify(str(made.path), str(part.target)).faults]
    assert any(detail.startswith("ends at") for detail in details)


def test_sound_that_is_converted_begins_where_it_did(tmp_path: Path) -> None:
    late = {"codec": "pcm_s24le", "start": 0.03}
    made = media.write_clip(tmp_path / "in.mkv", audio=(late,))
    gone = through(made.path, tmp_path / "out.mp4")
    with av.open(str(gone.target)) as container:
        sound = container.streams.audio[0]
        assert sound.codec_context.name == "alac"
        assert float(sound.start_time * sound.time_base) == pytest.approx(0.03, abs=0.0006)


def test_sound_whose_times_go_back_is_kept(tmp_path: Path) -> None:
    """As it is where a recording was cut anywhere: no muxer takes such times."""
    sound = {"codec": "mp2"}
    whole = media.write_clip(
        tmp_path / "whole.vob", codec="mpeg2video", colour=None, frames=75, audio=(sound,), format="vob"
    )
    data = whole.path.read_bytes()
    (tmp_path / "in.vob").write_bytes(data[len(data) // 2048 // 4 * 2048 :])
    with av.open(str(tmp_path / "in.vob")) as container:
        sound_at = container.streams.audio[0].index
    before = hashes(tmp_path / "in.vob")[sound_at]
    for name in ("out.mp4", "out.mkv"):
        gone = through(tmp_path / "in.vob", tmp_path / name)
        assert hashes(gone.target)[sound_at] == before
        assert "repeat or go back" in gone.said
        assert verify(str(tmp_path / "in.vob"), str(gone.target)).faults == ()


def samples(path: Path) -> Any:
    """All of a file's sound, its channels in rows."""
    with av.open(str(path)) as container:
        frames = [f.to_ndarray() for f in container.decode(audio=0)]
    return np.concatenate([f if len(f) == 2 else f.reshape(-1, 2).T for f in frames], axis=1)


def test_a_phone_clip_keeps_its_speech(tmp_path: Path) -> None:
    speech = {"codec": "amr_nb", "rate": 8000, "layout": "mono"}
    made = media.write_clip(tmp_path / "in.3gp", audio=(speech,))
    gone = through(made.path)
    assert gone.target.suffix == ".mov"
    assert hashes(gone.target)[1] == hashes(made.path)[1]
    silent = media.write_clip(tmp_path / "silent.3gp")
    assert through(silent.path).target.suffix == ".mp4"
    renamed = made.path.rename(tmp_path / "renamed.mp4")
    assert through(renamed).target.suffix == ".mov"


def test_a_camera_that_puts_pcm_into_its_mp4_is_heard_everywhere(tmp_path: Path) -> None:
    """FFmpeg writes it into MP4 in another way, which QuickTime and older players do not know."""
    sound = {"codec": "pcm_s24be"}
    made = media.write_clip(tmp_path / "in.mp4", audio=(sound,), format="mov")
    gone = through(made.path)
    assert gone.target.suffix == ".mov"
    assert hashes(gone.target)[1] == hashes(made.path)[1]
    asked = through(made.path, tmp_path / "asked.mp4")
    assert "as few players know PCM in mp4" in asked.said
    assert verify(str(made.path), str(asked.target)).faults == ()
    assert (samples(asked.target)[0] == samples(made.path)[0]).all()
    standard = media.write_clip(tmp_path / "standard.mp4", audio=({"codec": "pcm_s16le"},))
    assert through(standard.path).target.suffix == ".mp4"


@pytest.mark.parametrize(
    ("codec", "name", "kept"),
    [
        ("pcm_bluray", "a.m2ts", True),
        ("pcm_bluray", "a.ts", False),
        ("flac", "a.ts", False),
    ],
)
def test_sound_of_discs_stays_in_m2ts(codec: str, name: str, kept: bool, tmp_path: Path) -> None:
    source = "in.mkv" if codec == "flac" else "in.m2ts"
    made = media.write_clip(tmp_path / source)
    with av.open(str(made.path)) as old, av.open(str(tmp_path / f"s{source}"), "w") as new:
        video = new.add_stream_from_template(old.streams.video[0])
        sound = new.add_stream(codec, rate=48000)
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = video
                new.mux(packet)
        for begin in range(0, 24000, 960):
            frame = av.AudioFrame(format="s16", layout="stereo", samples=960)
            frame.planes[0].update(bytes(range(240)) * 16)
            frame.sample_rate, frame.pts, frame.time_base = 48000, begin, Fraction(1, 48000)
            new.mux(sound.encode(frame))
        new.mux(sound.encode(None))
    gone = through(tmp_path / f"s{source}", tmp_path / name)
    if kept:
        assert hashes(gone.target)[1] == hashes(tmp_path / f"s{source}")[1]
    else:
        assert any(line.endswith(f"ts files hold no {codec}; .mkv would") for line in gone.said.splitlines())


def test_ts_says_what_it_has_no_place_for() -> None:
    clip = with_streams(chapters=2, tags={"title": "a", "major_brand": "isom"})
    notes = " ".join(plan_carry(clip, choose_output(clip, Path("o.ts"))).notes)
    assert "no tags, chapters and default marks" in notes


def test_tags_of_the_old_encoding_do_not_describe_the_new_one() -> None:
    old = {
        "title": "t",
        "ENCODER": "x",
        "BPS-eng": "1",
        "_STATISTICS_TAGS": "y",
        "DURATION": "1",
        "language": "ger",
    }
    assert tags.about_the_film(old) == {"title": "t", "language": "ger"}
    doubled = {"location": "+1/", "location-eng": "+1/", "encoder": "Lavf", "my-own": "kept"}
    assert tags.container_tags(doubled) == {"location": "+1/", "my-own": "kept"}
    assert tags.container_tags({"encoder": "4.3.5", "encoder-deu": "4.3.5"}) == {}  # iPhones


@pytest.mark.parametrize(
    ("source", "codec", "target"),
    [
        (".mkv", "srt", ".mp4"),
        (".mkv", "ass", ".mov"),
        (".mp4", "mov_text", ".mkv"),
        (".mkv", "srt", ".webm"),
    ],
)
def test_text_subtitles_are_converted(source: str, codec: str, target: str, tmp_path: Path) -> None:
    made = media.write_clip(
        tmp_path / f"in{source}", frames=15, subtitles=({"codec": codec, "language": "ger", "cues": CUES},)
    )
    gone = through(made.path, tmp_path / f"out{target}", codec="vp9" if target == ".webm" else None)
    assert "converted" in gone.said
    assert cues(gone.target) == [(50, 200, "one"), (250, 400, "two – žluť")]
    with av.open(str(gone.target)) as container:
        assert container.streams.subtitles[0].language == "ger"


@pytest.mark.parametrize("codec", ["srt", "ass"])
@pytest.mark.parametrize("target", [".mp4", ".mkv"])
def test_lines_that_are_on_screen_together_are_shown_together(
    codec: str, target: str, tmp_path: Path
) -> None:
    """MP4 shows one text at a time, and drops all but the last of those that begin together."""
    lines = (
        *((0.5, 1.5, "left"), (0.5, 1.5, "right")),
        *((2.0, 3.0, "first"), (2.4, 2.8, "within"), (3.0, 3.2, "next"), (3.1, 3.4, "overlaps")),
    )
    text = {"codec": codec, "cues": lines}
    made = media.write_clip(tmp_path / "in.mkv", frames=4, rate=1, subtitles=(text,))
    gone = through(made.path, tmp_path / f"out{target}")
    together = [
        (500, 1500, "left\nright"),
        *((2000, 2400, "first"), (2400, 2800, "first\nwithin"), (2800, 3000, "first")),
        *((3000, 3100, "next"), (3100, 3200, "next\noverlaps"), (3200, 3400, "overlaps")),
    ]
    apart = [(round(begin * 1000), round(end * 1000), words) for begin, end, words in lines]
    assert [(b, e, w.replace("{\\r}", "")) for b, e, w in cues(gone.target)] == (
        together if target == ".mp4" else apart
    )
    assert verify(str(made.path), str(gone.target)).faults == ()
    shorter = media.write_clip(
        tmp_path / "short.mkv", frames=4, rate=1, subtitles=({**text, "cues": (lines[0], *lines[2:])},)
    )
    assert [f.what for f in verify(str(shorter.path), str(gone.target)).faults] == ["subtitle 1"]


def test_a_subtitle_that_is_never_shown_is_a_fault(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mkv", subtitles=({"codec": "srt", "cues": CUES},))
    never = ((0.05, 0.2, "one"), (0.25, 0.25, "two – žluť"))
    hidden = media.write_clip(tmp_path / "out.mp4", subtitles=({"codec": "mov_text", "cues": never},))
    (fault,) = verify(str(made.path), str(hidden.path)).faults
    assert fault.detail == "shown for 0.000 s, not 0.150 s"


@pytest.mark.parametrize("codec", ["srt", "mov_text"])
def test_subtitles_that_are_no_utf8_are_read_as_windows_1252(codec: str, tmp_path: Path) -> None:
    lines = ((0.05, 0.1, "one"), (0.1, 0.2, "f?nf"), (0.2, 0.3, "three"), (0.3, 0.4, "four"))
    made = media.write_clip(
        tmp_path / ("in.mkv" if codec == "srt" else "in.mov"), subtitles=({"codec": codec, "cues": lines},)
    )
    made.path.write_bytes(made.path.read_bytes().replace(b"f?nf", b"f\xfcnf"))
    gone = through(made.path, tmp_path / ("out.mp4" if codec == "srt" else "out.mkv"))
    assert [words for *_, words in cues(gone.target)] == ["one", "fünf", "three", "four"]
    assert "stream 1: text that is no UTF-8 is read as Windows-1252" in gone.said
    assert verify(str(made.path), str(gone.target)).faults == ()


def test_a_subtitle_that_cannot_be_read_is_left_out_alone(tmp_path: Path) -> None:
    lines = ((0.05, 0.1, "one"), (0.1, 0.2, "...x"), (0.2, 0.3, "three"))
    made = media.write_clip(tmp_path / "in.mov", subtitles=({"codec": "mov_text", "cues": lines},))
    made.path.write_bytes(made.path.read_bytes().replace(b"...x", b"\xfe\xff\xd8\x00"))
    gone = through(made.path, tmp_path / "out.mkv")
    assert [words for *_, words in cues(gone.target)] == ["one", "three"]
    assert "stream 1: subtitles that cannot be read are left out, the first at 0.10 s" in gone.said
    assert "given up" not in gone.said
    assert verify(str(made.path), str(gone.target)).faults == ()


def cues(path: Path) -> list[tuple[int, int, str]]:
    """Begin and end in milliseconds, and the words."""
    found = []
    with av.open(str(path)) as container:
        for packet in container.demux(subtitles=0):
            if packet.size:
                begin = round(packet.pts * packet.time_base * 1000)
                end = begin + round(packet.duration * packet.time_base * 1000)
                found += [
                    (begin, end, shown.dialogue.decode()) for shown in packet.decode() if shown.dialogue
                ]
    return found


def named(chapter: Any) -> tuple[float, float, str]:
    tick = chapter["time_base"]
    return float(chapter["start"] * tick), float(chapter["end"] * tick), chapter["metadata"]["title"]


def test_a_cover_picture_becomes_an_attachment_of_matroska(tmp_path: Path) -> None:
    made = media.make("cover_mp4", tmp_path)
    gone = through(made.path, tmp_path / "out.mkv")
    covers = []
    for path in (made.path, gone.target):
        with av.open(str(path)) as container:
            found = [s for s in container.streams.video if s.disposition & av.stream.Disposition.attached_pic]
            covers.append([bytes(p) for p in container.demux(found) if p.size])
    assert covers[0] == covers[1]
    assert len(covers[0]) == 1


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".ts"])
def test_marks_of_streams_stay_or_are_said(suffix: str, tmp_path: Path) -> None:
    mark = av.stream.Disposition
    sounds = [mark.comment, mark.visual_impaired, mark.original, mark.default | mark.dub]
    texts = [mark.default | mark.forced, mark.hearing_impaired]
    made = media.write_clip(
        tmp_path / "in.mkv",
        audio=[{"codec": "aac", "disposition": found} for found in sounds],
        subtitles=[{"codec": "srt", "disposition": found} for found in texts],
    )
    gone = through(made.path, tmp_path / f"out{suffix}")
    receipt = verify(str(made.path), str(gone.target))
    assert not receipt.faults, [fault.line() for fault in receipt.faults]
    lost = {
        ".mp4": "marks of streams: original",
        ".mov": "marks of streams: comment, dub, forced, hearing_impaired",
    }
    assert lost.get(suffix, "") in gone.said
    assert ("marks of streams" in gone.said) == (suffix in lost)
    again = through(gone.target, tmp_path / "again.mkv")
    assert not verify(str(gone.target), str(again.target)).faults


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".ts", ".mkv"])
def test_languages_stay_in_one_of_their_codes_or_are_said(suffix: str, tmp_path: Path) -> None:
    spoken = ("deu", "fre", "ces", "ENG", "swe", "en-US")
    made = media.write_clip(
        tmp_path / "in.mkv", audio=[{"codec": "aac", "language": code, "hz": 300} for code in spoken]
    )
    gone = through(made.path, tmp_path / f"out{suffix}")
    receipt = verify(str(made.path), str(gone.target))
    assert not receipt.faults, [fault.line() for fault in receipt.faults]
    with av.open(str(gone.target)) as container:
        found = [stream.language for stream in container.streams.audio]
    wanted = {
        ".mkv": list(spoken),
        ".mov": ["ger", "fra", "ces", "eng", None, None],
        ".mp4": ["deu", "fre", "ces", "eng", "swe", None],
    }
    assert [None if code == "und" else code for code in found] == wanted.get(suffix, wanted[".mp4"])
    strange = {".mov": "languages: en-US, swe", ".mkv": ""}.get(suffix, "languages: en-US")
    assert strange in gone.said


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    "tags",
    [
        {"title": "x", "track": "one"},
        {"title": "x", "track": "01"},
        {"title": "x", "creation_time": "2023-05-05T12:34:56.789000Z"},
        {"LOCATION": "+1.0+2.0/"},
    ],
)
def test_values_that_a_box_cannot_hold_are_kept_all_the_same(
    tags: dict[str, str], suffix: str, tmp_path: Path
) -> None:
    """Boxes of MP4 hold numbers and whole seconds."""
    made = media.write_clip(tmp_path / "in.mkv", frames=4, tags=tags)
    gone = through(made.path, tmp_path / f"out{suffix}")
    receipt = verify(str(made.path), str(gone.target))
    assert not receipt.faults, [fault.line() for fault in receipt.faults]


def test_a_cover_picture_that_mov_has_no_place_for_is_said(tmp_path: Path) -> None:
    made = media.make("cover_mp4", tmp_path, tags={"my.own.key": "kept"})
    gone = through(made.path, tmp_path / "out.mov")
    receipt = verify(str(made.path), str(gone.target))
    assert not receipt.faults, [fault.line() for fault in receipt.faults]
    assert "mov files hold no cover pictures" in gone.said


def test_timecode_is_written_anew(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mov", video_tags={"timecode": "01:02:03:04"})
    gone = through(made.path, tmp_path / "out.mov")
    assert "written anew: from the timecode tag" in gone.said
    with av.open(str(gone.target)) as container:
        assert container.streams.video[0].metadata["timecode"] == "01:02:03:04"
    cut = through(made.path, tmp_path / "cut.mov", start=Fraction(1, 5))
    assert "timecode is left out" in cut.said


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_range_cuts_everything_alike(suffix: str, tmp_path: Path) -> None:
    text = {
        "codec": "mov_text" if suffix == ".mp4" else "srt",
        "cues": ((0.1, 0.5, "begins before"), (0.9, 2, "goes on")),
    }
    made = media.write_clip(
        tmp_path / f"in{suffix}",
        frames=50,
        b_frames=True,
        audio=(SOUND,),
        subtitles=(text,),
        chapters=((0, 0.6, "one"), (0.6, 1.2, "two"), (1.2, 2, "three")),
    )
    gone = through(made.path, tmp_path / f"out{suffix}", start=Fraction(2, 5), end=Fraction(1))
    assert gone.frames == 15
    with av.open(str(gone.target)) as container:
        video = [float(f.pts * f.time_base) for f in container.decode(video=0)]
    assert video == pytest.approx([n / 25 for n in range(15)], abs=0.001)
    with av.open(str(gone.target)) as container:
        sound = [float(p.pts * p.time_base) for p in container.demux(audio=0) if p.size]
    assert 0 <= sound[0] < 0.025
    assert 0.55 < sound[-1] < 0.6
    assert set(hashes(gone.target)[1]) < set(hashes(made.path)[1])
    assert cues(gone.target) == [(0, 100, "begins before"), (500, 600, "goes on")]
    with av.open(str(gone.target)) as container:
        found = [named(c) for c in container.chapters()]
    assert [c[2] for c in found] == ["one", "two"]
    assert found[1][:2] == pytest.approx((0.2, 0.6), abs=0.002)


def test_a_stream_that_fails_is_given_up_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = media.make("b_frames_audio", tmp_path)
    put = Carry._put

    def fails(self: Carry, sink: Any, index: int, packet: Any) -> None:
        if packet.pts and packet.pts > 4000:
            raise av.error.ArgumentError(22, "Invalid argument")
        put(self, sink, index, packet)

    monkeypatch.setattr(carrying.Carry, "_put", fails)
    gone = through(made.path, tmp_path / "out.mp4")
    assert "stream 1 is given up at" in gone.said
    assert 0 < len(hashes(gone.target)[1]) < len(hashes(made.path)[1])


def test_hidden_sound_stays_hidden_in_matroska(tmp_path: Path) -> None:
    """Packets before an edit list's start would become audible there, and move the video."""
    made = media.write_clip(tmp_path / "in.mp4", frames=20, audio=(SOUND,))
    gone = through(made.path, tmp_path / "out.mkv")
    with av.open(str(made.path)) as container:
        shown = sum(bool(p.size) and not p.is_discard for p in container.demux(audio=0))
    assert len(hashes(gone.target)[1]) == shown


@pytest.mark.parametrize(
    ("stated", "written"),
    [
        (b"Mon Mar 10 15:04:43 2003\n", "2003-03-10T15:04:43.000000Z"),
        (b"2005/08/11/ 12:30", "2005-08-11T12:30:00.000000Z"),
    ],
)
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_the_time_of_creation_of_cameras_that_write_avi_is_kept(
    stated: bytes, written: str, suffix: str, tmp_path: Path
) -> None:
    made = media.make("mjpeg_avi", tmp_path, frames=2)
    data = made.path.read_bytes()
    at = data.index(b"JUNK")  # room in the header, where cameras put a chunk IDIT
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    stated = stated + bytes(size - len(stated))
    made.path.write_bytes(data[:at] + b"IDIT" + data[at + 4 : at + 8] + stated + data[at + 8 + size :])
    gone = through(made.path, tmp_path / f"out{suffix}")
    assert probe(str(gone.target)).tags["creation_time"] == written
    assert not verify(str(made.path), str(gone.target)).faults


@pytest.mark.parametrize(
    "stated", ["1890-01-01T00:00:00.000000Z", "2040-05-05T00:00:00.000000Z", "0000-00-00"]
)
def test_a_time_of_creation_for_which_there_is_no_place_is_kept_as_words_or_named(
    stated: str, tmp_path: Path
) -> None:
    made = media.write_clip(tmp_path / "in.nut", codec="mpeg4", frames=2, tags={"creation_time": stated})
    kept, gone = (through(made.path, tmp_path / f"out{suffix}") for suffix in (".mp4", ".mkv"))
    assert probe(str(kept.target)).tags["creation_time"] == stated
    there = probe(str(gone.target)).tags.get("creation_time")
    assert there == stated or (there is None and f"no such time of creation: {stated}" in gone.said)
    for each in (kept, gone):
        assert not verify(str(made.path), str(each.target)).faults
