"""A run's figures on disk: a CSV table that a spreadsheet reads, and on request a TensorBoard log.

One run at a time keeps them, and has the folder to itself. After a crash both go on from the checkpoint: rows
of steps that were lost with it are taken out.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vdeblur.errors import InputError, to_install
from vdeblur.lock import Lock

COLUMNS = (
    "step", "loss", "rate", "gradient_norm", "skipped", "samples_per_s", "waited_share",
    "gain_db", "worst_gain_db", "mean_shift",
)  # fmt: skip


class Log:
    """Rows of figures by step; a context manager, and one for each folder at a time.

    Args:
        folder: of the run; `log.csv` and the events lie in it.
        step: the step that the run goes on from.
        tensorboard: write events too.

    Raises InputError for a `log.csv` that is none of a run, or a folder that another run is writing.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool) -> None:
        self.notes: tuple[str, ...] = ()
        check(folder)
        self._folder, self._lock = folder, Lock(folder, folder)
        self._path = folder / "log.csv"
        _cut_back(self._path, step)
        self._file = self._path.open("a", newline="", encoding="utf-8")
        self._rows = csv.DictWriter(self._file, COLUMNS)
        self._events: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                self.notes = (
                    f"no TensorBoard log, only log.csv; for both: {to_install('vdeblur[tensorboard]')}",
                )
            else:
                self._events = SummaryWriter(str(folder), purge_step=step + 1)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        if self._events is not None:
            self._events.close()
        (self._folder / "lock").unlink(missing_ok=True)
        self._lock.release()

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """A row; columns that are not given stay empty."""
        self._rows.writerow({"step": step} | {key: f"{value:.6g}" for key, value in figures.items()})
        self._file.flush()
        if self._events is not None:
            for key, value in figures.items():
                self._events.add_scalar(key, value, step)
            self._events.flush()


def check(folder: Path) -> None:
    """InputError where a table of somebody else's stands at the log's place."""
    path = folder / "log.csv"
    if not path.is_file() or (folder / "last.pt").exists():
        return
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        is_ours = next(csv.reader(file), []) in ([], list(COLUMNS))
    if not is_ours:
        raise InputError(f"{path}: is there already and no log of a run; name another folder with --output")


def _cut_back(path: Path, step: int) -> None:
    """Leave the head and the rows up to a step."""
    rows: list[dict[str, str]] = []
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if (row.get("step") or "").isdigit()]
    beside = path.with_name(path.name + ".part")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(row for row in rows if int(row["step"]) <= step)
    os.replace(beside, path)
