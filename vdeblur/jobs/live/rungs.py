"""The networks of a ladder, each opened when it is wanted, behind the back of the one that runs.

A picture is corrected on one rung; a rung that is not open yet is opened by a thread of its own, so that the
picture never stands still for a change.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from vdeblur.engine.reduced import deblur_reduced, reduced_size
from vdeblur.errors import InputError, VdeblurError
from vdeblur.frame import Frame, PlaneLayout
from vdeblur.jobs.live.ladder import Rung

if TYPE_CHECKING:
    from vdeblur.engine.deblurrer import Deblurrer


Load = Callable[[str], "Deblurrer"]
"""The engine of a network by name."""


class Rungs:
    """Corrects frames on any of its rungs; `correct` is called from one thread."""

    def __init__(self, rungs: Sequence[Rung], load: Load) -> None:
        self.rungs = tuple(rungs)
        self._load = load
        self._engines: dict[Rung, Deblurrer] = {}
        # With height and width: a new size is opened anew.
        self._opened: set[tuple[Rung, int, int]] = set()
        self._failed: dict[tuple[Rung, int, int], VdeblurError] = {}
        self._notes: list[str] = []
        self._on_gpu = False
        self._opening: threading.Thread | None = None

    def costs(self, layout: PlaneLayout) -> list[float]:
        """Expected seconds for a picture on each rung; loads every network once, for a trial.

        A trial on a busy machine may say anything, so a rung never counts for more than the one above it.
        The rungs of a network that cannot be loaded fall away, with a note; raises where none is left.
        """
        found: dict[str, float] = {}
        for model, rung in {rung.model: rung for rung in reversed(self.rungs)}.items():
            try:
                found[model] = self._engine(rung).estimate_s_per_frame(layout)
            except InputError:
                raise
            except Exception as error:
                failure = _failure(error)
                self._notes.append(f"{model} is left out: {failure}")
        self.rungs = tuple(rung for rung in self.rungs if rung.model in found)
        if not self.rungs:
            raise failure
        result: list[float] = []
        for rung in self.rungs:
            height, width = reduced_size(layout, rung.scale)
            share = height * width / (layout.height * layout.width)
            result.append(min(max(found[rung.model] * share, 1e-5), *result[-1:], 1e9))
        return result

    def open(self, number: int, frame: Frame) -> None:
        """Now, and wait for it: the first picture on a rung may take seconds.

        Raises VdeblurError, now and whenever it is asked for again, where this rung cannot be used.
        """
        rung = self.rungs[number]
        try:
            engine = self._engine(rung)
            self._correct(engine, rung, frame)
            self._on_gpu = engine.describe()["device"] != "cpu"
        except Exception as error:
            self._failed[self._key(rung, frame)] = failure = _failure(error)
            raise failure from error
        self._opened.add(self._key(rung, frame))

    def ready(self, number: int, frame: Frame) -> bool:
        """Whether this rung can be used at once; else it is being opened from now on.

        Raises what went wrong there.
        """
        key = self._key(self.rungs[number], frame)
        if key in self._failed:
            raise self._failed[key]
        if key in self._opened:
            return True
        if self._on_gpu:  # what is captured there must not be disturbed, and opening takes little
            self.open(number, frame)
            return True
        if self._opening is None or not self._opening.is_alive():
            copy = dataclasses.replace(frame, planes=tuple(p.copy() for p in frame.planes), side=None)
            thread = threading.Thread(
                target=self._open_aside, args=(number, copy), daemon=True, name="opening"
            )
            self._opening = thread
            thread.start()
        return False

    def correct(self, number: int, frame: Frame) -> Frame:
        """The frame sharpened on this rung, planes in new arrays, without the decoded picture."""
        rung = self.rungs[number]
        return self._correct(self._engine(rung), rung, frame)

    def describe(self, number: int) -> dict[str, Any]:
        return self._engine(self.rungs[number]).describe()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided that nobody asked for."""
        of_engines = (note for engine in list(self._engines.values()) for note in engine.notes)
        return tuple(dict.fromkeys([*self._notes, *of_engines]))

    def close(self) -> None:
        if self._opening is not None:
            self._opening.join(2.0)
            if self._opening.is_alive():  # on a busy machine: what it works on must stay
                return
        for engine in self._engines.values():
            engine.close()

    def _engine(self, rung: Rung) -> Deblurrer:
        if rung not in self._engines:
            self._engines[rung] = self._load(rung.model)
        return self._engines[rung]

    @staticmethod
    def _correct(engine: Deblurrer, rung: Rung, frame: Frame) -> Frame:
        whole = rung.scale == 1
        after = next(engine.deblur([frame])) if whole else deblur_reduced(engine, frame, rung.scale)
        return dataclasses.replace(after, side=None)

    @staticmethod
    def _key(rung: Rung, frame: Frame) -> tuple[Rung, int, int]:
        return rung, frame.layout.height, frame.layout.width

    def _open_aside(self, number: int, frame: Frame) -> None:
        with suppress(VdeblurError):  # `ready` raises it
            self.open(number, frame)


def _failure(error: Exception) -> VdeblurError:
    return error if isinstance(error, VdeblurError) else VdeblurError(f"it cannot be opened ({error})")
