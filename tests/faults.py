"""Break the program on purpose, at one place: `VDEBLUR_FAULT=site:nth:kind python tests/faults.py ARGS`.

A site is a step that every run takes many times; the fault happens when it is taken the nth time (from 1).
Nothing in the program knows of this: `plant` puts a wrapper around a method, with `setattr` of its caller's
choice, so that tests take it away again.  `SITES` and `KINDS` say what there is.

    VDEBLUR_FAULT=mux:7:ENOSPC python tests/faults.py in.mp4 -o out.mp4 --strength 0
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "tests")) if path not in sys.path]

Patch = Callable[[Any, str, Any], None]
Happens = Callable[
    [Any, tuple[Any, ...]], Any
]  # (the object, its arguments) -> in place of the step's result

STALL_S = 3.0
GO_ON: Any = object()
"""What a kind answers with where the step is taken all the same."""


def sites() -> dict[str, tuple[Any, str]]:
    """Name -> (class or module, attribute): the steps of a run, from the source to the target's name."""
    from vdeblur.engine.corrector import Corrector
    from vdeblur.jobs import inspection
    from vdeblur.jobs.journal import Journal
    from vdeblur.video.decoding import Decoding
    from vdeblur.video.encoding import Encoding
    from vdeblur.video.sink import Sink

    return {
        "demux": (Decoding, "_next"),
        "decode": (Decoding, "_decode"),
        "engine": (Corrector, "judged"),
        "network": (Corrector, "_run"),
        "encode": (Encoding, "_send"),
        "mux": (Sink, "mux"),
        "close": (Sink, "finish"),
        "record": (Journal, "add"),
        "write": (Path, "write_bytes"),
        "sync": (os, "fsync"),
        "rename": (os, "replace"),
        "verify": (inspection.Inspection, "approve"),
    }


SITES = (
    *("demux", "decode", "engine", "network", "encode", "mux"),
    *("close", "record", "write", "sync", "rename", "verify"),
)


def _system(name: str) -> Happens:
    """The system refuses, as it would in the middle of writing: once, and again at every later try."""

    def happens(self: Any, words: tuple[Any, ...]) -> Any:
        number = getattr(errno, name)
        error = OSError(number, os.strerror(number))
        container = getattr(self, "container", None)
        if container is None:
            raise error
        # Inside the muxer, so that its own handling is tried; a full disk fails again when it is closed.
        self.container = _FullDisk(container, error)
        return GO_ON

    return happens


class _FullDisk:
    """An output container on a disk that takes nothing any more."""

    def __init__(self, container: Any, error: OSError) -> None:
        self._container, self._error = container, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def mux(self, packet: Any) -> None:
        raise self._error

    def close(self) -> None:
        self._container.close()
        raise self._error


def _signal(name: str) -> Happens:
    def happens(self: Any, words: tuple[Any, ...]) -> Any:
        os.kill(os.getpid(), getattr(signal, name))
        return GO_ON

    return happens


def _raises(make: Callable[[], BaseException]) -> Happens:
    def happens(self: Any, words: tuple[Any, ...]) -> Any:
        raise make()

    return happens


def _encoder_fails() -> BaseException:
    import av

    return av.error.ExternalError(-542398533, "Generic error in an external library")


def _out_of_memory() -> BaseException:
    import torch

    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB (injected)")


def _garbage(self: Any, words: tuple[Any, ...]) -> Any:
    """The packet arrives as noise."""
    import av

    if words[0] is None:
        return GO_ON
    noise = av.Packet(os.urandom(max(16, words[0].size)))
    noise.pts, noise.dts, noise.time_base = words[0].pts, words[0].dts, words[0].time_base
    return type(self)._decode.__wrapped__(self, noise)  # type: ignore[attr-defined]


def _not_numbers(self: Any, words: tuple[Any, ...]) -> Any:
    """The network's answer is NaN everywhere."""
    import torch

    return torch.full_like(words[1].float(), float("nan"))


def _wrong_size(self: Any, words: tuple[Any, ...]) -> Any:
    """The network's answer is smaller than its picture."""
    import torch

    rgb = words[1].float()
    return torch.zeros_like(rgb[..., : rgb.shape[-2] // 2, :])


def _stalls(self: Any, words: tuple[Any, ...]) -> Any:
    time.sleep(STALL_S)
    return GO_ON


def _source_goes(self: Any, words: tuple[Any, ...]) -> Any:
    Path(self._clip.source).unlink(missing_ok=True)
    return GO_ON


def _source_grows(self: Any, words: tuple[Any, ...]) -> Any:
    with Path(self._clip.source).open("ab") as file:
        file.write(os.urandom(50_000))
    return GO_ON


KINDS: dict[str, Happens] = {
    "SIGINT": _signal("SIGINT"),
    "SIGTERM": _signal("SIGTERM"),
    "SIGHUP": _signal("SIGHUP"),
    "SIGKILL": _signal("SIGKILL"),
    "ENOSPC": _system("ENOSPC"),
    "EIO": _system("EIO"),
    "EACCES": _system("EACCES"),
    "error": _raises(lambda: RuntimeError("the device fell over (injected)")),
    "encoder": _raises(_encoder_fails),
    "oom": _raises(_out_of_memory),
    "garbage": _garbage,
    "nan": _not_numbers,
    "size": _wrong_size,
    "stall": _stalls,
    "vanish": _source_goes,
    "grow": _source_grows,
}


def plant(site: str, nth: int, kind: str, patch: Patch = setattr) -> None:
    """Let `kind` happen when a run comes to `site` for the nth time."""
    happens, count, noisy = KINDS[kind], 0, None

    def meet(self: Any, words: tuple[Any, ...]) -> Any:
        nonlocal count, noisy
        count += 1
        if kind != "garbage":
            return happens(self, words) if count == nth else GO_ON
        place = getattr(words[0], "pos", None)
        if count == nth:
            noisy = place
        # A packet that is noise in the file is noise again when it is read once more.
        return happens(self, words) if place is not None and place == noisy else GO_ON

    _wrap(site, meet, patch)


def count(patch: Patch = setattr) -> Counter[str]:
    """How often a run comes to each site, counted while it goes on."""
    seen: Counter[str] = Counter()

    def counter(site: str) -> Happens:
        def meet(self: Any, words: tuple[Any, ...]) -> Any:
            seen[site] += 1
            return GO_ON

        return meet

    for site in SITES:
        _wrap(site, counter(site), patch)
    return seen


def _wrap(site: str, meet: Happens, patch: Patch) -> None:
    owner, name = sites()[site]
    plain = getattr(owner, name)

    if isinstance(owner, type):

        def step(self: Any, *words: Any, **named: Any) -> Any:
            found = meet(self, words)
            return plain(self, *words, **named) if found is GO_ON else found

    else:  # a function of a module

        def step(*words: Any, **named: Any) -> Any:  # type: ignore[misc]
            found = meet(None, words)
            return plain(*words, **named) if found is GO_ON else found

    step.__wrapped__ = getattr(plain, "__wrapped__", plain)  # type: ignore[attr-defined]
    patch(owner, name, step)


def main() -> int:
    from vdeblur.cli.main import main as vdeblur

    if fault := os.environ.get("VDEBLUR_FAULT"):
        site, nth, kind = fault.split(":")
        plant(site, int(nth), kind)
    return vdeblur(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
