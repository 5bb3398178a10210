"""Live pictures from end to end: the newest wins, none is lost uncounted, wishes are heard."""

from __future__ import annotations

import errno
import signal
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine.standins import ConstantDifference, NotFinite
from jobs.live.playing import SMALL, Eyes, Slow, loads, picture, pictures, play, started
from video import media

from vdeblur.cli.main import main
from vdeblur.jobs.live.capture import Slot
from vdeblur.jobs.live.view import Controls, View


def test_the_newest_picture_wins_and_the_others_are_counted() -> None:
    slot = Slot()
    for number in range(5):
        slot.put(picture(number))
    taken = slot.take(0)
    assert taken is not None
    assert taken.frame.index == 4
    assert slot.counts == (5, 4)
    assert slot.take(0) is None


@pytest.mark.slow
def test_a_slow_network_shows_fresh_pictures_and_every_picture_is_accounted_for(clip: Path) -> None:
    network, eyes = Slow(0.15), Eyes()
    result = play(clip, eyes, network=network, loop=True, duration_s=4)
    in_flight = result.captured - result.shown - result.dropped
    assert 0 <= in_flight <= 2
    assert result.dropped > result.shown > 5
    # Were they queueing, each would be one interval of the source after the one before, and ever older.
    assert np.median(np.diff(eyes.times)) > 0.12
    assert result.age_p95_s < 4 * np.quantile(network.took_s, 0.95)
    assert eyes.closed_count == 1


def test_what_the_guard_refuses_is_counted_and_said(clip: Path) -> None:
    eyes = Eyes(enough=5)
    result = play(clip, eyes, network=NotFinite(), loop=True)
    assert result.refused == result.shown > 3
    assert f"{result.refused} passed (refused by the guard)" in result.line()
    assert eyes.views[-1].status.refused == eyes.views[-1].status.shown + 1
    assert play(clip, Eyes(enough=5), loop=True).refused == 0


@pytest.mark.parametrize(
    "asked", [{"interlaced": True}, {"sar": Fraction(3, 2)}, {"rotation": 90}, {}], ids=str
)
def test_planes_that_are_equal_look_equal(asked: dict[str, Any], tmp_path: Path) -> None:
    """What else a decoder says of its picture must not show on one side only."""
    path = media.write_clip(tmp_path / "clip.mp4", **asked, **SMALL).path
    eyes = Eyes(enough=3)
    play(path, eyes, loop=True)
    for view in eyes.views:
        np.testing.assert_array_equal(view.before, view.after)


def test_viewers_get_before_and_after_and_end_the_run(clip: Path) -> None:
    eyes = Eyes(enough=5)
    play(clip, eyes, network=ConstantDifference(0.05, 0.05, 0.05), loop=True)
    view = eyes.views[-1]
    assert view.before.shape == view.after.shape == (64, 96, 3)
    brighter = view.after.astype(int).mean() - view.before.astype(int).mean()
    assert 8 < brighter < 13  # 0.05 of 255, less where white clips
    assert view.status.shown >= 4
    assert view.status.step.endswith("full size")


def test_strength_acts_on_the_next_picture_and_on_a_frozen_one(clip: Path) -> None:
    controls = Controls()

    def act(view: View, count: int) -> None:
        if count == 3:
            controls.wish("freeze")
        if count == 5:
            controls.set_strength(0.0)

    eyes = Eyes(act, enough=8)
    play(clip, eyes, network=ConstantDifference(0.05, 0.05, 0.05), loop=True, controls=controls)
    frozen = eyes.views[3:]
    assert len({view.captured_at_s for view in frozen}) == 1
    assert all(view.status.frozen for view in frozen)
    np.testing.assert_array_equal(frozen[-1].after, frozen[-1].before)
    assert (frozen[0].after != frozen[0].before).any()


def test_a_snapshot_is_two_pictures(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda form: "now")
    controls = Controls()
    controls.wish("snapshot")
    eyes = Eyes(lambda view, count: controls.wish("snapshot") if count == 2 else None, enough=4)
    play(clip, eyes, loop=True, controls=controls)
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    wanted = [
        "now-2-after",
        "now-2-before",
        "now-after",
        "now-before",
    ]  # none replaces another
    assert names == [f"vdeblur-{name}.png" for name in wanted]
    assert any("snapshot" in (view.status.message or "") for view in eyes.views)


def test_a_snapshot_that_finds_no_room_leaves_nothing_and_says_so(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, pixels: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vdeblur.jobs.live.live.write_png", full)
    controls, eyes = Controls(), Eyes(enough=3)
    controls.wish("snapshot")
    play(clip, eyes, loop=True, controls=controls)
    assert list(tmp_path.iterdir()) == []
    assert any("No space left" in (view.status.message or "") for view in eyes.views)


@pytest.mark.slow
def test_the_command_ends_cleanly_on_a_signal(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    process = started(clip, "--record", str(target))
    deadline = time.monotonic() + 120
    unfinished: set[Path] = set()  # one that lasts: another is there for a moment, to try the folder
    while time.monotonic() < deadline and not unfinished & (now := set(tmp_path.glob(".out*"))):
        unfinished = now
        time.sleep(0.5)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "vdeblur: stopped; " in errors
    assert "captured" in errors
    assert len(list(pictures(target))) > 3


def test_without_a_window_the_figures_are_printed(
    clip: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vdeblur.cli.figures.LINE_S", 0.0)
    monkeypatch.setattr(
        "vdeblur.jobs.live.options.LiveOptions.load", lambda self, name: loads(Slow(0.01))(name)
    )
    assert main(["live", str(clip), "--headless", "--strength", "0.5"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert any("age" in line and "dropped" in line and "strength 50%" in line for line in lines)
    assert "captured" in lines[-1]
    assert "(p95)" in lines[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothere.mp4"], "no such file, camera or address"),
        (["77"], "there is no /dev/video77" if sys.platform == "linux" else "gives no pictures"),
        (["srt://127.0.0.1:9"], "cannot receive srt://"),
        (["rtsp://127.0.0.1:1/x"], "connection refused"),
        (["screen"], "DISPLAY is not set"),
        (["0", "--loop"], "--loop: only for files"),
        (["udp://127.0.0.1:9", "--size", "640x360"], "--size: only for cameras"),
        (["CLIP", "--output", "srt://1.2.3.4:5"], "cannot send"),
        (["CLIP", "--output", "somewhere"], "give rtmp://"),
        (["CLIP", "--record", "out.txt"], "name it .mp4"),
        (["CLIP", "--record", "out.mp4", "--codec", "nonsense"], "nonsense"),
        (["CLIP", "--record", "out.mp4", "--crf", "9999"], "9999"),
        (["CLIP", "--codec", "nonsense"], "nonsense"),
        (["CLIP", "--target-fps", "-3"], "must be more than 0"),
        (["CLIP", "--max-latency", "soon"], "give 100ms"),
        (["CLIP", "--max-latency", "nan"], "must be more than 0"),
        (["CLIP", "--target-fps", "nan"], "must be more than 0"),
        (["CLIP", "--tile", "abc"], "--tile abc: not known"),
        (["²"], "no such file, camera or address"),
        (["CLIP", "--strength", "2"], "must lie between 0"),
    ],
)
def test_what_cannot_work_is_one_line(
    words: list[str],
    said: str,
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.chdir(tmp_path)  # the README's first command leaves an out.mp4 where the tests are run
    code = main(["live", *[str(clip) if word == "CLIP" else word for word in words], "--headless"])
    lines = capsys.readouterr().err.strip().splitlines()
    assert code in (1, 2)
    assert len(lines) == 1
    assert said in lines[0]
