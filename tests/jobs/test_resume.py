"""A run that was stopped goes on where it stood, and ends in the file of one that was not."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from video import media
from video.test_trust import LISTS, Server
from video.through import hashes, leftovers, times

from vdeblur.cli.main import main
from vdeblur.errors import InputError, VdeblurError
from vdeblur.jobs import deblur
from vdeblur.jobs.identity import options_of, plain_options
from vdeblur.jobs.journal import folder_of
from vdeblur.jobs.plan import Options, make_plan
from vdeblur.video.segments import Rule

NEEDS_FFMPEG = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg program here")
SHORT = Rule(Fraction(2, 5), 6)
FAST: dict[str, Any] = {"strength": 0.0, "preset": "ultrafast"}
EXAMPLES = int(os.environ.get("VDEBLUR_RESUME_EXAMPLES", "6"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "www").mkdir()
    with contextlib.closing(Server(tmp_path / "www")) as made:
        yield made


class StopError(Exception):
    """What stands for anything that ends a run in the middle."""


def run(source: Path, target: Path, *, stop_at: int | None = None, rule: Rule = SHORT, **options: Any) -> Any:
    """One run in this process; stopped when so many frames have been handed to the encoder."""
    plan = make_plan(str(source), target, Options(**(FAST | options)))

    def tell(event: deblur.Event) -> None:
        if isinstance(event, deblur.Progress) and stop_at is not None and event.frames >= stop_at:
            raise StopError

    return deblur.run(plan, tell, rule)


def stopped(source: Path, target: Path, at: int, **options: Any) -> None:
    with pytest.raises(StopError):
        run(source, target, stop_at=at, **options)
    assert not target.exists()


def same(one: Path, other: Path) -> None:
    """All packets of all streams, and the times of the pictures; equal packets decode to equal pictures."""
    assert hashes(one) == hashes(other)
    assert times(one) == times(other)


PROGRAM = """
import os, signal, sys, time
from fractions import Fraction
from pathlib import Path
from vdeblur.jobs import deblur
from vdeblur.jobs.plan import Options, make_plan
from vdeblur.video.segments import Rule

def tell(event):
    if isinstance(event, deblur.Started | deblur.Progress):
        print(type(event).__name__, flush=True)
    time.sleep(0.004)

exec(sys.argv[3])
plan = make_plan(sys.argv[1], Path(sys.argv[2]), Options(strength=0.0))
result = deblur.run(plan, tell, Rule(Fraction(2, 5), 6))
print(result.ledger.restored, result.receipt.line())
"""


def process(source: Path, target: Path, first: str = "") -> subprocess.Popen[str]:
    words = [sys.executable, "-c", PROGRAM, str(source), str(target), first]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_ten_kills_in_a_row_change_nothing(tmp_path: Path) -> None:
    """At random moments, by a signal that no program can catch; the picture is 20 macroblocks wide."""
    made = media.write_clip(
        tmp_path / "in.mp4",
        frames=260,
        size=(320, 96),
        b_frames=True,
        pts=media.vfr_pts(260, 3, start=135135),
        audio=media._TWO_SOUNDS,
    )
    whole, _ = process(made.path, tmp_path / "whole.mp4").communicate(timeout=60)
    assert "260 of 260 frames on time" in whole
    chance, target, went_on = random.Random(), tmp_path / "killed.mp4", 0
    for _ in range(10):
        killed = process(made.path, target)
        assert killed.stdout is not None
        killed.stdout.readline()
        went_on += bool(list(folder_of(target).glob("manifest.json")))
        for _ in range(chance.randrange(60)):  # frames, not seconds: a busy machine does few in a second
            killed.stdout.readline()
        killed.kill()
        killed.communicate()
        if target.exists():  # done before the last kill: whole, and begun anew
            same(target, tmp_path / "whole.mp4")
            target.unlink()
    said, _ = process(made.path, target).communicate(timeout=60)
    assert went_on
    assert "kept: 2 audio; 260 of 260 frames on time" in said
    same(target, tmp_path / "whole.mp4")
    assert leftovers(tmp_path) == []


LATE = {
    "while the parts are joined": "from vdeblur.video.sink import Sink; start = Sink.start\n"
    "def die(self):\n"
    "    start(self)\n"
    "    '.segment' in str(self.target) or self.container.streams.audio and os.kill(os.getpid(), 9)\n"
    "Sink.start = die",
    "before the result takes its name": "from vdeblur.jobs import inspection\n"
    "inspection.Inspection.approve = lambda self, hidden: os.kill(os.getpid(), 9)",
    "between a segment and its record": "from vdeblur.jobs import journal; add = journal.Journal.add\n"
    "def die(self, entry):\n"
    "    len(self.entries) == 2 and os.kill(os.getpid(), 9)\n"
    "    add(self, entry)\n"
    "journal.Journal.add = die",
}


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("moment", LATE)
def test_killed_at_an_awkward_moment(moment: str, tmp_path: Path) -> None:
    made = media.make("b_frames_audio", tmp_path, frames=60)
    target = tmp_path / "out.mp4"
    dying = process(made.path, target, LATE[moment])
    dying.communicate(timeout=60)
    assert dying.returncode == -9
    assert not target.exists()
    result = run(made.path, target, preset=None)
    assert result.ledger.restored >= 20
    run(made.path, tmp_path / "whole.mp4", preset=None)
    same(target, tmp_path / "whole.mp4")
    assert leftovers(tmp_path) == []


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """A clip, the length of segments, and where the run is stopped."""
    frames = draw(st.integers(8, 40))
    start = draw(st.sampled_from([0, 0, 90000, 135135]))
    clip: dict[str, Any] = {
        "frames": frames,
        "b_frames": draw(st.booleans()),
        "pix_fmt": draw(st.sampled_from(["yuv420p", "yuv420p10le"])),
        "audio": media._TWO_SOUNDS[: draw(st.integers(0, 2))],
        "options": {"g": str(draw(st.sampled_from([1, 7, 250])))},
    }
    if draw(st.booleans()):
        clip["pts"] = media.vfr_pts(frames, draw(st.integers(0, 99)), start=start)
    elif start:
        clip["pts"] = [start + 3600 * n for n in range(frames)]
    return {
        "clip": clip,
        "suffix": draw(st.sampled_from([".mp4", ".mkv", ".ts"])),
        "rule": Rule(Fraction(draw(st.integers(0, 20)), 20), draw(st.integers(1, 12))),
        "stops": draw(st.lists(st.integers(1, frames), min_size=1, max_size=4)),
    }


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES < 10,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(cases())
def test_stops_leave_no_trace_in_the_result(case: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = media.write_clip(folder / f"in{case['suffix']}", size=(64, 48), **case["clip"])
        whole, target = folder / f"whole{case['suffix']}", folder / f"out{case['suffix']}"
        receipt = run(made.path, whole, rule=case["rule"]).receipt
        assert not receipt.faults
        for at in case["stops"]:
            try:
                run(made.path, target, stop_at=at, rule=case["rule"])
            except StopError:
                assert not target.exists()
            else:  # all frames were there already, and there was nothing left to stop
                target.unlink()
        assert not run(made.path, target, rule=case["rule"]).receipt.faults
        same(target, whole)
        assert leftovers(folder) == []
        assert receipt.frames == made.frames


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("interlaced", {"deinterlace": True}),
        ("raw_h264", {}),
        ("mjpeg_avi", {}),
        ("mpegts", {}),
        ("fragmented", {}),
        ("hdr10_mp4", {}),
        ("rotated", {}),
        ("tracks_chapters_mkv", {}),
        ("tracks_chapters_mp4", {}),
        ("b_frames_audio", {"start": Fraction("0.3"), "end": Fraction("1.5")}),
        ("b_frames_audio", {"codec": "av1", "preset": "12"}),
        ("b_frames_mkv", {"codec": "ffv1", "preset": None}),
        ("vfr", {"codec": "h265"}),
        pytest.param("vfr", {"encoder": "ffmpeg"}, marks=NEEDS_FFMPEG),
        ("b_frames_audio", {"verify": "full"}),
        pytest.param("b_frames_audio", {"strength": 1.0, "model": "mimo-unet-tiny"}, marks=pytest.mark.slow),
        ("b_frames_audio", {"compare": "side"}),
    ],
)
def test_all_kinds_of_sources_and_ways_of_writing(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    timed = {"vfr": media.vfr_pts(50, 1), "mpegts": [9000 + 3600 * n for n in range(50)]}
    made = media.make(kind, tmp_path, frames=50, pts=timed.get(kind))
    suffix = ".mp4" if kind in ("raw_h264", "mjpeg_avi") else made.path.suffix
    whole, target = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    first = run(made.path, whole, **options)
    stopped(made.path, target, 25, **options)
    second = run(made.path, target, **options)
    assert 0 < second.ledger.restored < 25
    same(target, whole)
    assert second.receipt == first.receipt
    assert [row[:3] for row in second.ledger.rows] == [row[:3] for row in first.ledger.rows]
    assert leftovers(tmp_path) == []


def test_frames_nearer_than_a_millisecond_keep_their_own_times_in_matroska(tmp_path: Path) -> None:
    """A segment's file counts in milliseconds: it cannot tell which of two such frames is which."""
    steps = [30 if number % 4 == 2 else 3600 for number in range(24)]
    made = media.write_clip(tmp_path / "in.mp4", pts=[sum(steps[:n]) for n in range(24)])
    reorders = (("bf", "3"), ("x264-params", "b-adapt=0:b-pyramid=normal:scenecut=0"))
    result = run(made.path, tmp_path / "out.mkv", encoder_options=reorders)
    assert result.receipt.frames_on_time == 24
    assert not result.receipt.faults


def test_segments_play_while_the_rest_is_made(tmp_path: Path) -> None:
    made = media.make("b_frames_audio", tmp_path, frames=40)
    stopped(made.path, tmp_path / "out.mp4", 30)
    parts = sorted(folder_of(tmp_path / "out.mp4").glob("*.mp4"))
    assert [part.name for part in parts] == ["000001.mp4", "000002.mp4"]
    for part in parts:
        assert times(part) == [Fraction(n, 25) for n in range(10)]


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """For runs of the command."""
    whole = deblur.run
    monkeypatch.setattr(deblur, "run", lambda plan, tell, rule=SHORT: whole(plan, tell, rule))


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """A target whose run was stopped after frame 25 of 50; its source is `in.mp4`."""
    made = media.write_clip(tmp_path / "in.mp4", frames=50, size=(64, 48), audio=media._TWO_SOUNDS[:1])
    stopped(made.path, tmp_path / "out.mp4", 25, overwrite=True)
    return tmp_path / "out.mp4"


def words(target: Path, *more: str) -> list[str]:
    source = target.with_name("in.mp4")
    return [str(source), "-o", str(target), "--strength", "0", "--preset", "ultrafast", *more]


def other_source(target: Path) -> None:
    data = bytearray(target.with_name("in.mp4").read_bytes())
    data[-1] ^= 1
    target.with_name("in.mp4").write_bytes(bytes(data))


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize(
    ("more", "change", "says"),
    [
        (["--crf", "30"], None, "--crf was not given and is 30"),
        (["--deinterlace"], None, "--deinterlace was not given and is given"),
        ([], other_source, "the source changed"),
    ],
)
def test_what_has_changed_is_named_and_restart_begins_anew(
    more: list[str], change: Any, says: str, unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if change is not None:
        change(unfinished)
    before = {p.name: p.read_bytes() for p in folder_of(unfinished).iterdir()}
    assert main(words(unfinished, *more)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert "--restart" in line
    assert {p.name: p.read_bytes() for p in folder_of(unfinished).iterdir()} == before
    assert main(words(unfinished, *more, "--restart")) == 0
    assert "50 of 50 frames on time" in capsys.readouterr().out
    assert leftovers(unfinished.parent) == []


@pytest.mark.parametrize("what", ["weights", "version", "torch", "encoder"])
def test_other_weights_or_versions_are_refused(
    what: str, unfinished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vdeblur.jobs import identity

    plan = make_plan(str(unfinished.with_name("in.mp4")), unfinished, Options(**FAST))
    asked = identity.made_with(plan, SHORT)
    if what == "version":
        monkeypatch.setattr(identity, "__version__", "0.0.1")
    elif what == "torch":
        monkeypatch.setattr(identity.metadata, "version", lambda name: "0.0.1")
    elif what == "encoder":
        other = dataclasses.replace(plan.output, pix_fmt="yuv444p") if plan.output else None
        plan = dataclasses.replace(plan, output=other)
    else:
        from vdeblur.weights.store import WeightsRef

        plan = dataclasses.replace(plan, weights=WeightsRef("mine", Path(__file__), None))
    assert identity.made_with(plan, SHORT) != asked
    with pytest.raises(InputError, match=r"unfinished run .* but .*restart"):
        deblur.run(plan, rule=SHORT)


def test_what_is_done_counts_from_the_first_frame(tmp_path: Path) -> None:
    times = [3600 * 25 + number for number in range(40)]  # a recording whose clock begins at one o'clock
    made = media.write_clip(tmp_path / "in.mkv", frames=40, pts=times)
    with pytest.raises(StopError) as caught:
        run(made.path, tmp_path / "out.mkv", stop_at=33)
    assert re.search(r"^\d+ frames \(0:00:01\) are done", caught.value.__notes__[0])


@pytest.mark.usefixtures("short_segments")
def test_a_restart_that_was_stopped_is_not_begun_anew_again(
    unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = unfinished.with_name("in.mp4")
    with pytest.raises(StopError) as caught:
        run(source, unfinished, stop_at=33, restart=True)
    assert "the same command without --restart goes on from there" in str(caught.value.__notes__)
    assert main(["resume", str(unfinished.parent)]) == 0
    assert "goes on after the 30 frames that are done" in capsys.readouterr().err


@pytest.mark.usefixtures("short_segments")
def test_resume_goes_on_with_all_that_lies_below_a_folder(
    unfinished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = unfinished.parent
    (folder / "deep").mkdir()
    second = folder / "deep" / "other.mkv"
    stopped(folder / "in.mp4", second, 40, codec="ffv1", preset=None, start=Fraction(1, 5))
    monkeypatch.chdir(folder / "deep")
    assert main(["resume", str(folder)]) == 0
    said = capsys.readouterr()
    assert "2 done, 0 there already, 0 failed" in said.err
    assert "goes on after the 20 frames that are done" in said.err
    run(folder / "in.mp4", folder / "whole.mp4")
    same(unfinished, folder / "whole.mp4")
    run(folder / "in.mp4", folder / "whole.mkv", codec="ffv1", preset=None, start=Fraction(1, 5))
    same(second, folder / "whole.mkv")
    assert main(["resume", str(folder)]) == 0
    assert "no unfinished run below it" in capsys.readouterr().err
    assert main(["resume", str(folder / "nowhere")]) == 2


def test_a_second_run_on_the_same_target_is_refused_while_the_first_one_lives(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mp4", frames=60)
    target = tmp_path / "out.mp4"
    refused = []

    def tell(event: deblur.Event) -> None:
        if isinstance(event, deblur.Progress) and event.frames == 30:
            with pytest.raises(InputError, match="another run is writing it") as stop:
                run(made.path, target, restart=True)
            refused.append(stop)

    deblur.run(make_plan(str(made.path), target, Options(**FAST)), tell, SHORT)
    assert refused
    assert leftovers(tmp_path) == []


@pytest.mark.usefixtures("short_segments")
def test_a_dead_run_holds_no_lock_and_its_debris_is_cleaned(tmp_path: Path) -> None:
    """Killed before its first segment was finished, and with a file in its folder that is not ours."""
    made = media.write_clip(tmp_path / "in.mp4", frames=60)
    target = tmp_path / "out.mp4"
    folder = folder_of(target)
    folder.mkdir()
    for name in ("lock", ".out.0123abcd.mp4", "000001.mp4", ".manifest.json.tmp"):
        (folder / name).write_bytes(b"?")
    assert run(made.path, target).ledger.restored == 0
    assert leftovers(tmp_path) == []
    folder.mkdir()
    (folder / "diary.txt").write_text("mine", encoding="utf-8")
    run(made.path, target, overwrite=True)
    assert [p.name for p in folder.iterdir()] == ["diary.txt"]


@pytest.mark.parametrize("harm", ["cut", "flip", "gone", "record", "listed"])
def test_a_damaged_segment_is_made_again(harm: str, unfinished: Path) -> None:
    folder = folder_of(unfinished)
    victim = folder / ("000002.json" if harm == "record" else "000002.mp4")
    data = bytearray(victim.read_bytes())
    if harm == "cut":
        victim.write_bytes(data[:-10])
    elif harm == "gone":
        victim.unlink()
    elif harm == "listed":
        manifest = (folder / "manifest.json").read_text(encoding="utf-8")
        (folder / "manifest.json").write_text(manifest.replace("000002.json", "../../x.json"))
    else:
        data[len(data) // 2] ^= 1
        victim.write_bytes(data)
    result = run(unfinished.with_name("in.mp4"), unfinished)
    assert result.ledger.restored == 10
    run(unfinished.with_name("in.mp4"), unfinished.with_name("whole.mp4"))
    same(unfinished, unfinished.with_name("whole.mp4"))


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("name", ["playlist.m3u8", "map.m3u8", "list.ffconcat", "concat"])
@pytest.mark.parametrize("reaches", ["file", "network"])
def test_a_list_in_the_place_of_a_segment_opens_nothing(
    name: str, reaches: str, unfinished: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """A journal from a stranger, sound in all its digests."""
    folder, canary = folder_of(unfinished), unfinished.parent / "www" / "canary.mp4"
    shutil.copy(folder / "000001.mp4", canary)  # were it opened, nothing else would be wrong
    uri = f"http://{server.address}/canary.mp4" if reaches == "network" else str(canary)
    data = (LISTS | {"concat": "concat:{uri}"})[name].format(uri=uri).encode()
    (folder / "000001.mp4").write_bytes(data)
    record = json.loads((folder / "000001.json").read_bytes())
    record["segment"] |= {"bytes": len(data), "digest": blake2b(data, digest_size=16).hexdigest()}
    (folder / "000001.json").write_text(json.dumps(record), encoding="utf-8")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    written = (folder / "000001.json").read_bytes()
    manifest["segments"][0]["digest"] = blake2b(written, digest_size=16).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert main(["resume", str(unfinished.parent)]) == 0
    assert "goes on after" not in capsys.readouterr().err  # it is made again, with all that follows
    assert server.asked == []
    run(unfinished.with_name("in.mp4"), unfinished.with_name("whole.mp4"))
    same(unfinished, unfinished.with_name("whole.mp4"))


@pytest.mark.parametrize("manifest", [b"", b"{", b"[]", b'{"format": 1}', b"\xff\xfe", b'{"format": 99}'])
def test_a_manifest_that_makes_no_sense_is_refused(
    manifest: bytes, unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder_of(unfinished) / "manifest.json").write_bytes(manifest)
    source = unfinished.with_name("in.mp4")
    with pytest.raises(InputError, match="--restart"):
        run(source, unfinished)
    assert main(["resume", str(unfinished.parent)]) == 2
    assert "--restart" in capsys.readouterr().err
    run(source, unfinished, restart=True)
    assert leftovers(unfinished.parent) == []


def test_the_journal_can_be_kept_and_is_used_again(unfinished: Path) -> None:
    source = unfinished.with_name("in.mp4")
    run(source, unfinished, keep_journal=True)
    assert len(list(folder_of(unfinished).glob("*.mp4"))) == 5
    first = unfinished.read_bytes()
    unfinished.unlink()
    assert run(source, unfinished).ledger.restored == 50
    assert len(unfinished.read_bytes()) == len(first)
    assert leftovers(unfinished.parent) == []


def interrupted_at(index: int) -> Any:
    """In place of `deblur._passed`."""

    def passed(frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
            if frame.index == index:
                raise KeyboardInterrupt
            yield frame

    return passed


def test_interrupted_and_kept_in_part_it_can_still_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = media.write_clip(tmp_path / "in.mp4", frames=50, size=(64, 48), audio=media._TWO_SOUNDS[:1])
    target = tmp_path / "out.mp4"
    with monkeypatch.context() as patch:
        patch.setattr(deblur, "_passed", interrupted_at(33))
        with pytest.raises(KeyboardInterrupt, match="33 frames done so far are kept") as stop:
            run(made.path, target, keep_partial=True)
    assert "the same command with --overwrite goes on" in stop.value.__notes__[0]
    assert times(target) == [Fraction(n, 25) for n in range(33)]
    assert main(["resume", str(tmp_path)]) == 2
    assert "the same command as then finishes it, with --overwrite" in capsys.readouterr().err
    target.unlink()
    with monkeypatch.context() as patch:  # stopped again before anything new is done
        patch.setattr(deblur, "_passed", interrupted_at(30))
        with pytest.raises(KeyboardInterrupt, match="30 frames done so far are kept"):
            run(made.path, target, keep_partial=True)
    assert len(times(target)) == 30
    assert run(made.path, target, overwrite=True).ledger.restored == 30
    assert len(times(target)) == 50


def test_pictures_kept_in_part_promise_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have left the journal: there is nothing that the next run could go on from."""
    source, target = pictures(tmp_path), tmp_path / "sharp"
    monkeypatch.setattr(deblur, "_passed", interrupted_at(45))
    with pytest.raises(KeyboardInterrupt, match="45 frames done so far are kept") as stop:
        run(source, target, keep_partial=True, preset=None)
    assert not getattr(stop.value, "__notes__", [])
    assert len(contents(target)) == 45
    assert leftovers(tmp_path) == []


def test_one_damaged_picture_costs_itself_only(tmp_path: Path) -> None:
    """To take it away would be another source: all that is done would have to be done again."""
    source, target = pictures(tmp_path), tmp_path / "sharp"
    for bad in ("7", "45"):
        (source / f"{bad}.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"/7\.png: .* --keep-partial does the others"):
        run(source, target, preset=None)
    with pytest.raises(StopError) as stop:
        run(source, target, stop_at=43, keep_partial=True, preset=None)
    assert "40 frames are done and kept" in stop.value.__notes__[0]
    result = run(source, target, keep_partial=True, preset=None)
    assert result.ledger.restored == 40
    left_out = [note for note in result.ledger.notes if note.endswith("left out")]
    assert [Path(note.partition(":")[0]).name for note in left_out] == ["7.png", "45.png"]
    assert sorted(contents(target)) == sorted(f"{n}.png" for n in range(50) if n not in (7, 45))
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_pictures_take_their_names_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target, rename = pictures(tmp_path, 5), tmp_path / "sharp", os.replace

    def interrupted(part: Any, goal: Any) -> None:
        rename(part, goal)
        if Path(goal).parent == target:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(source, target, preset=None)
    assert len(contents(target)) == 5
    assert leftovers(tmp_path) == []


def test_stopped_while_the_engine_opens_it_says_what_is_kept(
    unfinished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(*words: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(deblur, "_open_engine", stops)
    with pytest.raises(KeyboardInterrupt) as stop:
        run(unfinished.with_name("in.mp4"), unfinished)
    assert "20 frames (0:00:01) are done and kept" in stop.value.__notes__[0]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_what_could_not_be_looked_at_is_not_thrown_away(
    error: BaseException, unfinished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vdeblur.jobs import journal

    def fails(path: Path) -> Any:
        raise error

    before = contents(folder_of(unfinished))
    with monkeypatch.context() as patch:
        patch.setattr(journal, "digest_of", fails)
        with pytest.raises((InputError, KeyboardInterrupt)) as stop:
            run(unfinished.with_name("in.mp4"), unfinished)
    assert isinstance(error, KeyboardInterrupt) or "Input/output error); try again" in str(stop.value)
    assert contents(folder_of(unfinished)) == before
    assert run(unfinished.with_name("in.mp4"), unfinished).ledger.restored == 20


def test_nor_are_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vdeblur.jobs import keeping_pictures

    def fails(path: Path) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    source, target = pictures(tmp_path, 25), tmp_path / "sharp"
    with pytest.raises(StopError):
        run(source, target, stop_at=24, preset=None)
    with monkeypatch.context() as patch:
        patch.setattr(keeping_pictures, "digest_of", fails)
        with pytest.raises(InputError, match=r"Input/output error\); try again"):
            run(source, target, preset=None)
    assert run(source, target, preset=None).ledger.restored == 20


def test_a_segment_that_could_not_be_listed_is_not_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is just full: the segment has found room, the list of segments has not."""
    from vdeblur.jobs.journal import MANIFEST, Journal

    made = media.write_clip(tmp_path / "in.mp4", frames=50, size=(64, 48))
    write, lists = Journal._write, []

    def full(self: Journal, name: str, data: bytes) -> None:
        lists.append(name) if name == MANIFEST else None
        if len(lists) > 1:
            raise VdeblurError("disk full")
        write(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_write", full)
        with pytest.raises(VdeblurError, match="disk full") as stop:
            run(made.path, tmp_path / "out.mp4")
    assert stop.value.__notes__[0].startswith("10 frames")
    assert run(made.path, tmp_path / "out.mp4").ledger.restored == 10


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a POSIX thing")
def test_when_the_disk_is_full_the_work_stays_and_one_line_says_so(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mkv", frames=60, size=(160, 96))
    size = run(made.path, tmp_path / "whole.mkv", codec="ffv1", preset=None).target.stat().st_size
    limit = size * 2 // 3  # enough for every segment, too little for the whole
    first = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    program = PROGRAM.replace("Options(strength=0.0)", 'Options(strength=0.0, codec="ffv1")')
    call = [sys.executable, "-c", program, str(made.path), str(tmp_path / "out.mkv"), first]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "out.mkv: cannot be written" in done.stderr
    assert "the same command goes on from there" in done.stderr
    result = run(made.path, tmp_path / "out.mkv", codec="ffv1", preset=None)
    assert result.ledger.restored >= 50


def test_a_source_that_gives_other_frames_than_before_is_noticed(unfinished: Path) -> None:
    folder = folder_of(unfinished)
    import json
    from hashlib import blake2b

    for name in ("000001.json", "000002.json"):
        record = json.loads((folder / name).read_bytes())
        record["segment"]["times"] = [t + 7 for t in record["segment"]["times"]]
        data = json.dumps(record).encode()
        old = blake2b((folder / name).read_bytes(), digest_size=16).hexdigest()
        new = blake2b(data, digest_size=16).hexdigest()
        (folder / name).write_bytes(data)
        manifest = (folder / "manifest.json").read_text(encoding="utf-8").replace(old, new)
        (folder / "manifest.json").write_text(manifest, encoding="utf-8")
    with pytest.raises(VdeblurError, match="gives other frames than before"):
        run(unfinished.with_name("in.mp4"), unfinished)


@pytest.mark.usefixtures("short_segments")
def test_a_folder_of_videos_does_not_take_segments_for_sources(unfinished: Path) -> None:
    folder = unfinished.parent
    assert main([str(folder), "--dry-run", "--strength", "0"]) == 0
    shutil.copytree(folder_of(unfinished), folder / ".keep.vdeblur")
    from vdeblur.jobs.batch import expand

    assert [item.source for item in expand([str(folder)], None)] == [str(folder / "in.mp4")]


def test_a_plan_says_that_a_run_was_stopped_before(
    unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(unfinished.with_name("in.mp4")), "-o", str(unfinished), "--dry-run", "--strength", "0"]
    for more, way in (([], "goes on from there"), (["--restart"], "begins anew")):
        assert main([*words, *more]) == 0
        assert f"an earlier run of it was stopped; this one {way}" in capsys.readouterr().out


def test_what_python_callers_give_can_be_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = media.write_clip(tmp_path / "in.mp4", frames=3)
    plans: list[Any] = []
    monkeypatch.setattr(deblur, "run", plans.append)
    deblur.deblur_file(made.path, encoder_options={"bf": 0}, start=0.04, weights=__file__, **FAST)
    options = plans[0].options
    assert options.encoder_options == (("bf", "0"),)
    assert options_of(json.loads(json.dumps(plain_options(options)))) == options


def pictures(folder: Path, count: int = 50) -> Path:
    from vdeblur.video.picture_files import write_png

    source = folder / "shots"
    source.mkdir()
    for number in range(count):
        frame = media.new_frame("rgb24", 24, 16, number)
        write_png(source / f"{number}.png", frame.to_ndarray(format="rgb24"))
    return source


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("harm", [False, True])
def test_pictures_that_are_done_are_not_done_again(exists: bool, harm: bool, tmp_path: Path) -> None:
    source, target = pictures(tmp_path), tmp_path / "sharp"
    if exists:
        target.mkdir()
    stopped_at = pytest.raises(StopError)
    with stopped_at:
        run(source, target, stop_at=45, preset=None)
    place = target / "pictures" if exists else target
    kept = folder_of(place)
    assert len(list((kept / "pictures").iterdir())) >= 40
    assert not list(target.glob("*.png"))
    if harm:
        (kept / "pictures" / "00000030.png").write_bytes(b"cut")
    if exists:
        assert main(["resume", str(tmp_path)]) == 0
    else:
        assert run(source, target, preset=None).ledger.restored == (20 if harm else 40)
    run(source, tmp_path / "whole", preset=None)
    assert contents(target) == contents(tmp_path / "whole")
    assert len(contents(target)) == 50
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(
    "words", ["open-gop=1:keyint=12:bframes=3:b-adapt=0", "intra-refresh=1:keyint=20:bframes=0", "keyint=300"]
)
def test_sources_that_cannot_be_entered_everywhere(words: str, suffix: str, tmp_path: Path) -> None:
    """Pictures that need what was before their key frame, key frames that build up slowly, a single one."""
    made = media.write_clip(
        tmp_path / f"in{suffix}", frames=80, size=(64, 48), options={"x264-params": f"scenecut=0:{words}"}
    )
    whole, target = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    lossless = {"codec": "ffv1", "preset": None}
    run(made.path, whole, **lossless)
    for at in (25, 47, 70):
        stopped(made.path, target, at, **lossless)
    assert run(made.path, target, **lossless).ledger.restored == 60
    same(target, whole)


def test_what_is_done_is_not_decoded_from_the_start_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vdeblur.video.decoding import Decoding

    made = media.write_clip(tmp_path / "in.mp4", frames=80, size=(64, 48), options={"g": "8"}, b_frames=True)
    stopped(made.path, tmp_path / "out.mp4", 65)
    given: list[int | None] = []
    decode = Decoding._decode

    def counted(self: Decoding, packet: Any) -> Any:
        pictures = decode(self, packet)
        given.extend(picture.pts for picture in pictures)
        return pictures

    monkeypatch.setattr(Decoding, "_decode", counted)
    assert run(made.path, tmp_path / "out.mp4").ledger.restored == 60
    assert 30 <= len(given) < 45


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's way of filling fresh memory")
def test_the_same_bits_whatever_lies_in_memory(tmp_path: Path) -> None:
    """x264 with AVX-512 reads behind the rows of a picture of this width, see `video.encoding`."""
    made = media.write_clip(tmp_path / "in.mp4", frames=48, size=(320, 96))
    for fill in ("1", "200"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(made.path), str(tmp_path / f"{fill}.mp4"), ""],
            env=os.environ | {"MALLOC_PERTURB_": fill},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    same(tmp_path / "1.mp4", tmp_path / "200.mp4")
