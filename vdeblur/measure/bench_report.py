"""A benchmark in words: the tables for the terminal, and two benchmarks side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vdeblur.measure.bench_rows import Bench, values
from vdeblur.measure.laps import Laps

Table = tuple[str, list[tuple[str, ...]]]
"""A title and lines, the first of them the head."""

_LAPS = ("frames/s", "p50 ms", "p95 ms", "p99 ms", "best ms", "spread", "laps")


def tables(found: Bench) -> list[Table]:
    """What is printed, in the order of reading."""
    network = found.network
    clocks = [
        ("unsynchronised wall clock: what misled the field", network.launched),
        ("synchronised wall clock", network.synchronised),
        ("device events", network.device_events),
    ]
    by_clock = [("clock", *_LAPS), *((name, *_cells(laps)) for name, laps in clocks)]
    by_stage = [
        ("stage", "frames/s", "ms a frame", "lap p50 ms", "p95 ms", "p99 ms"),
        *(
            (stage.name, rate(stage.fps), *map(_ms, (stage.s_per_frame, *stage.laps.percentiles_s)))
            for stage in found.stages
        ),
    ]
    made = [("The network alone", by_clock), ("Each stage alone", by_stage)]
    if found.whole is not None:
        made.append(("The whole, file to file", list(_whole(found))))
    return made


def remarks(found: Bench) -> list[tuple[str, str]]:
    """What the figures belong to, and what to think of them."""
    engine, machine, work, parity = found.engine, found.machine, found.network.work, found.parity
    where = (
        f"{engine['device_name']} ({engine['device']}), {engine['precision']}, backend {engine['backend']}"
    )
    threads = f", {engine['threads']} threads" if engine.get("threads") else ""
    lines = [
        ("network", f"{engine['model']} at {found.width}x{found.height}, tile {engine['tile']}"),
        ("on", f"{where}{threads}"),
        *_way(engine),
        ("pictures", found.source),
    ]
    if not found.machine["gpu"] and found.network.device_events is None:
        lines.append(("clocks", "a processor works while it is asked: the first two are the same laps"))
    if gpu := machine["gpu"]:
        said = (f"{name.replace('_', ' ')} {value}" for name, value in gpu.items() if value is not None)
        lines.append(("GPU", ", ".join(said) or "nothing known of it (no nvidia-smi)"))
    if work is not None:
        share = (
            "" if work.share is None else f", {work.share:.1%} of {_tera(work.peak_tflops)}: {work.peak_of}"
        )
        lines.append(("arithmetic", f"{work.gmac:.4g} GMAC a frame, {_tera(work.tflops)} reached{share}"))
    score = "identical" if parity.psnr_db is None else f"{parity.psnr_db:.2f} dB"
    lines.append(
        (
            "parity",
            f"{score} to float32 eager (planes, range 255), 99.9 % of samples within {parity.p999:.3g}/255, "
            f"all within {parity.greatest:.3g}/255; {parity.frames} frames",
        )
    )
    if found.memory_on_device_mib is not None:
        lines.append(("device memory", f"{found.memory_on_device_mib:.0f} MiB at most"))
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    clock = f", {machine['clock_mhz']:.0f} MHz" if machine["clock_mhz"] else ""
    lines.append(("machine", f"{machine['processor']}, {machine['cores']} cores{clock}; {versions}"))
    return lines + [("warning", text) for text in found.warnings]


def compared(found: Bench, old: Mapping[str, Any]) -> list[Table]:
    """The new figures beside those of a file, and how many times as fast; what else differs first."""
    new = values(found)
    apart = [
        (name, str(before), str(after))
        for name, before, after in (
            ("model", old["engine"]["model"], new["engine"]["model"]),
            ("size", f"{old['width']}x{old['height']}", f"{new['width']}x{new['height']}"),
            *(
                (key, old["engine"][key], new["engine"][key])
                for key in ("precision", "backend", "device_name")
            ),
            ("weights", old["engine"]["weights_sha256"][:12], new["engine"]["weights_sha256"][:12]),
            ("pictures", old["source"], new["source"]),
        )
        if before != after
    ]
    lines = [
        (name, rate(before), rate(after), f"{after / before:.3f}") for name, before, after in _rates(old, new)
    ]
    made: list[Table] = [("Compared", [("frames/s", "before", "now", "times"), *lines])]
    return [("Not the same", [("", "before", "now"), *apart]), *made] if apart else made


def _way(engine: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "way" in engine:
        at_a_time = f"frames at a time: {engine['frames_at_a_time']}"
        yield "way", f"{engine['way']}, {at_a_time}, chosen by {engine['trial_ms_per_frame']:.3g} ms a frame"


def _rates(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    yield "network alone", old["network"]["fps"], new["network"]["fps"]
    before = {stage["name"]: stage["fps"] for stage in old["stages"]}
    for stage in new["stages"]:
        if stage["name"] in before and stage["name"] != "network":
            yield stage["name"], before[stage["name"]], stage["fps"]
    if old["whole"] and new["whole"]:
        yield "the whole, steady", old["whole"]["steady_fps"], new["whole"]["steady_fps"]
        yield "the whole, true", old["whole"]["true_fps"], new["whole"]["true_fps"]


def _whole(found: Bench) -> Iterator[tuple[str, ...]]:
    whole = found.whole
    assert whole is not None
    yield "", "", ""
    stretch = f"but for the first {whole.warm_up_frames} of {whole.frames} frames"
    if not whole.warm_up_frames:
        stretch = f"from the first of {whole.frames} frames until the file is whole"
    yield "steady", rate(whole.steady_fps), f"frames/s, {stretch}"
    low, middle, high = map(_ms, whole.between.percentiles_s)
    yield "between frames", low, f"ms p50, {middle} p95, {high} p99"
    yield "true", rate(whole.true_fps), "frames/s, opening and closing included"
    yield "first frame", f"{whole.first_frame_s:.3f}", "s after the run begins: weights, warm-up, one frame"
    yield "closing", f"{whole.close_s:.3f}", "s after the encoder took the last frame"
    yield "start-up", f"{whole.start_up_s:.3f}", "s around the run: program, plan, end"
    yield "command", f"{whole.total_s:.3f}", "s by a clock outside of it"
    if whole.overlap is not None:
        yield "overlap", f"{whole.overlap:.3f}", "of the rate of the slowest stage alone"
    if whole.over_sum is not None:
        yield "against the sum", f"{whole.over_sum:.3f}", "times network + decode + encode alone"
    if whole.over_sum_cpu is not None:
        yield "in processor time", f"{whole.over_sum_cpu:.3f}", "times the same sum; others disturb it less"
    if whole.memory_mib is not None:
        yield "memory", f"{whole.memory_mib:.0f}", "MiB at most, of a fresh process"


def _cells(laps: Laps | None) -> tuple[str, ...]:
    if laps is None:
        return ("-",) * len(_LAPS)
    times = map(_ms, (*laps.percentiles_s, laps.best_s))
    return (rate(laps.fps), *times, f"{laps.spread:.1%}", str(laps.count))


def rate(fps: float) -> str:
    return f"{fps:.0f}" if fps >= 1000 else f"{fps:.4g}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f}" if seconds >= 1 else f"{seconds * 1000:.3g}"


def _tera(tflops: float | None) -> str:
    return "unknown" if tflops is None else f"{tflops:.3g} TFLOP/s"
