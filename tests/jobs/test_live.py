"""Live pictures from end to end: the newest wins, none is lost uncounted, sources come back."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import av
import cv2
import numpy as np
import pytest
import torch
from engine.standins import ConstantDifference, NotFinite, ZeroDifference
from video import media

from vdeblur import colour
from vdeblur.cli.main import main
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.errors import InputError, VdeblurError
from vdeblur.frame import Fate, Frame
from vdeblur.jobs.live.capture import Capture, Slot
from vdeblur.jobs.live.clocks import ArrivalClock
from vdeblur.jobs.live.ladder import SCALES, Goal, Rung
from vdeblur.jobs.live.live import LiveResult, run
from vdeblur.jobs.live.options import LiveOptions
from vdeblur.jobs.live.picture import Captured, Framer, Look, Screen, blended
from vdeblur.jobs.live.record import RecordAsk, Recordings
from vdeblur.jobs.live.rungs import Load, Rungs
from vdeblur.jobs.live.serve import _MUXERS, Encoded
from vdeblur.jobs.live.sources import SourceAsk, open_source
from vdeblur.jobs.live.view import Controls, Status, View
from vdeblur.video import formats
from vdeblur.video.sink import Sink
from vdeblur.video.writer import Writer
from vdeblur.weights.store import find

SMALL = {"size": (96, 64), "rate": 30}


def loads(network: Any) -> Load:
    return lambda name: Deblurrer(
        network, tile="off", device="cpu", precision="fp32", backend="torch", latency=True
    )


class Slow(ZeroDifference):
    """Says nothing, and takes its time; `took_s` holds how long really."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.took_s = seconds, []

    def correction(self, rgb: torch.Tensor) -> torch.Tensor:
        begin = time.monotonic()
        time.sleep(self.seconds)
        self.took_s.append(time.monotonic() - begin)
        return super().correction(rgb)


class Eyes:
    """A viewer that keeps what it saw, and may act on every view."""

    def __init__(
        self, act: Callable[[View, int], None] = lambda view, count: None, enough: int = 1 << 30
    ) -> None:
        self.views: list[View] = []
        self.act, self.enough, self.closed_count = act, enough, 0

    def show(self, view: View) -> None:
        self.views.append(view)
        self.act(view, len(self.views))

    def closed(self) -> bool:
        return len(self.views) >= self.enough

    def close(self) -> None:
        self.closed_count += 1

    @property
    def times(self) -> list[float]:
        """Capture times of the different pictures seen."""
        return list(dict.fromkeys(view.captured_at_s for view in self.views))


def play(
    path: Path, *viewers: Eyes, network: Any = None, controls: Controls | None = None, **asked: Any
) -> LiveResult:
    source = SourceAsk(str(path), loop=asked.pop("loop", False))
    options = LiveOptions(source, **asked)
    return run(options, viewers, controls, load=loads(network or ZeroDifference()))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.write_clip(tmp_path_factory.mktemp("live") / "clip.mp4", frames=60, **SMALL).path


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


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuvj422p", "nv12", "yuv422p10le", "p010le", "bgr24", "gbrp", "gray"]
)
@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_no_correction_leaves_the_picture_bit_identical_on_every_rung(pix_fmt: str, scale: Fraction) -> None:
    frame = frame_of(pix_fmt, (97, 66) if pix_fmt in ("bgr24", "gray") else (98, 66))
    rungs = Rungs([Rung("any", scale)], loads(ZeroDifference()))
    after = rungs.correct(0, frame)
    for before, now in zip(frame.planes, after.planes, strict=True):
        np.testing.assert_array_equal(before, now)
    for strength in (0.0, 0.3, 1.0):
        for before, now in zip(frame.planes, blended(frame, after, strength).planes, strict=True):
            np.testing.assert_array_equal(before, now)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "yuv422p10le", "p010le", "bgr24"])
@pytest.mark.parametrize("scale", SCALES[1:], ids=str)
def test_an_even_correction_is_the_same_on_every_rung(pix_fmt: str, scale: Fraction) -> None:
    frame = frame_of(pix_fmt, (96, 64))
    network = ConstantDifference(0.05, -0.02, 0.01)
    rungs = Rungs([Rung("any", Fraction(1)), Rung("any", scale)], loads(network))
    for whole, reduced in zip(rungs.correct(0, frame).planes, rungs.correct(1, frame).planes, strict=True):
        step = 64 if pix_fmt == "p010le" else 1
        assert np.abs(whole.astype(int) - reduced.astype(int)).max() <= step


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_what_the_guard_refuses_passes_as_it_is_on_every_rung(scale: Fraction) -> None:
    frame = frame_of("yuv420p", (96, 64))
    after = Rungs([Rung("any", scale)], loads(NotFinite())).correct(0, frame)
    assert after.fate == Fate.REFUSED
    for before, now in zip(frame.planes, after.planes, strict=True):
        np.testing.assert_array_equal(before, now)


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


def test_a_single_picture_is_shown_and_recorded(clip: Path, tmp_path: Path) -> None:
    one = media.write_clip(tmp_path / "one.mp4", frames=1, **SMALL).path
    target, eyes = tmp_path / "out.mp4", Eyes()
    result = play(one, eyes, record=RecordAsk(target))
    assert (result.captured, result.shown, result.dropped, len(eyes.views)) == (1, 1, 0, 1)
    assert [picture.duration for picture in pictures(target)] == [3000]
    assert play(one, Eyes(enough=5), loop=True).shown == 5


def test_rungs_that_cannot_be_opened_are_left_out_one_after_the_other(clip: Path) -> None:
    good, left, controls = loads(Slow(0.08)), list[str](), Controls()

    class WholePicturesOnly:
        def __init__(self, name: str) -> None:
            self.engine = good(name)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.engine, name)

        def deblur_rgb_or_none(self, picture: Any) -> Any:
            raise MemoryError("nothing left")

    def tell(text: str) -> None:
        left.extend([text] * ("left out" in text))
        if len(left) == 3:
            controls.stop()

    source = SourceAsk(str(clip), loop=True)
    options = LiveOptions(source, model="mimo-unet-tiny", goal=Goal(fps=20), duration_s=60)
    result = run(options, [], controls, load=WholePicturesOnly, tell=tell)
    assert result.step == "mimo-unet-tiny at full size"
    why = "is left out: it cannot be opened (nothing left)"
    assert sorted(left) == [f"mimo-unet-tiny at {scale} {why}" for scale in ("1/2", "1/3", "3/4")]


def test_a_network_that_cannot_be_loaded_is_left_out_and_said(clip: Path) -> None:
    good, said, eyes = loads(ZeroDifference()), list[str](), Eyes(enough=3)

    def load(name: str) -> Any:
        if name != "mimo-unet-tiny":
            raise MemoryError("nothing left")
        return good(name)

    options = LiveOptions(SourceAsk(str(clip), loop=True), device="cpu", goal=Goal(fps=20))
    run(options, [eyes], load=load, tell=said.append)
    assert "note: mimo-unet-small is left out: it cannot be opened (nothing left)" in said
    assert eyes.views[-1].status.step == "mimo-unet-tiny at 1/2"


def test_strength_acts_on_the_next_picture_and_on_a_frozen_one(clip: Path) -> None:
    controls = Controls()

    def act(view: View, count: int) -> None:
        if count == 3:
            controls.toggle_freeze()
        if count == 5:
            controls.set_strength(0.0)

    eyes = Eyes(act, enough=8)
    play(clip, eyes, network=ConstantDifference(0.05, 0.05, 0.05), loop=True, controls=controls)
    frozen = eyes.views[3:]
    assert len({view.captured_at_s for view in frozen}) == 1
    assert all(view.status.frozen for view in frozen)
    np.testing.assert_array_equal(frozen[-1].after, frozen[-1].before)
    assert (frozen[0].after != frozen[0].before).any()


def test_a_recording_follows_the_clock_of_capture(clip: Path, tmp_path: Path) -> None:
    eyes, target = Eyes(enough=25), tmp_path / "out.mp4"
    result = play(clip, eyes, network=Slow(0.04), loop=True, record=RecordAsk(target))
    assert result.recordings == (target,)
    with av.open(str(target)) as file:
        video = file.streams.video[0]
        found = [float(frame.pts * video.time_base) for frame in file.decode(video)]
    expected = [t - eyes.times[0] for t in eyes.times]
    assert np.abs(np.subtract(found, expected[: len(found)])).max() < 2 / 90000
    assert len(found) >= len(expected) - 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_recordings_that_are_switched_on_and_off_get_names_of_their_own(clip: Path, tmp_path: Path) -> None:
    controls = Controls(recording=True)

    def act(view: View, count: int) -> None:
        if count in (5, 10):
            controls.toggle_record()

    target = tmp_path / "out.mkv"
    result = play(clip, Eyes(act, enough=15), loop=True, controls=controls, record=RecordAsk(target))
    assert [path.name for path in result.recordings] == ["out.mkv", "out-2.mkv"]
    for path in result.recordings:
        assert len(list(pictures(path))) > 2


def test_nobody_waits_while_a_recording_is_finished(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An MP4 is written once more for its index, which may take long. Nor is its name given away."""
    controls, seen, finish = Controls(recording=True), threading.Event(), Writer.finish
    waited: list[bool] = []

    def late(self: Writer) -> Path:
        waited.append(seen.wait(10))
        return finish(self)

    def act(view: View, count: int) -> None:
        if count in (5, 10, 15):
            controls.toggle_record()
        if count == 20:
            seen.set()

    monkeypatch.setattr(Writer, "finish", late)
    monkeypatch.setattr(time, "strftime", lambda form: "now")
    monkeypatch.chdir(tmp_path)
    result = play(clip, Eyes(act, enough=20), loop=True, controls=controls)
    assert waited == [True, True]
    assert len(set(result.recordings)) == 2
    for path in result.recordings:
        assert len(list(pictures(path))) > 2


def test_a_picture_that_changes_its_size_goes_on_in_another_recording_and_is_not_stretched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "both.ts"
    parts = [
        media.write_clip(tmp_path / f"{n}.ts", size=size, frames=20, rate=30).path.read_bytes()
        for n, size in enumerate(((96, 64), (128, 96)))
    ]
    whole.write_bytes(b"".join(parts))
    eyes, target, served = Eyes(), tmp_path / "out.mp4", tmp_path / "served.ts"
    monkeypatch.setitem(_MUXERS, "file", "mpegts")
    asked = {"record": RecordAsk(target), "output": f"file://{served}"}
    result = play(whole, eyes, goal=Goal(fps=20), model="mimo-unet-tiny", **asked)
    assert {view.after.shape for view in eyes.views} == {(64, 96, 3), (96, 128, 3)}
    sizes = [{(p.width, p.height) for p in pictures(path)} for path in result.recordings]
    assert sizes == [{(96, 64)}, {(128, 96)}]
    assert {(p.width, p.height) for p in pictures(served)} == {(128, 96)}  # written over the first


def test_a_recording_that_fails_is_given_up_and_the_picture_goes_on(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while an earlier one is still being finished; no other is begun in its place."""
    begun, ended = [], threading.Event()
    init, write, finish = Writer.__init__, Writer.write, Writer.finish

    def begin(self: Writer, sink: Sink, *rest: Any) -> None:
        begun.append(sink.target.name)
        init(self, sink, *rest)

    def fails(self: Writer, frame: Frame) -> None:
        if len(begun) > 1:
            raise VdeblurError("out.mp4: disk full; free some space or write elsewhere")
        write(self, frame)

    def late(self: Writer) -> Path:
        ended.wait(10)
        return finish(self)

    def act(view: View, count: int) -> None:
        if count in (5, 7):
            controls.toggle_record()
        if count == 15:
            ended.set()

    monkeypatch.setattr(Writer, "__init__", begin)
    monkeypatch.setattr(Writer, "write", fails)
    monkeypatch.setattr(Writer, "finish", late)
    eyes, controls = Eyes(act, enough=20), Controls(recording=True)
    with pytest.raises(VdeblurError, match="disk full"):
        play(clip, eyes, loop=True, controls=controls, record=RecordAsk(tmp_path / "out.mp4"))
    assert len(eyes.views) == 20
    assert begun == ["out.mp4", "out-2.mp4"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="a limit stands for the full disk")
def test_a_full_disk_costs_the_last_second_and_recording_can_begin_anew(tmp_path: Path) -> None:
    import resource

    said, controls, noise = list[str](), Controls(recording=True), np.random.default_rng(1)
    recordings = Recordings(RecordAsk(tmp_path / "out.mp4"), controls, said.append)
    layout = formats.layout_of("gray", 96, 64)

    def play(number: int) -> None:
        pixels = noise.integers(0, 256, (64, 96)).astype(np.uint8)
        recordings.put(Frame((pixels,), layout, number * 3000, Fraction(1, 90000), 0, number), Look(), 30.0)
        time.sleep(0.002)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        numbers = iter(range(5000))
        while controls.recording:
            play(next(numbers))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    kept = tmp_path / "out.unfinished.mp4"
    assert said[-1].startswith("recording stops: ")
    assert said[-1].endswith(f"what was recorded so far: {kept}")
    assert recordings.target is None
    found = []
    with suppress(av.error.InvalidDataError):  # the last picture may be cut in two
        for frame in pictures(kept):
            found.append(frame.pts)
    assert len(found) > 60
    controls.toggle_record()
    for _ in range(5):
        play(next(numbers))
    assert recordings.target == tmp_path / "out-2.mp4"
    recordings.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-2.mp4", kept.name]
    assert len(list(pictures(tmp_path / "out-2.mp4"))) == 5
    assert "File too large" in str(recordings.failure)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "tag"),
    [
        ("mjpeg", "yuvj422p", 2),  # as most webcams give
        ("mjpeg", "yuvj444p", 2),
        ("ffv1", "yuv422p", 2),
        ("ffv1", "yuv444p", 1),
        ("ffv1", "gray", 2),
        ("ffv1", "gray", 0),  # not stated: limited, as H.264 says
        ("ffv1", "gray10le", 1),
        ("ffv1", "bgr0", 2),
    ],
)
def test_what_is_recorded_and_served_has_the_brightness_of_the_screen(
    codec: str, pix_fmt: str, tag: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = (tag, 5, 5, 6) if pix_fmt.startswith("yuv") else (tag, 2, 2, 2)
    path = media.write_clip(tmp_path / "clip.mkv", codec=codec, pix_fmt=pix_fmt, colour=tags, frames=5).path
    eyes, target, served = Eyes(), tmp_path / "out.mkv", tmp_path / "served.ts"
    play(path, eyes, record=RecordAsk(target, crf=1))
    monkeypatch.setitem(_MUXERS, "file", "mpegts")
    captured = open_source(SourceAsk(str(path))).read()
    assert captured is not None
    outlet = Encoded(f"file://{served}", captured, 30)
    outlet.send(captured)
    outlet.close()
    weights = colour.MATRICES["bt709" if pix_fmt == "bgr0" else "smpte170m"][0]
    recorded = target, eyes.views[0].before, 1
    for file, screen, coarse in (recorded, (served, Screen().rgb(captured.frame), 2)):
        frame, shown = Framer().decoded(next(pictures(file)), 0.0).frame, screen @ weights
        found = Screen().rgb(frame) @ weights  # chroma is halved on the way
        assert found.mean() == pytest.approx(shown.mean(), abs=1.5 * coarse)
        assert found.std() == pytest.approx(shown.std(), rel=0.02 * coarse)


@pytest.mark.parametrize(("tag", "black"), [(0, 16), (1, 16), (2, 0)])
def test_grey_is_shown_in_its_range(tag: int, black: int) -> None:
    layout = formats.layout_of("gray", 8, 8, range_tag=tag)
    frame = Frame((np.full((8, 8), black, np.uint8),), layout, 0, Fraction(1, 25), 0, 0)
    assert Screen().rgb(frame)[0, 0].tolist() == [0, 0, 0]


def test_a_grey_camera_has_all_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a driver gives as grey is not said to be of any range; a file's would be limited."""
    path = media.write_clip(tmp_path / "grey.nut", codec="rawvideo", pix_fmt="gray", colour=(0, 2, 2, 2)).path
    monkeypatch.setattr("vdeblur.jobs.live.sources._device", lambda ask: (str(path), None, {}))
    ranges = []
    for ask in (SourceAsk("/dev/video9", capture="pyav"), SourceAsk(str(path))):
        source = open_source(ask)
        captured = source.read()
        source.close()
        assert captured is not None
        ranges.append(captured.frame.layout.range)
    assert ranges == ["full", "limited"]


@pytest.mark.parametrize("pix_fmt", ["bgr0", "yuv420p", "yuv420p10le"])
def test_pictures_of_an_odd_size_are_recorded(pix_fmt: str, tmp_path: Path) -> None:
    path = media.write_clip(tmp_path / "odd.mkv", codec="ffv1", pix_fmt=pix_fmt, size=(97, 65)).path
    play(path, record=RecordAsk(tmp_path / "out.mp4"))
    assert {(p.width, p.height) for p in pictures(tmp_path / "out.mp4")} == {(97, 65)}


@pytest.mark.parametrize("rotation", [0, 90])
def test_a_picture_looks_as_in_a_player_on_screen_recorded_and_served(
    rotation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixels that are not square, HDR, rotation: as the source says."""
    path = media.write_clip(
        tmp_path / "wide.mp4",
        pix_fmt="yuv420p10le",
        codec="libx265",
        sar=Fraction(3, 2),
        rotation=rotation,
        colour=(1, 9, 9, 16),
        **SMALL,
    ).path
    target, served = tmp_path / "out.mp4", tmp_path / "served.ts"
    eyes = Eyes(enough=4)
    captured = open_source(SourceAsk(str(path))).read()
    assert captured is not None
    monkeypatch.setitem(_MUXERS, "file", "mpegts")
    outlet = Encoded(f"file://{served}", captured, 30)
    outlet.send(captured)
    outlet.close()
    play(path, eyes, loop=True, record=RecordAsk(target))
    assert eyes.views[0].before.shape == ((144, 64, 3) if rotation else (64, 144, 3))
    for file, turned in ((target, rotation), (served, 0)):
        with av.open(str(file)) as found:
            video = found.streams.video[0]
            first = next(found.decode(video))
            size = (64, 96) if rotation and not turned else (96, 64)
            assert (video.width, video.height, first.rotation) == (*size, turned)
            assert video.sample_aspect_ratio == (Fraction(3, 2) if size == (96, 64) else Fraction(2, 3))
            assert (int(first.color_primaries), int(first.color_trc)) == (9, 16)


def test_a_snapshot_is_two_pictures(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda form: "now")
    controls = Controls()
    controls.request_snapshot()
    eyes = Eyes(lambda view, count: controls.request_snapshot() if count == 2 else None, enough=4)
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
    controls.request_snapshot()
    play(clip, eyes, loop=True, controls=controls)
    assert list(tmp_path.iterdir()) == []
    assert any("No space left" in (view.status.message or "") for view in eyes.views)


def test_ctrl_c_leaves_a_recording_that_plays(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"

    def act(view: View, count: int) -> None:
        if count == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(clip, Eyes(act), loop=True, record=RecordAsk(target))
    assert len(list(pictures(target))) >= 9


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


class Broken:
    """A source that gives some pictures and is lost; opening fails some times, then it is back."""

    rate, waits = Fraction(100), False

    def __init__(self, fails: int) -> None:
        self.fails, self.opened, self.left = fails, 0, 0

    def __call__(self, ask: SourceAsk) -> Broken:
        if self.opened and self.fails:
            self.fails -= 1
            raise VdeblurError("camera 0: there is no /dev/video0; is it plugged in?")
        self.opened += 1
        self.left = 5
        return self

    def read(self) -> Captured:
        time.sleep(0.01)
        if not self.left:
            raise VdeblurError("camera 0: gives no pictures any more")
        self.left -= 1
        return picture(self.left)

    def close(self) -> None: ...


def test_a_camera_that_is_unplugged_is_found_again_and_the_screen_says_so() -> None:
    source = Broken(fails=2)
    capture = Capture(SourceAsk("0"), source)
    capture.wait_for_first()
    said: list[str] = []
    deadline = time.monotonic() + 30
    while source.opened < 2 and time.monotonic() < deadline:
        said.append(capture.message(time.monotonic()) or "")
        time.sleep(0.02)
    capture.close()
    assert source.opened >= 2
    assert any("gives no pictures any more; trying again in 0." in text for text in said)
    assert any("no /dev/video0" in text for text in said)


def test_who_closes_the_window_need_not_wait_for_a_source_that_does_not_answer() -> None:
    answered, closed = threading.Event(), iter([False, True])

    def opener(ask: SourceAsk) -> Any:
        answered.wait(30)
        raise VdeblurError("no picture within 8 s")

    capture = Capture(SourceAsk("rtsp://cam/1"), opener)
    capture.wait_for_first(unless=lambda: next(closed))
    assert not answered.is_set()
    answered.set()
    capture.close()


def test_a_camera_that_was_never_there_ends_the_run() -> None:
    def opener(ask: SourceAsk) -> Any:
        raise VdeblurError("camera 0: there is no /dev/video0")

    capture = Capture(SourceAsk("0"), opener)
    with pytest.raises(VdeblurError, match="no /dev/video0"):
        capture.wait_for_first()
    capture.close()


class FakeOpenCv:
    """A camera of OpenCV's: 30 pictures a second, then unplugged."""

    opens, stamped_ms, left = True, 0.0, 3
    asked: ClassVar[list[tuple[int, float]]] = []

    def __init__(self, number: object, how: int) -> None: ...

    def isOpened(self) -> bool:  # noqa: N802
        return self.opens

    def set(self, what: int, value: float) -> bool:
        self.asked.append((what, value))
        return True

    def get(self, what: int) -> float:
        return 30.0 if what == cv2.CAP_PROP_FPS else self.stamped_ms

    def read(self) -> tuple[bool, Any]:
        FakeOpenCv.left -= 1
        return FakeOpenCv.left >= 0, np.full((48, 64, 3), (255, 0, 0), np.uint8)

    def release(self) -> None: ...


def test_a_camera_gives_blue_where_blue_is_and_counts_the_wait_in_its_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cv2.VideoCapture", FakeOpenCv)
    monkeypatch.setattr("vdeblur.jobs.live.sources._refuse_device", lambda path, name: None)
    monkeypatch.setattr(FakeOpenCv, "left", 3)
    camera = open_source(SourceAsk("0"))
    monkeypatch.setattr(FakeOpenCv, "stamped_ms", (time.monotonic() - 0.25) * 1000)
    captured = camera.read()
    assert captured is not None
    assert 0.2 < time.monotonic() - captured.at_s < 5
    assert Screen().rgb(captured.frame)[0, 0].tolist() == [0, 0, 255]
    monkeypatch.setattr(FakeOpenCv, "stamped_ms", 12.0)  # some other clock
    asked_s = time.monotonic()
    captured = camera.read()
    assert captured is not None
    assert captured.at_s >= asked_s
    camera.read()
    with pytest.raises(VdeblurError, match="gives no pictures any more"):
        camera.read()
    monkeypatch.setattr(FakeOpenCv, "opens", False)
    with pytest.raises(VdeblurError, match="is another program using it"):
        open_source(SourceAsk("0"))


def test_a_camera_is_asked_for_large_pictures_as_jpeg_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.VideoCapture", FakeOpenCv)
    monkeypatch.setattr("vdeblur.jobs.live.sources._refuse_device", lambda path, name: None)
    monkeypatch.setattr(FakeOpenCv, "asked", [])
    open_source(SourceAsk("0", size=(720, 1280))).close()
    known = (cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    expected = zip(known, (int.from_bytes(b"MJPG", "little"), 1280, 720), strict=True)
    assert [entry for entry in FakeOpenCv.asked if entry[0] in known] == list(expected)


def test_a_virtual_camera_gets_the_picture(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    class Camera:
        def __init__(self, width: int, height: int, fps: float, *, device: str) -> None:
            sent.append((width, height, device))

        def send(self, pixels: Any) -> None:
            sent.append(pixels)

        def close(self) -> None: ...

    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=Camera))
    play(clip, Eyes(enough=10), network=Slow(0.03), loop=True, output="v4l2:/dev/video9")
    assert sent[0] == (96, 64, "/dev/video9")
    assert sent[1].shape == (64, 96, 3)


def test_a_virtual_camera_that_fails_is_said_and_opened_again(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []

    class Camera:
        def __init__(self, width: int, height: int, fps: float, *, device: str) -> None: ...

        def send(self, pixels: Any) -> None:
            sent.append(pixels)
            if len(sent) == 2:
                raise ValueError("unexpected frame")

        def close(self) -> None: ...

    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=Camera))
    eyes = Eyes(lambda view, count: None if len(sent) > 3 else time.sleep(0.02), enough=60)
    play(clip, eyes, loop=True, output="v4l2:/dev/video9")
    assert len(sent) > 3
    said = {view.status.message for view in eyes.views}
    assert "--output v4l2:/dev/video9: lost (unexpected frame), trying again in 0.2 s" in said


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb")
def test_the_screen_is_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    display = f":{100 + os.getpid() % 800}"
    server = subprocess.Popen(["Xvfb", display, "-screen", "0", "320x240x24"], stderr=subprocess.DEVNULL)
    monkeypatch.setenv("DISPLAY", display)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                source = open_source(SourceAsk("screen", rate=Fraction(10)))
                break
            except VdeblurError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        captured = source.read()
        source.close()
    finally:
        server.kill()
        server.wait()
    assert captured is not None
    assert (captured.frame.layout.width, captured.frame.layout.height) == (320, 240)


def test_a_jam_on_the_way_counts_as_age() -> None:
    clock = ArrivalClock()
    assert clock.captured_at(100.0, 5.0) == 5.0
    assert clock.captured_at(100.1, 5.1) == pytest.approx(5.1, abs=0.001)
    assert clock.captured_at(100.2, 7.0) == pytest.approx(5.2, abs=0.001)  # came 1.8 s late
    assert clock.captured_at(100.3, 7.0) == pytest.approx(5.3, abs=0.001)
    assert clock.captured_at(102.0, 7.0) == pytest.approx(7.0, abs=0.001)
    assert clock.captured_at(0.0, 8.0) == 8.0  # the sender has begun anew
    assert clock.captured_at(5.0, 13.0) == pytest.approx(13.0, abs=0.001)
    assert clock.captured_at(0.0, 13.1) == 13.1  # and again, long before JUMP_S: a short clip in a loop
    assert clock.captured_at(None, 9.0) == 9.0


SENDER = """
import sys, time
from fractions import Fraction
import av, numpy as np
with av.open(sys.argv[1], "w", format="mpegts") as out:
    stream = out.add_stream("libx264", rate=30)
    stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
    stream.codec_context.time_base = stream.time_base = Fraction(1, 90000)
    stream.codec_context.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "10"}
    begin = time.monotonic()
    while (now := time.monotonic() - begin) < 60:
        if not 2.0 < now < 4.0:
            grey = np.full((64, 96, 3), int(now * 30) % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = round(now * 90000), Fraction(1, 90000)
            for packet in stream.encode(frame):
                out.mux(packet)
        time.sleep(1 / 30)
"""


@pytest.mark.slow
def test_a_stream_that_stalls_goes_on_where_it_is() -> None:
    port = 20000 + os.getpid() % 20000
    sender = subprocess.Popen([sys.executable, "-c", SENDER, f"udp://127.0.0.1:{port}?pkt_size=1316"])
    seen: list[tuple[float, Status]] = []
    load = loads(ZeroDifference())
    load("any").deblur_rgb(np.zeros((8, 8, 3), np.float32))
    try:
        options = LiveOptions(SourceAsk(f"udp://127.0.0.1:{port}"), duration_s=5.5)
        run(options, watch=lambda status: seen.append((time.monotonic(), status)), load=load)
    finally:
        sender.kill()
        sender.wait()
    quiet = [number for number, (_, status) in enumerate(seen) if "no new picture" in (status.message or "")]
    assert quiet, "the silence was not noticed"
    assert seen[-1][1].shown > seen[quiet[-1]][1].shown + 5
    assert "no new picture" not in (seen[-1][1].message or "")


@pytest.mark.parametrize("is_live", [True, False])
def test_a_playlist_that_is_not_closed_is_a_stream_that_can_be_lost(is_live: bool, tmp_path: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None: ...

    options = {"hls_flags": "omit_endlist"} if is_live else {}
    with av.open(str(tmp_path / "live.m3u8"), "w", format="hls", options=options) as file:
        stream = file.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(15):
            file.mux(stream.encode(av.VideoFrame(96, 64, "yuv420p")))
        file.mux(stream.encode(None))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    source = open_source(SourceAsk(f"http://127.0.0.1:{server.server_port}/live.m3u8"))
    assert source.read() is not None
    server.shutdown()
    server.server_close()
    with pytest.raises(VdeblurError, match="the sender has ended it") if is_live else nullcontext():
        while source.read() is not None:
            pass
    source.close()


@pytest.mark.slow
def test_the_picture_is_served_on(clip: Path) -> None:
    port = 20000 + (os.getpid() + 7) % 20000
    process = started(clip, "--output", f"udp://127.0.0.1:{port}")
    times: list[float] = []
    try:
        with av.open(f"udp://127.0.0.1:{port}", timeout=90) as received:
            for frame in received.decode(video=0):
                times.append(frame.time)
                if len(times) > 20:
                    break
    finally:
        process.send_signal(signal.SIGINT)
        print(process.communicate(timeout=60)[1])
    assert (frame.width, frame.height) == (96, 64)
    assert times == sorted(times)
    assert 0.2 < times[-1] - times[0] < 30


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


def test_a_pipe_gets_the_stream_and_nothing_else(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.ts"
    words = [sys.executable, "-m", "vdeblur", "live", str(clip), "--model", "mimo-unet-tiny", "--output", "-"]
    with target.open("wb") as out:
        done = subprocess.run(
            words, stdout=out, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2], timeout=120
        )
    assert done.returncode == 0, done.stderr
    assert target.read_bytes()[0] == 0x47  # the first byte of MPEG-TS
    assert len(list(pictures(target))) > 5


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


def test_a_file_is_played_at_its_own_pace(tmp_path: Path) -> None:
    path = media.write_clip(
        tmp_path / "vfr.mp4", pts=[0, 18000, 20000, 45000], time_base=Fraction(1, 90000)
    ).path
    source = open_source(SourceAsk(str(path)))
    times = []
    while (captured := source.read()) is not None:
        times.append(captured.at_s)
    source.close()
    steps = np.diff(times)
    assert len(times) == 4
    assert steps == pytest.approx([18000 / 90000, 2000 / 90000, 25000 / 90000], abs=0.002)
    assert time.monotonic() >= times[-1]


def test_the_ladder_has_small_pictures_before_small_networks() -> None:
    options = LiveOptions(SourceAsk("0"), device="cpu", goal=Goal(fps=20))
    rungs = [str(rung) for rung in options.rungs()]
    assert rungs == [
        *(f"mimo-unet-small at {size}" for size in ("full size", "3/4", "1/2", "1/3")),
        *(f"mimo-unet-tiny at {size}" for size in ("1/2", "1/3")),
    ]
    named = LiveOptions(SourceAsk("0"), device="cpu", model="mimo-unet-small", goal=Goal(fps=20)).rungs()
    assert {rung.model for rung in named} == {"mimo-unet-small"}
    assert len(LiveOptions(SourceAsk("0"), device="cpu").rungs()) == 1
    with pytest.raises(InputError):
        LiveOptions(SourceAsk("0"), model="nonsense").rungs()


def test_a_weights_file_as_an_ensemble_is_opened_as_one() -> None:
    options = LiveOptions(SourceAsk("0"), device="cpu", weights=find("mimo-unet-tiny"), model="@ensemble")
    (named,) = {rung.model for rung in options.rungs()}
    engine = options.load(named)
    assert engine.describe()["model"] == named == "mimo-unet-tiny.safetensors@ensemble"
    engine.close()


def started(clip: Path, *more: str) -> subprocess.Popen[str]:
    words = ["live", str(clip), "--loop", "--headless", "--model", "mimo-unet-tiny", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "vdeblur", *words],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def frame_of(pix_fmt: str, size: tuple[int, int]) -> Frame:
    drawn = media.new_frame(pix_fmt, *size)
    drawn.make_writable()
    layout = formats.layout_of(pix_fmt, *size)
    return Frame(formats.views(drawn), layout, 0, Fraction(1, 90000), 0, 0, drawn)


def picture(number: int) -> Captured:
    layout = formats.layout_of("gray", 8, 8)
    pixels = np.full((8, 8), number, np.uint8)
    return Captured(Frame((pixels,), layout, 0, Fraction(1, 90000), 0, number), time.monotonic())


def pictures(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as file:
        yield from file.decode(video=0)
