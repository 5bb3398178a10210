"""Runs that are stopped in the middle, and what they must end in all the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from video.through import hashes, times

from vdeblur.jobs import deblur
from vdeblur.jobs.journal import folder_of
from vdeblur.jobs.plan import Options, make_plan
from vdeblur.video.segments import Rule

SHORT = Rule(Fraction(2, 5), 6)
FAST: dict[str, Any] = {"strength": 0.0, "preset": "ultrafast"}


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


def as_if_never_stopped(target: Path) -> None:
    """A target of `in.mp4` beside it is that of a run in one go."""
    whole = target.with_name("whole.mp4")
    run(target.with_name("in.mp4"), whole)
    same(target, whole)


def record_of(target: Path, number: int) -> Any:
    """The record of a segment in the target's journal."""
    return json.loads((folder_of(target) / f"{number:06d}.json").read_bytes())


def forge(target: Path, number: int, **segment: Any) -> None:
    """Other values in the record of a segment, sound in all digests."""
    record, name = record_of(target, number), f"{number:06d}.json"
    record["segment"] |= segment
    written, manifest = json.dumps(record).encode(), folder_of(target) / "manifest.json"
    head = json.loads(manifest.read_bytes())
    head["segments"][number - 1]["digest"] = digest(written)
    (folder_of(target) / name).write_bytes(written)
    manifest.write_text(json.dumps(head), encoding="utf-8")


def digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


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


def interrupted_at(index: int) -> Any:
    """In place of `deblur._passed`."""

    def passed(frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
            if frame.index == index:
                raise KeyboardInterrupt
            yield frame

    return passed
