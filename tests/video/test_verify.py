"""The receipt: every planted damage is found, named and placed, and no more (see test_media_roundtrip.py).

Damage is planted by making the same clip again with one thing changed, or by copying it packet by packet
with one thing left out.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video import media
from video.through import through

from vdeblur.cli.main import main
from vdeblur.errors import InputError
from vdeblur.video import verify as verifying
from vdeblur.video.alignment import Times, matched
from vdeblur.video.picture_files import write_png
from vdeblur.video.probing import probe
from vdeblur.video.receipt import Announced, Receipt
from vdeblur.video.verify import verify

TICK = Fraction(1, 90000)


def copied(
    source: Path,
    target: Path,
    keep: Callable[[Any, int], bool] = lambda packet, number: True,
    label: Callable[[Any], None] = lambda stream: None,
) -> Path:
    """A copy packet by packet; `keep` sees each packet and its number in its stream, `label` each stream."""
    own_tags = {"movflags": "use_metadata_tags"} if target.suffix == ".mp4" else {}
    with av.open(str(source)) as old, av.open(str(target), "w", container_options=own_tags) as new:
        new.set_chapters(old.chapters())
        new.metadata.update(old.metadata)
        into, counts = {}, dict.fromkeys(range(len(old.streams)), 0)
        for stream in old.streams:
            if stream.type == "data":
                continue  # the text track of chapters, which the muxer makes itself
            into[stream.index] = made = new.add_stream_from_template(stream, opaque=True)
            made.metadata.update(stream.metadata)
            if "name" in stream.metadata:  # how MP4 reads a title back
                made.metadata["title"] = stream.metadata["name"]
            made.disposition = stream.disposition
            label(made)
        for packet in old.demux():
            if not packet.size:
                continue
            number = counts[packet.stream_index]
            counts[packet.stream_index] += 1
            if packet.stream_index in into and keep(packet, number):
                packet.stream = into[packet.stream_index]
                new.mux(packet)
    return target


@pytest.mark.parametrize(
    ("colour", "suffix", "codec"),
    [
        ((1, 5, 5, 6), ".mov", "prores"),  # BT.601 has two numbers, and ProRes one
        ((1, 8, 1, 1), ".webm", "vp9"),  # has none for it, but the container has
    ],
)
def test_a_colour_matrix_that_a_codec_names_otherwise_or_not_at_all(
    colour: tuple[int, int, int, int], suffix: str, codec: str, tmp_path: Path
) -> None:
    made = media.make("plain", tmp_path, colour=colour, frames=2)
    gone = through(made.path, tmp_path / f"out{suffix}", codec=codec)
    receipt = verify(str(made.path), str(gone.target))
    assert not receipt.faults, [fault.line() for fault in receipt.faults]
    assert probe(str(gone.target)).picture.colour.matrix in {5: (5, 6), 8: (8,)}[colour[1]]


def test_the_line_says_what_was_kept(tmp_path: Path) -> None:
    made = media.make("tracks_chapters_mkv", tmp_path)
    receipt = verify(str(made.path), str(through(made.path).target))
    assert receipt.line() == (
        "kept: 2 audio, 2 subtitles, 1 further video, 1 attachment, 2 chapters; 12 of 12 frames on time"
    )


TWO = media.KINDS["tracks_chapters_mp4"][1]["audio"]
MKV = media.KINDS["tracks_chapters_mkv"][1]


def _swapped(tracks: Any) -> list[dict[str, Any]]:
    first, second = tracks
    return [{**first, "language": second["language"]}, {**second, "language": first["language"]}]


# kind of clip, what is changed when it is made again, what the fault is called, words of its detail
PLANTED: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "languages swapped": (
        "tracks_chapters_mp4",
        {"audio": _swapped(TWO)},
        "audio 1 (eng) language",
        "'eng' became 'ger'",
    ),
    "one time shifted": (
        "plain",
        {"pts": [3600 * n + (n == 5) * 300 for n in range(12)]},
        "times",
        "1 of 12 frames are not at their time",
    ),
    "all times shifted": (
        "plain",
        {"pts": [3600 * n + 900 for n in range(12)]},
        "times",
        "all frames moved by +0.0100 s",
    ),
    "rotation lost": ("rotated", {"rotation": 0}, "rotation", "-90 became 0 degrees"),
    "colour tag changed": ("plain", {"colour": media.BT601}, "colour", "matrix 1 became 6"),
    "range changed": ("plain", {"colour": media.FULL709}, "colour", "range 1 became 2"),
    "aspect changed": ("rotated", {"sar": Fraction(1)}, "aspect", "4/3 became 1"),
    "fields swapped": (
        "interlaced",
        {"lower_first": True, "options": {"x264-params": "bff=1"}},
        "fields",
        "top field first became bottom field first",
    ),
    "size changed": ("plain", {"size": (96, 96)}, "size", "96x64 became 96x96"),
    "transparency lost": ("alpha", {"pix_fmt": "yuv420p"}, "transparency", "is lost"),
    "tail cut": ("plain", {"frames": 9}, "frames", "3 of 12 missing to the end"),
    "chapters gone": ("tracks_chapters_mkv", {"chapters": ()}, "chapters", "2 became 0"),
    "chapter moved": (
        "tracks_chapters_mkv",
        {"chapters": ((0.0, 0.2, "Anfang – Übung"), (0.25, 0.48, "two"))},
        "chapter 2",
        "begins at 0.250 s",
    ),
    "chapter renamed": (
        "tracks_chapters_mp4",
        {"chapters": ((0.0, 0.2, "Anfang – Übung"), (0.2, 0.48, "zwei"))},
        "chapter 2",
        "'two' became 'zwei'",
    ),
    "tag lost": (
        "tracks_chapters_mkv",
        {"tags": {"title": "a clip – Übung"}},
        "tag COMMENT",
        "'kept' is lost",
    ),
    "tag changed": (
        "tracks_chapters_mp4",
        {"tags": {"title": "a film", "artist": "somebody", "my.own.key": "kept"}},
        "tag title",
        "'a clip' became 'a film'",
    ),
    "attachment changed": (
        "tracks_chapters_mkv",
        {"attachments": (("font.ttf", "application/x-truetype-font", bytes(range(255)) * 4),)},
        "attachment 6",
        "its content changed",
    ),
    "attachment gone": ("tracks_chapters_mkv", {"attachments": ()}, "attachment 6", "is not there"),
    "subtitle text changed": (
        "tracks_chapters_mkv",
        {
            "subtitles": (
                {**MKV["subtitles"][0], "cues": ((0.05, 0.2, "one"), (0.25, 0.4, "three"))},
                MKV["subtitles"][1],
            )
        },
        "subtitle 4 (eng)",
        "1 of 2 packets changed",
    ),
    "subtitle moved": (
        "tracks_chapters_mkv",
        {
            "subtitles": (
                {**MKV["subtitles"][0], "cues": ((0.05, 0.2, "one"), (0.30, 0.45, "two – <i>žluť</i>"))},
                MKV["subtitles"][1],
            )
        },
        "subtitle 4 (eng)",
        "1 of 2 packets not at their time, the first +0.0500 s",
    ),
    "sound late": (
        "b_frames_audio",
        {"audio": ({**TWO[0], "start": 0.05},)},
        "audio 1 (eng)",
        "moved by +0.0",
    ),
    "sound gone": ("b_frames_audio", {"audio": ()}, "audio 1 (eng)", "is not there"),
    "HDR data lost": ("hdr10_mp4", {"hdr10": False}, "HDR10 data", "mastering display metadata lost"),
    "mark changed": (
        "tracks_chapters_mkv",
        {"audio": ({**TWO[0], "disposition": av.stream.Disposition.forced}, TWO[1])},
        "audio 2 (eng) disposition",
        "became forced",
    ),
}


@pytest.mark.parametrize("damage", PLANTED)
def test_planted_damage_is_found_and_named(damage: str, tmp_path: Path) -> None:
    kind, changes, what, detail = PLANTED[damage]
    (tmp_path / "damaged").mkdir()
    whole, damaged = media.make(kind, tmp_path), media.make(kind, tmp_path / "damaged", **changes)
    assert (what, detail) in _said(verify(str(whole.path), str(damaged.path)), what, detail)


def _said(receipt: Receipt, what: str, detail: str) -> list[tuple[str, str]]:
    """The faults, those that hold the words cut down to them."""
    return [
        (f.what, detail if detail in f.detail else f.detail) for f in receipt.faults if f.what == what
    ] or [(f.what, f.detail) for f in receipt.faults]


def _lost(stream: int, *numbers: int) -> Callable[[Any, int], bool]:
    return lambda packet, number: not (packet.stream_index == stream and number in numbers)


@pytest.mark.parametrize("kind", ["tracks_chapters_mkv", "tracks_chapters_mp4"])
def test_a_copy_has_no_fault_and_one_lost_packet_is_found(kind: str, tmp_path: Path) -> None:
    made = media.make(kind, tmp_path)
    suffix = made.path.suffix
    clean = copied(made.path, tmp_path / f"clean{suffix}")
    assert verify(str(made.path), str(clean)).faults == ()
    sound = 2 if suffix == ".mkv" else 1
    torn = copied(made.path, tmp_path / f"torn{suffix}", _lost(sound, 7))
    (fault,) = verify(str(made.path), str(torn)).faults
    assert fault.what == f"audio {sound} (eng)"
    assert fault.detail.startswith("1 of ")
    assert fault.detail.endswith(" packets missing")
    assert fault.where_s == pytest.approx(7 * 1024 / 48000 - 1024 / 48000, abs=0.03)


@pytest.mark.parametrize("number", [5, 11])
def test_a_missing_frame_is_found_at_its_time(number: int, tmp_path: Path) -> None:
    made = media.make("plain", tmp_path)
    for suffix in (".mp4", ".mkv"):
        torn = copied(made.path, tmp_path / f"torn{suffix}", _lost(0, number))
        faults = verify(str(made.path), str(torn)).faults
        assert any(f.what == "frames" and "1 of 12 missing" in f.detail for f in faults), faults
        assert any(f.where_s == pytest.approx(number / 25) for f in faults)


def test_a_frame_twice_is_found(tmp_path: Path) -> None:
    made = media.make("plain", tmp_path)
    (tmp_path / "damaged").mkdir()
    twice = sorted([*range(0, 12 * 3600, 3600), 5 * 3600 + 1800])
    damaged = media.make("plain", tmp_path / "damaged", pts=twice)
    (fault,) = (f for f in verify(str(made.path), str(damaged.path)).faults if f.what == "frames")
    assert fault.line().startswith("frames at 0.22 s: 1 more than the source has")


def test_a_file_that_breaks_off_is_damage(tmp_path: Path) -> None:
    made = media.make("b_frames_mkv", tmp_path)
    cut = media.cut_off(made.path, tmp_path / "cut.mkv", 0.7)
    words = [f.line() for f in verify(str(made.path), str(cut)).faults]
    assert any("missing to the end" in line for line in words), words


def test_a_lost_mark_and_a_lost_key_frame(tmp_path: Path) -> None:
    marked = ({**TWO[0], "disposition": av.stream.Disposition.forced}, TWO[1])
    made = media.make("tracks_chapters_mkv", tmp_path, audio=marked)

    def unmark(stream: Any) -> None:
        stream.disposition = av.stream.Disposition(0)

    damaged = copied(made.path, tmp_path / "damaged.mkv", _lost(0, 0), unmark)
    lines = [f.line() for f in verify(str(made.path), str(damaged)).faults]
    assert any(line.startswith("frames at 0.00 s") for line in lines), lines
    assert "audio 2 (eng) disposition: forced became none" in lines


def test_converted_subtitles_are_compared_by_time_and_words(tmp_path: Path) -> None:
    plain = {**MKV["subtitles"][0], "cues": ((0.05, 0.2, "one"), (0.25, 0.4, "four"))}
    made = media.make("tracks_chapters_mkv", tmp_path, subtitles=(plain, MKV["subtitles"][1]))
    gone = through(made.path, tmp_path / "out.mp4")
    receipt = verify(str(made.path), str(gone.target))
    assert [f.line() for f in receipt.faults] == []
    assert receipt.kept["subtitles"] == 2
    assert any("attachments are kept by Matroska only" in note for note in receipt.notes)
    (tmp_path / "damaged").mkdir()
    first = {**MKV["subtitles"][0], "cues": ((0.05, 0.2, "one"), (0.25, 0.4, "three"))}
    other = media.make("tracks_chapters_mkv", tmp_path / "damaged", subtitles=(first, MKV["subtitles"][1]))
    torn = through(other.path, tmp_path / "torn.mp4")
    assert [f.what for f in verify(str(made.path), str(torn.target)).faults] == ["subtitle 4 (eng)"]


def test_tracks_in_another_order_are_found(tmp_path: Path) -> None:
    """Nothing but their order tells a player which is the first."""
    sounds = [{"codec": "aac", "hz": hz, "disposition": av.stream.Disposition(0)} for hz in (300, 500)]
    made = media.write_clip(tmp_path / "in.mkv", audio=sounds)
    swapped = media.write_clip(tmp_path / "swapped.mkv", audio=sounds[::-1])
    (fault,) = verify(str(made.path), str(swapped.path)).faults
    assert fault.line() == "audio 2: comes before audio 1 in the result"


def test_fields_that_are_lost_are_a_fault_of_the_run_but_maybe_somebodys_wish(tmp_path: Path) -> None:
    made = media.make("interlaced", tmp_path)
    whole = media.write_clip(tmp_path / "whole.mp4")
    note = "fields: top field first became progressive, which is right if the pictures were deinterlaced"
    for announced in (None, Announced(0, progressive=True)):
        receipt = verify(str(made.path), str(whole.path), announced)
        assert (receipt.faults, receipt.notes) == ((), (note,))
    (fault,) = verify(str(made.path), str(whole.path), Announced(0)).faults
    assert fault.line() == "fields: top field first became progressive"


def test_pcm_is_the_same_however_it_is_cut_into_packets(tmp_path: Path) -> None:
    """MXF gives the sound of a picture, MOV 1024 samples."""
    sound = {"codec": "pcm_s16le"}
    made = media.write_clip(tmp_path / "in.mxf", codec="mpeg2video", colour=None, audio=(sound,))
    gone = through(made.path, tmp_path / "out.mov")
    assert verify(str(made.path), str(gone.target)).faults == ()
    lost = copied(gone.target, tmp_path / "lost.mov", _lost(1, 7))
    assert "audio 1" in {fault.what for fault in verify(str(gone.target), str(lost)).faults}


def test_a_language_that_the_source_does_not_state_is_found(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mkv", audio=({"codec": "aac"},))
    named = media.write_clip(tmp_path / "named.mkv", audio=({"codec": "aac", "language": "fre"},))
    (fault,) = verify(str(made.path), str(named.path)).faults
    assert fault.line() == "audio 1 language: 'fre', of which the source says nothing"


def test_what_the_run_announced_is_a_note(tmp_path: Path) -> None:
    made = media.make("tracks_chapters_mkv", tmp_path)
    (tmp_path / "damaged").mkdir()
    changes = {"subtitles": MKV["subtitles"][:1]}
    damaged = media.make("tracks_chapters_mkv", tmp_path / "damaged", **changes)
    receipt = verify(str(made.path), str(damaged.path), Announced(0, {5: "left out"}))
    assert receipt.faults == ()
    assert "subtitle 5 (ger): left out" in receipt.notes
    more = verify(str(damaged.path), str(made.path))
    assert "subtitle 5 (ger) of the result: not in the source" in more.notes


def test_times_are_laid_side_by_side() -> None:
    old = Times.of(range(0, 36000, 3600), TICK)
    late = Times.of((t + 2070 for t in old.ticks), TICK)
    assert matched(old, late, Fraction(1, 1000)).shift == Fraction(2070, 90000)
    headless = Times.of(late.ticks[1:], TICK)  # whether the head or the tail is lost, the sound tells
    found = matched(old, headless, Fraction(1, 1000), Fraction(2070, 90000))
    assert (found.count, found.missing, found.first_missing) == (9, 1, Fraction(0))
    rounded = Times.of((round(t / 90) for t in late.ticks), Fraction(1, 1000))
    assert matched(old, rounded, Fraction(1, 1000)).whole


def test_transparency_beside_a_stream_is_seen_by_its_mark(tmp_path: Path) -> None:
    """FFmpeg's usual decoders of VP8 and VP9 do not show it."""
    made = media.make("alpha", tmp_path)
    beside = through(made.path, tmp_path / "beside.webm", codec="vp9")
    assert not verify(str(made.path), str(beside.target)).faults
    gone = through(beside.target, tmp_path / "gone.mkv", codec="h264")
    receipt = verify(str(beside.target), str(gone.target))
    assert not receipt.faults, [fault.line() for fault in receipt.faults]
    assert "transparency: is lost (the codec holds none there)" in receipt.notes
    with av.open(str(gone.target)) as container:
        assert not {"alpha_mode", "ALPHA_MODE"} & set(container.streams.video[0].metadata)


def test_frames_without_times_are_counted(tmp_path: Path) -> None:
    made = media.make("raw_h264", tmp_path)
    receipt = verify(str(made.path), str(through(made.path).target))
    assert receipt.line() == "kept: 12 of 12 frames counted, as the source has no times to keep"
    fewer = media.make("plain", tmp_path, frames=11)
    assert "frames: 12 became 11" in [f.line() for f in verify(str(made.path), str(fewer.path)).faults]


def test_the_command_has_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = media.make("tracks_chapters_mkv", tmp_path, tags={"title": "a\x1b[31mred"})
    assert main(["verify", str(made.path), str(made.path)]) == 0
    assert "12 of 12 frames on time" in capsys.readouterr().out
    (tmp_path / "damaged").mkdir()
    damaged = media.make("tracks_chapters_mkv", tmp_path / "damaged", tags={}, chapters=())
    assert main(["verify", str(made.path), str(damaged.path)]) == 1
    said = capsys.readouterr().out
    assert "fault: chapters: 2 became 0" in said
    assert "\x1b" not in said
    (tmp_path / "text.mp4").write_text("no video")
    assert main(["verify", str(made.path), str(tmp_path / "text.mp4")]) == 2
    assert main(["verify", str(tmp_path / "absent.mp4"), str(made.path)]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    made = media.make("plain", tmp_path)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match="empty"):
        verifying.verify(str(made.path), str(tmp_path / "empty.mp4"))


def test_tags_that_a_cover_leaves_no_room_for_are_named_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_png(tmp_path / "cover.png", np.full((32, 32, 3), 90, np.uint8))
    picture = ("cover.png", "image/png", (tmp_path / "cover.png").read_bytes())
    made = media.write_clip(
        tmp_path / "in.mkv", attachments=(picture,), tags={"title": "one", "mood": "blue"}
    )
    assert main([str(made.path), "-o", str(tmp_path / "out.mp4"), "--strength", "0"]) == 0
    assert "beside a cover picture: the tags MOOD; .mkv keeps both" in capsys.readouterr().err
