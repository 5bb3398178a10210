"""Two hours of video at full speed: do memory, open files and threads stay as they were?

    python scripts/two_hours.py [--hours 2] [--size 96x64] [--pipe]

A minute of pictures and sound is repeated by copying its packets; the run is the whole job (decoder, engine
around a network that has learnt nothing, encoder, journal or, with --pipe, stdin).  Resident memory is the
mean over 200 frames around the one that is named.  The exit code is 1 if frame 10 000 differs from frame
1 000 by more than 2 %, or files or threads ever do by more than the segment that is being closed on the side.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "engine")]

RATE = 24
AROUND = 100  # frames before and after a mark that are averaged
ALLOWED, JUDGED = 0.02, 10_000


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


def run(source: str, target: Path, marks: list[int]) -> dict[int, tuple[float, int, int]]:
    """Frame -> mean resident MiB around it, open files, threads; of this process."""
    from standins import Darker

    from vdeblur.engine.deblurrer import Deblurrer
    from vdeblur.jobs import deblur
    from vdeblur.jobs.plan import Options, make_plan

    Deblurrer.load = lambda *a, **o: Deblurrer(Darker(), device="cpu", precision="fp32", backend="torch")
    sums: dict[int, list[float]] = {mark: [] for mark in marks}
    found: dict[int, tuple[float, int, int]] = {}
    page = os.sysconf("SC_PAGE_SIZE")
    began = time.perf_counter()

    def tell(event: Any) -> None:
        if not isinstance(event, deblur.Progress):
            return
        mark = min(marks, key=lambda m: abs(m - event.frames)) if event.frames % 10 == 0 else 0
        if not mark or abs(mark - event.frames) > AROUND:
            return
        resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * page / 2**20
        sums[mark].append(resident)
        if event.frames == mark:
            threads = next(
                line
                for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines()
                if line.startswith("Threads")
            )
            found[mark] = (0.0, len(os.listdir("/proc/self/fd")), int(threads.split()[1]))
            rate = event.frames / (time.perf_counter() - began)
            print(f"frame {mark}: {resident:.1f} MiB, {rate:.0f} frames/s", file=sys.stderr, flush=True)

    options = Options(model="mimo-unet-tiny", preset="ultrafast", codec="h264")
    result = deblur.run(make_plan(source, target, options), tell)
    receipt = "none" if result.receipt is None else result.receipt.line()
    print(f"{result.ledger.frames} frames, {result.ledger.true_fps:.0f} frames/s; {receipt}", flush=True)
    return {mark: (sum(sums[mark]) / len(sums[mark]), *found[mark][1:]) for mark in found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--size", default="96x64")
    parser.add_argument("--pipe", action="store_true", help="through stdin, which leaves no journal")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    frames = int(asked.hours * 3600 * RATE)
    marks = [m for m in (1000, 10_000, 25_000, 50_000, 100_000, 150_000, 172_000) if m + AROUND < frames]
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


def _table(found: dict[int, tuple[float, int, int]]) -> int:
    base, files, threads = found[1000]
    print(f"{'frame':>8}  {'memory':>10}  {'of frame 1000':>13}  {'files':>5}  {'threads':>7}")
    failed = False
    for mark, (resident, now_files, now_threads) in found.items():
        off = resident / base - 1
        failed |= mark == JUDGED and abs(off) > ALLOWED
        failed |= abs(now_files - files) > 1 or abs(now_threads - threads) > 1
        print(f"{mark:>8}  {resident:>6.1f} MiB  {off:>+13.2%}  {now_files:>5}  {now_threads:>7}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
