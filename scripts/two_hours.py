"""Two hours of video at full speed: do memory, open files and threads stay as they were?

    python scripts/two_hours.py [--hours 2] [--size 96x64] [--pipe]

A minute of pictures and sound is repeated by copying its packets; the run is the whole job (decoder, engine
around a network that has learnt nothing, encoder, journal or, with --pipe, stdin).  Each mark is looked at
over the length of one segment around it, so that everywhere one segment is closed on the side while the next
is written: memory is the mean over these frames, of files and threads the least and the most are counted.
The exit code is 1 if resident memory of frame 10 000 differs from that of frame 1 000 by more than 2 %, or
files or threads differ anywhere.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "engine")]

RATE = 24
AROUND = 240  # frames before and after a mark: 20 s, the length of a segment (`segments.Rule`)
EVERY = 2  # frames
ALLOWED, JUDGED = 0.02, 10_000


@dataclass
class Mark:
    """What was seen around one frame; MiB, and numbers of open files and of threads."""

    resident: list[float] = field(default_factory=list)
    in_use: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def look(self, heap: Callable[[], float]) -> None:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        self.resident.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
        self.in_use.append(heap())
        self.files.append(len(os.listdir("/proc/self/fd")))
        self.threads.append(len(os.listdir("/proc/self/task")))

    @property
    def counted(self) -> tuple[str, str]:
        """The least and the most."""
        return _span(self.files), _span(self.threads)


def make_source(folder: Path, seconds: int, size: tuple[int, int]) -> Path:
    """A minute of pictures and sound, repeated packet by packet."""
    import av
    from video import media

    minute = media.write_clip(
        folder / "minute.mkv",
        frames=60 * RATE,
        rate=RATE,
        size=size,
        time_base=Fraction(1, 1000),
        audio=[{"codec": "aac", "language": "eng"}],
    ).path
    path = folder / "long.mkv"
    with av.open(str(path), "w") as out, av.open(str(minute)) as first:
        into = {s.index: out.add_stream_from_template(s, opaque=True) for s in first.streams}
        for lap in range(-(-seconds // 60)):
            with av.open(str(minute)) as source:
                for packet in source.demux():
                    if not packet.size or (packet.pts or 0) < 0:
                        continue
                    shift = round(lap * 60 / packet.time_base)
                    packet.pts += shift
                    packet.dts = None if packet.dts is None else packet.dts + shift
                    packet.stream = into[packet.stream.index]
                    out.mux(packet)
    return path


def run(source: str, target: Path, marks: list[int]) -> dict[int, Mark]:
    """What this process takes around each of these frames."""
    from standins import Darker

    from vdeblur.engine.deblurrer import Deblurrer
    from vdeblur.jobs import deblur
    from vdeblur.jobs.plan import Options, make_plan

    Deblurrer.load = lambda *a, **o: Deblurrer(Darker(), device="cpu", precision="fp32", backend="torch")
    found = {mark: Mark() for mark in marks}
    heap = _heap()
    began = time.perf_counter()

    def tell(event: Any) -> None:
        if not isinstance(event, deblur.Progress):
            return
        mark = min(marks, key=lambda m: abs(m - event.frames))
        if event.frames % EVERY or not mark - AROUND <= event.frames < mark + AROUND:
            return
        found[mark].look(heap)
        if event.frames == mark:
            rate = event.frames / (time.perf_counter() - began)
            resident = found[mark].resident[-1]
            print(f"frame {mark}: {resident:.1f} MiB, {rate:.0f} frames/s", file=sys.stderr, flush=True)

    options = Options(model="mimo-unet-tiny", preset="ultrafast", codec="h264")
    result = deblur.run(make_plan(source, target, options), tell)
    receipt = "none" if result.receipt is None else result.receipt.line()
    print(f"{result.ledger.frames} frames, {result.ledger.true_fps:.0f} frames/s; {receipt}", flush=True)
    return found


def _heap() -> Callable[[], float]:
    """MiB that malloc has given out (the GNU C library), without what it keeps for later."""

    names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks")

    class Info(ctypes.Structure):
        _fields_ = tuple((name, ctypes.c_size_t) for name in (*names, "keepcost"))

    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = Info

    def in_use() -> float:
        info = ask()
        return float(info.uordblks + info.hblkhd) / 2**20

    return in_use


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--size", default="96x64")
    parser.add_argument("--pipe", action="store_true", help="through stdin, which leaves no journal")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    frames = int(asked.hours * 3600 * RATE)
    marks = [
        m for m in (1000, 5000, 10_000, 25_000, 50_000, 100_000, 150_000, 172_000) if m + AROUND < frames
    ]
    if asked.child:
        found = run(asked.child[0], Path(asked.child[1]), marks)
        return _table(found)
    width, height = (int(v) for v in asked.size.split("x"))
    with tempfile.TemporaryDirectory(prefix="vdeblur-hours-") as name:
        source = make_source(Path(name), int(asked.hours * 3600), (width, height))
        print(f"source: {asked.hours:g} h of {asked.size}, {source.stat().st_size >> 20} MiB", flush=True)
        words = [sys.executable, __file__, "--hours", str(asked.hours)]
        if asked.pipe:
            with source.open("rb") as file:
                cat = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
            words += ["--child", "-", f"{name}/out.mkv"]
            return subprocess.run(words, stdin=cat.stdout, check=False).returncode
        return subprocess.run([*words, "--child", str(source), f"{name}/out.mkv"], check=False).returncode


def _table(found: dict[int, Mark]) -> int:
    base = found[1000]
    print(
        f"{'frame':>8}  {'resident':>10}  {'of frame 1000':>13}  {'in use':>10}  {'files':>7}  {'threads':>7}"
    )
    failed = False
    for mark, now in found.items():
        resident, in_use = _mean(now.resident), _mean(now.in_use)
        off = resident / _mean(base.resident) - 1
        failed |= mark == JUDGED and abs(off) > ALLOWED
        failed |= now.counted != base.counted
        files, threads = now.counted
        print(f"{mark:>8}  {resident:>6.1f} MiB  {off:>+13.2%}  {in_use:>6.2f} MiB  {files:>7}  {threads:>7}")
    return 1 if failed else 0


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _span(values: list[int]) -> str:
    return f"{min(values)} to {max(values)}"


if __name__ == "__main__":
    sys.exit(main())
