"""Footage through the production engine, and what the result is worth: likeness, brightness, flicker, speed.

With a network: the blurred input and the result, each against the sharp frame.  Without: the first side
against the second, as it is.  A few frames are read, then deblurred, then scored, so that the engine has the
machine to itself while its seconds count; nothing is kept but figures and the few pictures for a report.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vdeblur import metrics
from vdeblur.errors import InputError, MissingRuntimeError
from vdeblur.frame import Fate, Frame, PlaneLayout
from vdeblur.jobs.result import versions
from vdeblur.ledger import Ledger
from vdeblur.measure import rows, shots
from vdeblur.measure.flicker import Flicker
from vdeblur.measure.footage import Footage, find_footage, frames_of, side_by_side
from vdeblur.measure.rows import ClipRow, Evaluation, FrameRow, Protocol, Shot
from vdeblur.video.clip import Clip

if TYPE_CHECKING:
    from vdeblur.engine.deblurrer import Deblurrer

Pixels = np.ndarray[Any, np.dtype[Any]]
Tell = Callable[[str, int, int | None], None]  # clip, frames done, frames expected in all
Pair = tuple[Frame, Frame | None]
SSIM_LEAST_PX = 11  # the side of its window
LOT, LOT_BYTES = 16, 1 << 28  # frames that go through the engine together, and their planes, at most


def evaluate(
    data: Path,
    sharp: Path | None = None,
    *,
    blur: str | None = None,
    protocol: str = "deepdeblur",
    network: Mapping[str, Any] | None = None,
    pictures: bool = False,
    tell: Tell = lambda clip, done, expected: None,
    salvage: Callable[[Evaluation], None] = lambda found: None,
) -> Evaluation:
    """Measure a network on footage, or (network None) one side of the footage against the other.

    network    what `Deblurrer.load` takes: model, weights, device, ...
    pictures   keep the best, median and worst frame of the clips for a report
    salvage    gets what there is of whole clips where something ends it before all are measured

    Raises InputError for footage that is not sound, and all that the engine raises.
    """
    rules = rows.protocol(protocol)
    found = find_footage(data, sharp, blur=blur)
    if network is None and any(footage.sharp is None for footage in found):
        raise InputError(f"{data}: nothing to compare it with; name a second one, or a network with --model")
    ledger, notes = Ledger(), list[str]()
    settings: dict[str, Any] = {
        "data": str(data),
        "sharp": None if sharp is None else str(sharp),
        "blur": blur,
    }
    with ExitStack() as stack:
        engine: Deblurrer | None = None
        if network is not None:
            from vdeblur.engine.deblurrer import Deblurrer

            engine = stack.enter_context(Deblurrer.load(**network))
        pool = stack.enter_context(ThreadPoolExecutor(2))
        done, expected = itertools.count(1), _total(found)
        judge = _Judge(
            rules, engine, ledger, notes, pictures, pool, lambda clip: tell(clip, next(done), expected)
        )

        def concluded() -> Evaluation:
            own = dict(settings)
            if engine is not None:
                own |= engine.describe(found[0].blurred.picture.layout)  # now: what really ran
                notes.extend(engine.notes)
            ledger.close()
            return Evaluation(
                protocol=rules,
                rows=tuple(judge.rows),
                clips=tuple(judge.clips),
                shots=shots.of_all(judge.shots, judge.rows),
                settings=own,
                versions=versions() | _judges(),
                seconds={key: round(value, 3) for key, value in ledger.stages_s.items()}
                | {"wall": ledger.wall_s},
                notes=tuple(dict.fromkeys(notes)),
            )

        try:
            for footage in found:
                judge.clip(footage)
        except BaseException:
            if judge.clips:
                notes.append(f"ended before all was measured: {len(judge.clips)} of {len(found)} clips")
                salvage(concluded())
            raise
        return concluded()


class _Judge:
    """Goes through clips and gathers rows, clip by clip."""

    def __init__(
        self,
        rules: Protocol,
        engine: Deblurrer | None,
        ledger: Ledger,
        notes: list[str],
        pictures: bool,
        pool: Executor,
        tell: Callable[[str], None],
    ) -> None:
        self.rows: list[FrameRow] = []
        self.clips: list[ClipRow] = []
        self.shots: list[Shot] = []
        self._rules, self._engine, self._ledger, self._notes = rules, engine, ledger, notes
        self._pictures, self._tell = pictures, tell
        self._warm_for: PlaneLayout | None = None
        self._warm_with = 0
        self._pool = pool  # the sides at the same time: torch and SSIM release the interpreter's lock

    def clip(self, footage: Footage) -> None:
        """Its frames' rows, then the row of the clip."""
        flicker = self._flicker()
        own, gallery = list[FrameRow](), shots.Gallery()
        size = (0, 0)
        for index, (shown, result, sharp, spent_s, fate) in enumerate(self._results(footage)):
            number, size = footage.number(index), shown.shape[:2]
            with self._ledger.spend("score"):
                row = self._row(footage.name, number, shown, result, sharp, spent_s, fate)
            if flicker is not None:
                with self._ledger.spend("flicker"):
                    made, truth = (shown if side is None else side for side in (result, sharp))
                    flicker.add(number, shown, made, truth)
            after = sharp if result is None else result
            if self._pictures and after is not None:
                with self._ledger.spend("pictures"):
                    gallery.add(row, shown, after)
            own.append(row)
        if not own:
            raise InputError(f"{footage.blurred.source}: not a single frame came out of it")
        gains = [row.gain_db for row in own if row.gain_db is not None]
        times = [row.engine_s for row in own if row.engine_s]
        self.rows += own
        self.clips.append(
            ClipRow(
                clip=footage.name,
                frames=len(own),
                size=size,
                means=rows.mean_of_rows(own),
                worst_gain_db=min(gains, default=None),
                flicker=None if flicker is None else flicker.score(),
                engine_fps=len(times) / sum(times) if times else None,
            )
        )
        self.shots += gallery.chosen()

    def _results(
        self, footage: Footage
    ) -> Iterator[tuple[Pixels, Pixels | None, Pixels | None, float | None, str]]:
        """(input, result, sharp) as RGB from 0 to 1, seconds in the engine, and what it did."""
        self._notes += footage.remarks()

        def read(side: Clip) -> Iterator[Frame]:
            return self._ledger.timed(frames_of(side, self._notes), "read")

        sharp_frames = None if footage.sharp is None else read(footage.sharp)
        for lot in _lots(side_by_side(footage, read(footage.blurred), sharp_frames)):
            made = self._deblurred(footage.name, [frame for frame, _ in lot])
            for (frame, partner), (result, spent_s, fate) in zip(lot, made, strict=True):
                with self._ledger.spend("score"):
                    shown, after, sharp = self._pool.map(_picture, (frame, result, partner))
                assert shown is not None
                yield shown, after, sharp, spent_s, fate

    def _deblurred(
        self, clip: str, frames: Sequence[Frame]
    ) -> Iterator[tuple[Frame | Pixels | None, float | None, str]]:
        """Of frames of one layout: the result, seconds in the engine (their share of the lot's), its fate."""
        if self._engine is None:
            for _ in frames:
                self._tell(clip)
                yield None, None, "source"
            return
        self._warm_up(self._engine, frames)
        if self._rules.rounded:
            begin = time.perf_counter()
            results = []
            for result in self._engine.deblur(frames):
                results.append(result)
                self._tell(clip)
            spent_s = self._spent(begin) / len(frames)
            yield from ((result, spent_s, str(result.fate)) for result in results)
            return
        for frame in frames:
            shown = _rgb(frame)
            begin = time.perf_counter()
            found = self._engine.deblur_rgb_or_none(shown)
            spent_s = self._spent(begin)
            self._tell(clip)
            fate = str(Fate.REFUSED) if found is None else "deblurred, not rounded"
            yield shown if found is None else found.clip(0.0, 1.0), spent_s, fate

    def _warm_up(self, engine: Deblurrer, frames: Sequence[Frame]) -> None:
        """What is made for a layout is made before the clock runs; a GPU makes its graphs for two frames."""
        layout, few = frames[0].layout, frames[:2]
        if self._warm_for == layout and self._warm_with >= len(few):
            return
        with self._ledger.spend("warm-up"):
            if self._rules.rounded:
                list(engine.deblur(few))
            else:
                engine.deblur_rgb_or_none(_rgb(few[0]))
        self._warm_for, self._warm_with = layout, len(few)

    def _row(
        self,
        clip: str,
        number: int,
        shown: Pixels,
        result: Pixels | None,
        sharp: Pixels | None,
        spent_s: float | None,
        fate: str,
    ) -> FrameRow:
        truth = None if sharp is None else self._form(sharp)
        likeness = list(self._pool.map(lambda side: self._likeness(side, truth), (shown, result)))
        (psnr_input, ssim_input), (psnr_result, ssim_result) = likeness
        return FrameRow(
            clip=clip,
            number=number,
            psnr_input_db=psnr_input,
            psnr_result_db=psnr_result,
            ssim_input=ssim_input,
            ssim_result=ssim_result,
            brightness_input=_brightness(shown),
            brightness_result=None if result is None else _brightness(result),
            brightness_sharp=None if sharp is None else _brightness(sharp),
            engine_s=spent_s,
            fate=fate,
        )

    def _likeness(self, side: Pixels | None, truth: Pixels | None) -> tuple[float | None, float | None]:
        """PSNR and SSIM of a side, each None where it cannot be told."""
        if side is None or truth is None:
            return None, None
        values, data_range = self._form(side), self._rules.data_range
        psnr = min(rows.MOST_DB, metrics.psnr(values, truth, data_range))
        if min(truth.shape[:2]) < SSIM_LEAST_PX:
            return psnr, None
        return psnr, metrics.ssim(values, truth, data_range)

    def _form(self, rgb: Pixels) -> Pixels:
        """As the protocol compares: 8 bit, or float32 from 0 to 1."""
        return np.rint(rgb * 255).astype(np.uint8) if self._rules.rounded else rgb.astype(np.float32)

    def _flicker(self) -> Flicker | None:
        try:
            return Flicker()
        except MissingRuntimeError:
            self._notes.append("no flicker index: OpenCV, which finds the motion, does not load here")
            return None

    def _spent(self, begin: float) -> float:
        """Seconds since then, counted as the engine's."""
        seconds = time.perf_counter() - begin
        self._ledger.stages_s["engine"] = self._ledger.stages_s.get("engine", 0.0) + seconds
        return seconds


def _lots(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
    """Neighbours of one layout, as many as may be held at a time."""
    lot: list[Pair] = []
    for pair in pairs:
        held = len(lot) * sum(plane.nbytes for plane in pair[0].planes)
        if lot and (len(lot) == LOT or held > LOT_BYTES or pair[0].layout != lot[0][0].layout):
            yield lot
            lot = []
        lot.append(pair)
    if lot:
        yield lot


def _picture(side: Frame | Pixels | None) -> Pixels | None:
    return _rgb(side) if isinstance(side, Frame) else side


def _rgb(frame: Frame) -> Pixels:
    from vdeblur.engine.staging import rgb_of

    return rgb_of(frame)


def _brightness(rgb: Pixels) -> float:
    return float(rgb.mean(dtype=np.float64)) * 255


def _total(found: tuple[Footage, ...]) -> int | None:
    counts = [footage.frames_expected for footage in found]
    return None if None in counts else sum(count or 0 for count in counts)


def _judges() -> dict[str, str]:
    """Versions of what scores."""
    import sys

    names = {"cv2": "opencv", "skimage": "scikit-image"}
    return {name: str(sys.modules[key].__version__) for key, name in names.items() if key in sys.modules}
