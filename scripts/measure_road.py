"""The road around the network, in figures: python scripts/measure_road.py WHAT --clips DIR

    clips       only make the clips that the others need, and keep them in DIR
    bare        --strength 0 against a bare PyAV decode -> encode with the same settings, 1280x720
    stopwatch   what bench says of 200 frames, against a clock around the command
    linear      seconds by pixels (180p to 1080p) and by frames (50 to 400), memory; --svg FILE draws them
    presets     processor milliseconds for a megapixel by encoder and preset (`paces` in video/encoders.py)

Clocks of a machine with other work on it say little: `bare` takes turns and prints the ratio of the best
laps and that of processor seconds. `--model` and `--precision` as in `vdeblur` (mimo-unet-tiny, auto).
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from vdeblur.jobs import deblur
from vdeblur.jobs.plan import Options, Plan, make_plan
from vdeblur.measure import reel, whole
from vdeblur.video.encoders import ENCODERS
from vdeblur.video.encoding import configure

SIZES = ((320, 180), (640, 360), (960, 540), (1280, 720), (1920, 1080))
FRAMES = (50, 100, 200, 400)
OF_SIZES, AT = 50, (640, 360)  # frames at each size; the size of the clips of many frames


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["clips", "bare", "stopwatch", "linear", "presets"])
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR")
    parser.add_argument("--model", default="mimo-unet-tiny")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--preset", help="of the encoder (bare)")
    parser.add_argument("--rounds", type=int, default=5, help="laps of each (best counts)")
    parser.add_argument("--frames", type=int, default=100, help="of the clip (bare)")
    parser.add_argument("--svg", type=Path, metavar="FILE")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command does
    asked.clips.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=asked.clips) as folder:
        if asked.what == "clips":
            clip(asked.clips, (1280, 720), asked.frames)
            for size in SIZES:
                clip(asked.clips, size, OF_SIZES)
            for count in FRAMES:
                clip(asked.clips, AT, count)
            return 0
        what = {"bare": bare, "stopwatch": stopwatch, "linear": linear, "presets": presets}
        return what[asked.what](asked, Path(folder))


def clip(folder: Path, size: tuple[int, int], count: int) -> Path:
    path = folder / f"{size[0]}x{size[1]}-{count}.mp4"
    if not path.exists():
        reel.write_clip(path, *size, count)
    return path


def bare(asked: argparse.Namespace, folder: Path) -> int:
    """The whole of each side: opening, all frames, closing; for the road with planning, copy and verify."""
    source = clip(asked.clips, (1280, 720), asked.frames)
    options = Options(strength=0.0, preset=asked.preset, overwrite=True)
    plan = make_plan(str(source), folder / "road.mp4", options)
    assert plan.output is not None
    print(f"{source.name}, {plan.output.encoder} {plan.output.options}")
    laps: dict[str, list[tuple[float, float]]] = {"bare": [], "road": []}
    for _ in range(asked.rounds):
        laps["bare"].append(timed(lambda: transcode(plan, folder / "bare.mp4")))
        laps["road"].append(timed(lambda: deblur.run(make_plan(str(source), folder / "road.mp4", options))))
    wall, cpu = ({side: min(lap[k] for lap in laps[side]) for side in laps} for k in (0, 1))
    for side in laps:
        rate, work = asked.frames / wall[side], cpu[side] / asked.frames * 1000
        print(f"{side}: {rate:.2f} frames/s, {work:.2f} processor ms a frame")
    rate, work = wall["bare"] / wall["road"], cpu["bare"] / cpu["road"]
    print(f"the road reaches {rate:.1%} of the bare rate; by processor seconds {work:.1%}")
    return int(rate < 0.95)


def transcode(plan: Plan, target: Path) -> None:
    """Decode and encode with the plan's settings, as short as PyAV lets one write it."""
    assert plan.output is not None
    with av.open(plan.clip.source) as source, av.open(str(target), "w") as output:
        video = source.streams.video[0]
        video.thread_type = "AUTO"
        stream = output.add_stream(plan.output.encoder, rate=video.average_rate)
        layout = plan.clip.picture.layout
        configure(
            stream.codec_context, plan.output, plan.clip, (layout.width, layout.height), video.time_base
        )
        for frame in source.decode(video):
            frame.pict_type = 0
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """(seconds, processor seconds)"""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begin, time.process_time() - begin_cpu


def stopwatch(asked: argparse.Namespace, folder: Path) -> int:
    """In turns: the whole as bench measures it, and the command with a clock around it; the best of each."""
    source, count = clip(asked.clips, AT, 200), 200
    network = ["--model", asked.model, "--precision", asked.precision]
    words = [str(source), "-o", str(folder / "out.mp4"), "--overwrite", "--quiet", *network]
    said, laps = [], []
    for _ in range(asked.rounds):
        found = whole.judged(whole.run(source, folder / "bench.mp4", network), [])
        said.append(found.start_up_s + found.first_frame_s + (count - 1) / found.steady_fps)
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "vdeblur", *words], check=True)
        laps.append(time.perf_counter() - begin)
        print(
            f"bench: {found.start_up_s:.2f} s start-up + {found.first_frame_s:.2f} s to the first frame + "
            f"{count - 1} frames at {found.steady_fps:.2f}/s = {said[-1]:.2f} s; a clock around that run: "
            f"{found.total_s:.2f} s ({said[-1] / found.total_s - 1:+.1%}), around the next: {laps[-1]:.2f} s",
            flush=True,
        )
    apart = min(said) / min(laps) - 1
    print(f"the best of each: {min(said):.2f} s and {min(laps):.2f} s, apart by {apart:+.1%}")
    return int(abs(apart) > 0.05)


def linear(asked: argparse.Namespace, folder: Path) -> int:
    """Each run a process of its own; the seconds are those after the first frame was written.

    Drawn and fitted are processor seconds, which other work disturbs less (a clock where they are unknown).
    """
    words = ["--model", asked.model, "--precision", asked.precision]
    by_size: list[tuple[float, float, float]] = []
    print("| size | ms a frame | processor ms a frame | a megapixel | MiB at most |\n|---|---|---|---|---|")
    for size in SIZES:
        ms, cpu_ms, memory = cost(clip(asked.clips, size, OF_SIZES), folder, words, asked.rounds)
        megapixels = size[0] * size[1] / 1e6
        by_size.append((megapixels, cpu_ms, memory))
        each = f"{ms:.1f} | {cpu_ms:.1f} | {cpu_ms / megapixels:.1f}"
        print(f"| {size[0]}x{size[1]} | {each} | {memory:.0f} |", flush=True)
    by_count: list[tuple[float, float, float]] = []
    print("\n| frames at 640x360 | seconds | processor seconds | MiB at most |\n|---|---|---|---|")
    for count in FRAMES:
        ms, cpu_ms, memory = cost(clip(asked.clips, AT, count), folder, words, asked.rounds)
        by_count.append((count, cpu_ms * count / 1000, memory))
        print(f"| {count} | {ms * count / 1000:.2f} | {by_count[-1][1]:.2f} | {memory:.0f} |", flush=True)
    for name, rows in (("pixels", by_size), ("frames", by_count)):
        x, y = (np.array([row[k] for row in rows]) for k in (0, 1))
        slope, rest = np.polyfit(x, y, 1)
        likeness = np.corrcoef(x, y)[0, 1] ** 2
        print(f"by {name}: R^2 {likeness:.5f}, {rest / y[-1]:+.1%} of the largest at zero, slope {slope:.4g}")
    print(f"memory: {by_count[-1][2] - by_count[0][2]:+.0f} MiB from {FRAMES[0]} to {FRAMES[-1]} frames")
    if asked.svg is not None:
        asked.svg.write_text(drawn(by_size, by_count), encoding="utf-8")
    return 0


def cost(source: Path, folder: Path, words: list[str], rounds: int) -> tuple[float, float, float]:
    """(milliseconds a frame after the first, processor milliseconds, MiB at most) of the cheapest run."""
    found = []
    for _ in range(rounds):
        run = whole.run(source, folder / "out.mp4", words)
        totals, first = run.report["totals"], run.report["frames"][0]["written_after_s"]
        start_s, rest = run.total_s - totals["wall_s"], totals["frames"] - 1
        cpu_s = whole.cpu_between(run.cpu, start_s + first, run.total_s)
        wall_s = totals["wall_s"] - first
        used_s = wall_s if cpu_s is None else cpu_s
        found.append((wall_s / rest * 1000, used_s / rest * 1000, run.memory_mib or most_mib()))
    return min(found, key=lambda each: each[1])


def presets(asked: argparse.Namespace, folder: Path) -> int:
    """40 frames of 640x360 at each encoder's default quality; the size says what a faster preset costs."""
    frames = list(reel.frames(*AT, 40))
    megapixels = len(frames) * AT[0] * AT[1] / 1e6
    print("| encoder | preset | processor ms a megapixel | kB |\n|---|---|---|---|")
    os.environ.setdefault("SVT_LOG", "1")
    for name, table in ENCODERS.items():
        for preset, _ in table.paces:
            pictures = [reel.picture(frame) for frame in frames]
            context = av.CodecContext.create(name, "w")
            context.width, context.height, context.pix_fmt = *AT, "yuv420p"
            context.time_base, context.framerate = frames[0].time_base, reel.RATE
            context.options = {str(table.quality): str(table.default), str(table.preset): preset}
            if name == "libx265":
                context.options |= {"x265-params": "log-level=none"}
            begin = time.process_time()
            size = sum(packet.size for picture in [*pictures, None] for packet in context.encode(picture))
            ms = (time.process_time() - begin) * 1000 / megapixels
            print(f"| {name} | {preset} | {ms:.1f} | {size / 1000:.0f} |", flush=True)
    return 0


def most_mib() -> float:
    """Where /proc does not say it: the largest of all children so far."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def drawn(by_size: list[tuple[float, float, float]], by_count: list[tuple[float, float, float]]) -> str:
    """Two plots side by side: cost as points and its straight line, memory as squares."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="860" height="330" font-size="12"',
        ' font-family="sans-serif">',
        '<rect width="860" height="330" fill="white"/>',
        plot(50, by_size, "megapixels a frame (50 frames)", "processor ms a frame"),
        plot(480, by_count, "frames (640x360)", "processor s after the first frame"),
        "</svg>\n",
    ]
    return "\n".join(parts)


def label(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def plot(left: int, rows: list[tuple[float, float, float]], across: str, up: str) -> str:
    width, top, bottom = 320, 40, 270
    most_x, most_y = max(row[0] for row in rows) * 1.05, max(row[1] for row in rows) * 1.1
    most_m = max(row[2] for row in rows) * 1.6

    def at(x: float, y: float, most: float) -> tuple[float, float]:
        return left + x / most_x * width, bottom - y / most * (bottom - top)

    x, y = (np.array([row[k] for row in rows]) for k in (0, 1))
    slope, rest = np.polyfit(x, y, 1)
    (x0, y0), (x1, y1) = at(0, max(rest, 0), most_y), at(x[-1], slope * x[-1] + rest, most_y)
    lines = [
        f'<path d="M{left} {top}V{bottom}H{left + width}" fill="none" stroke="black"/>',
        f'<path d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" stroke="#1f5fbf" fill="none"/>',
        f'<text x="{left}" y="{top - 12}" fill="#1f5fbf">{up}</text>',
        f'<text x="{left + width}" y="{top - 12}" text-anchor="end" fill="#b0501e">MiB at most</text>',
        f'<text x="{left + width / 2}" y="{bottom + 40}" text-anchor="middle">{across}</text>',
    ]
    for a, b, memory in rows:
        (px, py), (mx, my) = at(a, b, most_y), at(a, memory, most_m)
        lines += [
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" fill="#1f5fbf"/>',
            f'<text x="{px + 6:.1f}" y="{py + 13:.1f}" fill="#1f5fbf">{b:.3g}</text>',
            f'<rect x="{mx - 3.5:.1f}" y="{my - 3.5:.1f}" width="7" height="7" fill="#b0501e"/>',
            f'<text x="{mx:.1f}" y="{my - 8:.1f}" text-anchor="middle" fill="#b0501e">{memory:.0f}</text>',
            f'<text x="{px:.1f}" y="{bottom + 18}" text-anchor="middle" font-size="10">{label(a)}</text>',
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
