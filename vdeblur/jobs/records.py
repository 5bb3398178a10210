"""What stands in a journal's files: a record for each segment, and the manifest that names them.

A journal may come from anywhere: all of it is looked at before it is believed.
"""

from __future__ import annotations

import dataclasses
import json
import re
from array import array
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from vdeblur.errors import InputError
from vdeblur.frame import Fate
from vdeblur.video.segments import Segment

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A segment, and what the next run must know of the reading up to its end (see `reader.Done`)."""

    segment: Segment
    enters: bool  # whether the source can be entered anew where this segment begins
    check: tuple[int, str]
    moved: int
    warnings: tuple[str, ...]
    last: bool
    looks: bytes = (
        b""  # what the encoder was given, from far away (see `video.looks`), where it was asked for
    )


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a journal; InputError where it cannot be used."""
    try:
        head = json.loads((folder / MANIFEST).read_bytes())
        known = head["format"] == FORMAT
        kinds = {"made_with": dict, "segments": list, "options": dict, "source": str, "target": str}
        sound = all(isinstance(head[name], kind) for name, kind in kinds.items())
        sound = sound and Path(head["target"]).name == head["target"] != ""
    except (OSError, ValueError, TypeError, KeyError):
        known, sound = True, False
    if not sound:
        raise InputError(f"{folder}: its manifest cannot be read; begin anew with --restart")
    if not known:
        raise InputError(f"{folder}: written by another version of vdeblur; begin anew with --restart")
    return dict(head)


def record_of(entry: Entry) -> bytes:
    """As it stands in its file; `entry_of` reads it back."""
    plain = dataclasses.asdict(entry) | {"looks": b64encode(entry.looks).decode()}
    return json.dumps(plain, default=list).encode()


def entry_of(record: bytes) -> Entry:
    """Raises ValueError, TypeError or KeyError where it is not what `record_of` gives."""
    plain = json.loads(record)
    of = plain["segment"]
    if not re.fullmatch(r"\d{6}\.\w+", of["file"]):
        raise ValueError(of["file"])
    segment = Segment(
        file=of["file"],
        bytes=int(of["bytes"]),
        digest=str(of["digest"]),
        header=str(of["header"]),
        times=array("q", of["times"]),
        durations=array("q", of["durations"]),
        fates=tuple(str(Fate(v)) for v in of["fates"]),
        order=array("q", of["order"]),
    )
    frames = len(segment.times)
    if {len(segment.durations), len(segment.fates), len(segment.order)} != {frames}:
        raise ValueError("unequal lengths")
    if sorted(segment.order) != list(range(frames)):
        raise ValueError("no order of frames")
    return Entry(
        segment=segment,
        enters=bool(plain["enters"]),
        check=(int(plain["check"][0]), str(plain["check"][1])),
        moved=int(plain["moved"]),
        warnings=tuple(str(v) for v in plain["warnings"]),
        last=bool(plain["last"]),
        looks=b64decode(plain["looks"]),
    )


def digest_of_bytes(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
