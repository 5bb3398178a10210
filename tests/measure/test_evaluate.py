"""Figures that can be known beforehand, because the networks say something known."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data import trees
from engine.standins import ConstantDifference, NonsenseWhenDark, ZeroDifference
from video import media

from vdeblur import metrics
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.errors import InputError, MissingRuntimeError
from vdeblur.frame import Frame
from vdeblur.measure import evaluate as module
from vdeblur.measure.evaluate import evaluate
from vdeblur.models.contract import DeblurNetwork
from vdeblur.video.picture_files import write_png

NETWORK: dict[str, Any] = {"model": "stand-in"}
Use = Callable[[DeblurNetwork], None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Makes `Deblurrer.load` give this network."""

    def using(network: DeblurNetwork) -> None:
        def load(**options: Any) -> Deblurrer:
            return Deblurrer(network, model="stand-in", device="cpu", precision="fp32")

        monkeypatch.setattr(Deblurrer, "load", load)

    return using


def pairs(root: Path, shift: int, frames: int = 3, clips: tuple[str, ...] = ("a/one",)) -> Path:
    """Blurred pictures that differ from the sharp ones by a constant only."""
    rng = np.random.default_rng(3)
    for clip in clips:
        for number in range(frames):
            sharp = rng.integers(60, 180, (24, 32, 3)).astype(np.uint8)
            for side, pixels in (("sharp", sharp), ("blur", sharp - shift)):
                path = root / clip / side / f"{number:08d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_png(path, pixels.astype(np.uint8))
    return root


@pytest.mark.parametrize("protocol", ["deepdeblur", "mimo"])
def test_a_network_that_knows_the_answer_gains_everything(tmp_path: Path, use: Use, protocol: str) -> None:
    use(ConstantDifference(10 / 255, 10 / 255, 10 / 255))
    found = evaluate(pairs(tmp_path, 10, clips=("a/one", "b/two")), protocol=protocol, network=NETWORK)
    before = 20 * math.log10(255 / 10)
    for row in found.rows:
        assert row.psnr_input_db == pytest.approx(before, abs=1e-4)
        assert row.psnr_result_db == pytest.approx(100, abs=1e-9)  # equal pictures count as 100 dB
        assert row.gain_db == pytest.approx(100 - before, abs=1e-4)
        assert row.ssim_result == pytest.approx(1, abs=1e-6)
        assert row.brightness_sharp is not None
        assert row.brightness_result == pytest.approx(row.brightness_sharp, abs=1e-3)
        assert row.brightness_input == pytest.approx(row.brightness_sharp - 10, abs=1e-3)
    assert [clip.clip for clip in found.clips] == ["a/one", "b/two"]
    assert set(found.by_set()) == {"a", "b"}
    assert found.engine_fps is not None
    assert found.engine_fps > 0
    assert found.settings["model"] == "stand-in"
    assert {"vdeblur", "torch", "scikit-image"} <= set(found.versions)


def test_only_the_mimo_protocol_sees_less_than_a_step_of_8_bit(tmp_path: Path, use: Use) -> None:
    use(ConstantDifference(0.4 / 255, 0.4 / 255, 0.4 / 255))
    root = pairs(tmp_path, 10, frames=1)
    (rounded,) = evaluate(root, network=NETWORK).rows
    (unrounded,) = evaluate(root, protocol="mimo", network=NETWORK).rows
    assert rounded.gain_db == pytest.approx(0, abs=1e-9)
    assert unrounded.gain_db == pytest.approx(20 * math.log10(10 / 9.6), abs=1e-3)
    with pytest.raises(InputError, match="--protocol psnr: unknown; known are deepdeblur, mimo"):
        evaluate(root, protocol="psnr", network=NETWORK)


def test_worst_clip_and_worst_frame_are_named(tmp_path: Path, use: Use) -> None:
    use(ConstantDifference(10 / 255, 10 / 255, 10 / 255))
    pairs(tmp_path, 10, clips=("good", "bad"))
    last = tmp_path / "bad/blur/00000002.png"
    write_png(last, np.full((24, 32, 3), 200, np.uint8))
    found = evaluate(tmp_path, network=NETWORK)
    assert found.worst_clip is not None
    assert found.worst_frame is not None
    assert (found.worst_clip.clip, found.worst_frame.number) == ("bad", 2)
    assert found.worst_clip.worst_gain_db == found.worst_frame.gain_db


@pytest.mark.parametrize("protocol", ["deepdeblur", "mimo"])
def test_what_the_guard_refused_is_in_the_rows(tmp_path: Path, use: Use, protocol: str) -> None:
    use(NonsenseWhenDark())
    for side in ("blur", "sharp"):
        trees.series(tmp_path / "dark" / side, trees.numbers(2))
    found = evaluate(tmp_path, protocol=protocol, network=NETWORK)
    assert {row.fate for row in found.rows} == {"passed (refused by the guard)"}
    assert {row.gain_db for row in found.rows} == {0.0}


class Ahead:
    """An engine that reads ahead and works by itself: a second for a frame, a hundred to open a layout."""

    notes = ()

    def __init__(self) -> None:
        self.now, self.precision = 0.0, "bf16"
        self._layouts: set[Any] = set()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def describe(self, layout: Any) -> dict[str, Any]:
        return {"model": "ahead", "precision": self.precision}

    def deblur(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        flying: deque[tuple[Frame, float]] = deque()
        free_from = 0.0
        for frame in frames:
            if frame.layout not in self._layouts:
                self._layouts.add(frame.layout)
                self.now += 100
                self.precision = "fp32"  # the warm-up has refused the other one
            free_from = max(free_from, self.now) + 1
            flying.append((frame, free_from))
            if len(flying) > 2:
                yield self._landed(*flying.popleft())
        while flying:
            yield self._landed(*flying.popleft())

    def deblur_rgb_or_none(self, shown: Any) -> Any:
        self.now += 1 if "rgb" in self._layouts else 101
        self._layouts.add("rgb")
        return shown

    def _landed(self, frame: Frame, done: float) -> Frame:
        self.now = max(self.now, done)
        return frame


@pytest.mark.parametrize("protocol", ["deepdeblur", "mimo"])
def test_seconds_of_the_engine_are_those_that_it_works(
    tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is what it does while a frame is scored for nothing, nor is opening a layout a frame's time."""
    engine, score = Ahead(), metrics.psnr

    def slowly(*sides: Any) -> float:
        engine.now += 50
        return score(*sides)

    monkeypatch.setattr(Deblurrer, "load", lambda **options: engine)
    monkeypatch.setattr(module.metrics, "psnr", slowly)
    monkeypatch.setattr(module.time, "perf_counter", lambda: engine.now)
    found = evaluate(
        pairs(tmp_path, 10, frames=5, clips=("a/one", "a/two")), protocol=protocol, network=NETWORK
    )
    assert [row.engine_s for row in found.rows] == [pytest.approx(1.0)] * 10
    assert found.engine_fps == pytest.approx(1.0)
    assert found.seconds["engine"] == pytest.approx(10)
    assert found.seconds["warm-up"] >= 100
    if protocol == "deepdeblur":
        assert found.settings["precision"] == "fp32"


def test_two_videos_without_a_network(tmp_path: Path) -> None:
    media.write_clip(tmp_path / "a.mp4", frames=6)
    media.write_clip(tmp_path / "b.mp4", frames=6, options={"crf": "45"})
    same = evaluate(tmp_path / "a.mp4", tmp_path / "a.mp4")
    assert {row.psnr_input_db for row in same.rows} == {100.0}
    other = evaluate(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert len(other.rows) == 6
    assert all(row.psnr_input_db is not None and 10 < row.psnr_input_db < 60 for row in other.rows)
    assert other.engine_fps is None
    assert other.clips[0].means["gain_db"] is None
    media.write_clip(tmp_path / "short.mp4", frames=4)
    with pytest.raises(InputError, match=r"short\.mp4: 4 frames, but .*b\.mp4 has 6"):
        evaluate(tmp_path / "short.mp4", tmp_path / "b.mp4")
    media.write_clip(tmp_path / "small.mp4", frames=6, size=(64, 48))
    with pytest.raises(InputError, match=r"small\.mp4: 64x48 pixels, but .*b\.mp4 has 96x64"):
        evaluate(tmp_path / "small.mp4", tmp_path / "b.mp4")


def test_videos_through_a_network_and_a_video_without_a_sharp_side(tmp_path: Path, use: Use) -> None:
    use(ZeroDifference())
    for side in ("blur", "sharp"):
        (tmp_path / side).mkdir()
        media.write_clip(tmp_path / side / "walk.mp4", frames=5)
    both = evaluate(tmp_path / "blur", tmp_path / "sharp", network=NETWORK)
    assert {(row.psnr_input_db, row.gain_db) for row in both.rows} == {(100.0, 0.0)}
    alone = evaluate(tmp_path / "blur/walk.mp4", network=NETWORK)
    assert {(row.psnr_input_db, row.gain_db) for row in alone.rows} == {(None, None)}
    assert len(alone.rows) == 5
    with pytest.raises(InputError, match="nothing to compare it with"):
        evaluate(tmp_path / "blur/walk.mp4")


@pytest.mark.parametrize("protocol", ["deepdeblur", "mimo"])
def test_every_frame_is_told_as_it_leaves_the_engine(tmp_path: Path, use: Use, protocol: str) -> None:
    """Not only when its lot is scored: with a slow network that may be minutes."""
    use(ZeroDifference())
    told: list[tuple[str, int, int | None]] = []
    root = pairs(tmp_path, 10, frames=3, clips=("a/one", "a/two"))
    evaluate(root, protocol=protocol, network=NETWORK, tell=lambda *words: told.append(words))
    assert told == [
        (f"a/{clip}", n, 6) for clip, n in zip(["one"] * 3 + ["two"] * 3, range(1, 7), strict=True)
    ]


def test_what_is_to_be_said_of_a_video_is_a_note(tmp_path: Path) -> None:
    media.write_clip(tmp_path / "a.mp4", frames=3, interlaced=True)
    found = evaluate(tmp_path / "a.mp4", tmp_path / "a.mp4")
    assert [note for note in found.notes if "a.mp4: interlaced" in note]


def test_videos_of_other_rates_are_compared_with_a_word(tmp_path: Path) -> None:
    for name, rate in (("a", 25), ("b", 50)):
        media.write_clip(tmp_path / f"{name}.mp4", frames=3, rate=rate)
    (note,) = evaluate(tmp_path / "a.mp4", tmp_path / "b.mp4").notes
    assert note.startswith("a: 25 and 50 frames a second; frames are compared by their numbers")
    assert evaluate(tmp_path / "a.mp4", tmp_path / "a.mp4").notes == ()


def test_videos_need_no_known_suffix(tmp_path: Path) -> None:
    media.write_clip(tmp_path / "a.mp4", frames=3)
    odd = (tmp_path / "a.mp4").rename(tmp_path / "a.recording")
    assert len(evaluate(odd, odd).rows) == 3


def test_pictures_of_unequal_size_are_named(tmp_path: Path) -> None:
    root = pairs(tmp_path, 5)
    write_png(root / "a/one/sharp/00000001.png", np.zeros((24, 30, 3), np.uint8))
    with pytest.raises(
        InputError, match=r"blur/00000001\.png: 32x24 pixels, but .*sharp/00000001\.png has 30x24"
    ):
        evaluate(root, network=None)


@pytest.mark.parametrize("left", [0.7, 0.0])
def test_broken_pictures_are_named(tmp_path: Path, left: float) -> None:
    root = pairs(tmp_path, 5)
    broken = root / "a/one/sharp/00000002.png"
    broken.write_bytes(broken.read_bytes()[: int(len(broken.read_bytes()) * left)])
    with pytest.raises(InputError, match=r"sharp/00000002\.png"):
        evaluate(root, network=None)


def test_without_opencv_there_is_no_flicker_index_but_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Missing:
        def __init__(self) -> None:
            raise MissingRuntimeError("no OpenCV")

    monkeypatch.setattr(module, "Flicker", Missing)
    found = evaluate(pairs(tmp_path, 5))
    assert found.clips[0].flicker is None
    assert any("no flicker index" in note for note in found.notes)


def test_best_median_and_worst_frames_are_kept_for_a_report(tmp_path: Path, use: Use) -> None:
    use(ConstantDifference(10 / 255, 10 / 255, 10 / 255))
    root = pairs(tmp_path, 10, frames=5)
    for number, step in ((1, 12), (3, 40)):
        sharp = np.full((24, 32, 3), 100, np.uint8)
        write_png(root / f"a/one/sharp/{number:08d}.png", sharp)
        write_png(root / f"a/one/blur/{number:08d}.png", (sharp - step).astype(np.uint8))
    found = evaluate(root, network=NETWORK, pictures=True)
    assert [shot.label for shot in found.shots] == ["best", "median", "worst"]
    assert found.shots[2].number == 3
    assert all(shot.before[:2] == b"\xff\xd8" for shot in found.shots)
    assert evaluate(root, network=NETWORK).shots == ()


@pytest.mark.shared
def test_real_pairs_score_as_their_list_says(shared: Path) -> None:
    found = evaluate(shared / "pairs/reds_x4/v000/blur", shared / "pairs/reds_x4/v000/sharp")
    assert found.over_frames()["psnr_input_db"] == pytest.approx(26.49, abs=0.005)
    assert min(row.psnr_input_db or 0 for row in found.rows) == pytest.approx(23.51, abs=0.005)
    flicker = found.clips[0].flicker
    assert flicker is None or (flicker.index is not None and 0.3 < flicker.index < 1.2)
