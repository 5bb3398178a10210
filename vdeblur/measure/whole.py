"""The command from file to file, in a process of its own, timed from outside; and its codecs alone.

Memory is that of a fresh process: one that grew out of a large one would count what that held before.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vdeblur.errors import VdeblurError
from vdeblur.frame import Frame
from vdeblur.measure.bench_rows import LEAST_FRAMES, WARM_UP_FRAMES, Stage, Whole
from vdeblur.measure.laps import between
from vdeblur.video.clip import Clip

WAY = ("way", "frames_at_a_time", "trial_ms_per_frame", "opened_in_s")
"""What a run says of how it computes on a GPU."""
HELD_BYTES = 1 << 30
"""Of decoded frames that wait for the encoder's turn."""
_GLANCE_S = 0.02


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ended well: the report it wrote, seconds by a clock outside of it, memory.

    cpu   (seconds since its start, processor seconds until then), as seen now and then; empty but on Linux
    """

    report: Mapping[str, Any]
    total_s: float
    memory_mib: float | None
    cpu: Sequence[tuple[float, float]] = ()


def run(source: Path | str, target: Path, words: Sequence[str]) -> Ran:
    """`vdeblur SOURCE -o TARGET --report ...` in a new process; VdeblurError in its words if it fails."""
    report = target.with_suffix(".json")
    command = [sys.executable, "-m", "vdeblur", str(source), "-o", str(target), "--overwrite", "--quiet"]
    begin = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--report", str(report), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    memory, cpu = None, []
    try:
        while process.poll() is None:
            memory = _peak_mib(process.pid) or memory
            if (so_far := _cpu_s(process.pid)) is not None:
                cpu.append((time.perf_counter() - begin, so_far))
            time.sleep(_GLANCE_S)
    except BaseException:
        process.kill()
        process.wait()
        raise
    total_s = time.perf_counter() - begin
    said = process.stderr.read().strip() if process.stderr else ""
    if process.returncode:
        last = said.splitlines()[-1].removeprefix("vdeblur: ") if said else f"exit code {process.returncode}"
        raise VdeblurError(f"the run that was to be timed failed: {last}")
    return Ran(json.loads(report.read_text(encoding="utf-8")), total_s, memory, cpu)


def judged(ran: Ran, stages: Sequence[Stage]) -> Whole:
    """A run's figures beside those of the stages alone ("network", "engine", "decode", "encode")."""
    totals, written = ran.report["totals"], [frame["written_after_s"] for frame in ran.report["frames"]]
    # Too few, and most would be counted that the encoder has only taken in: then until it has given all.
    warm_up = WARM_UP_FRAMES if len(written) >= WARM_UP_FRAMES + LEAST_FRAMES else 0
    begin_s, end_s = written[warm_up], written[-1] if warm_up else totals["wall_s"]
    steady = between(written[warm_up:] if len(written) > 1 else [0.0, totals["wall_s"]])
    counted = len(written) - warm_up - 1
    fps = counted / (end_s - begin_s) if counted > 0 else totals["true_fps"]
    alone = {stage.name: stage.s_per_frame for stage in stages}
    slowest = max((alone[name] for name in ("decode", "engine", "encode") if name in alone), default=None)
    parts = [stage for stage in stages if stage.name in ("decode", "network", "encode")]
    parts_cpu_s = [stage.laps.cpu_s for stage in parts if stage.laps.cpu_s is not None]
    start_up_s = ran.total_s - totals["wall_s"]
    cpu_s = cpu_between(ran.cpu, start_up_s + begin_s, start_up_s + end_s)
    cpu_s = None if cpu_s is None or counted < 1 else cpu_s / counted
    return Whole(
        frames=len(written),
        warm_up_frames=warm_up,
        start_up_s=start_up_s,
        first_frame_s=written[0],
        steady_fps=fps,
        true_fps=totals["true_fps"],
        close_s=totals["wall_s"] - written[-1],
        total_s=ran.total_s,
        between=steady,
        overlap=None if slowest is None else fps * slowest,
        over_sum=1 / fps / sum(stage.s_per_frame for stage in parts) if len(parts) == 3 else None,
        cpu_s=cpu_s,
        over_sum_cpu=cpu_s / sum(parts_cpu_s) if cpu_s is not None and len(parts_cpu_s) == 3 else None,
        memory_mib=ran.memory_mib,
        fates=totals["fates"],
        busy_s=totals["stages_s"],
        way={key: ran.report["settings"][key] for key in WAY if key in ran.report["settings"]},
    )


def decode_alone(clip: Clip, end: Fraction | None, count: int) -> tuple[Stage, list[Frame]]:
    """Demuxing and decoding as the reader does it; and the first frames, as many as fit into memory."""
    from vdeblur.video.reader import Reader

    held: list[Frame] = []
    begin, begin_cpu = time.perf_counter(), time.process_time()
    stamps = [begin]
    with Reader(clip, end=end) as reader:
        for frame in itertools.islice(reader, count):
            stamps.append(time.perf_counter())
            if (len(held) + 1) * sum(plane.nbytes for plane in frame.planes) < HELD_BYTES:
                held.append(frame)
    count = len(stamps) - 1
    cpu_s = (time.process_time() - begin_cpu) / count
    return Stage("decode", (stamps[-1] - begin) / count, replace(between(stamps), cpu_s=cpu_s)), held


def encode_alone(
    clip: Clip, frames: Sequence[Frame], target: Path, end: Fraction | None, engine: Mapping[str, Any]
) -> Stage:
    """Encoding and muxing as the command does it with these options, until the file is closed.

    The engine's are among them: beside a GPU the encoder has another preset.
    """
    from vdeblur.jobs.plan import Options, make_plan
    from vdeblur.video.carry import Carry
    from vdeblur.video.reader import Reader
    from vdeblur.video.sink import Sink
    from vdeblur.video.writer import Writer

    plan = make_plan(clip.source, target, Options(**engine, end=end, overwrite=True))
    assert plan.output is not None
    assert plan.carried is not None
    with Reader(clip, end=end) as reader:  # for the other streams' templates; nothing is read
        begin, begin_cpu = time.perf_counter(), time.process_time()
        stamps = [begin]
        sink = Sink(target, plan.output, overwrite=True)
        writer = Writer(sink, clip, Carry(plan.carried, reader))
        try:
            for frame in frames:
                writer.write(frame)
                stamps.append(time.perf_counter())
            writer.finish()
        except BaseException:
            writer.abandon()
            raise
        total_s = time.perf_counter() - begin
        cpu_s = (time.process_time() - begin_cpu) / len(frames)
    return Stage("encode", total_s / len(frames), replace(between(stamps), cpu_s=cpu_s))


def cpu_between(seen: Sequence[tuple[float, float]], begin_s: float, end_s: float) -> float | None:
    """Processor seconds of a stretch of a run; None where it was hardly looked at."""
    within = [cpu for at, cpu in seen if begin_s <= at <= end_s]
    times = [at for at, _ in seen if begin_s <= at <= end_s]
    if len(within) < 10:
        return None
    return (within[-1] - within[0]) * (end_s - begin_s) / (times[-1] - times[0])


def _cpu_s(pid: int) -> float | None:
    """Processor seconds that a process has used (Linux): user and system, fields 14 and 15 of its stat."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
        user, system = fields.split()[11:13]
    except (OSError, ValueError):
        return None
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _peak_mib(pid: int) -> float | None:
    """The high-water mark of a process's own memory, which starts anew with its program (Linux)."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s*(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else None
