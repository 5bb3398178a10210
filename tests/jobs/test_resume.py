"""A run that was stopped goes on where it stood, and ends in the file of one that was not."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobs.resuming import PROGRAM, StopError, as_if_never_stopped, interrupted_at, process, run, same, stopped
from video import media
from video.through import leftovers, times

from vdeblur.cli.main import main
from vdeblur.jobs import deblur
from vdeblur.jobs.journal import folder_of
from vdeblur.video.decoding import Decoding
from vdeblur.video.segments import Rule

NEEDS_FFMPEG = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg program here")
EXAMPLES = int(os.environ.get("VDEBLUR_RESUME_EXAMPLES", "6"))


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
        ("late_start", {"codec": "vp9", "preset": "8"}),
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
    assert not first.receipt.faults
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


def test_what_is_done_counts_from_the_first_frame(tmp_path: Path) -> None:
    times = [3600 * 25 + number for number in range(40)]  # a recording whose clock begins at one o'clock
    made = media.write_clip(tmp_path / "in.mkv", frames=40, pts=times)
    with pytest.raises(StopError) as caught:
        run(made.path, tmp_path / "out.mkv", stop_at=33)
    assert re.search(r"^\d+ frames \(0:00:01\) are done", caught.value.__notes__[0])


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
    as_if_never_stopped(unfinished)
    run(folder / "in.mp4", folder / "whole.mkv", codec="ffv1", preset=None, start=Fraction(1, 5))
    same(second, folder / "whole.mkv")
    assert main(["resume", str(folder)]) == 0
    assert "no unfinished run below it" in capsys.readouterr().err
    assert main(["resume", str(folder / "nowhere")]) == 2


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


def test_stopped_while_the_engine_opens_it_says_what_is_kept(
    unfinished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(*words: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(deblur, "_open_engine", stops)
    with pytest.raises(KeyboardInterrupt) as stop:
        run(unfinished.with_name("in.mp4"), unfinished)
    assert "20 frames (0:00:01) are done and kept" in stop.value.__notes__[0]


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
