"""Figures of `vdeblur live` for docs/live.md.

    python scripts/measure_live.py rungs PAIRS             gain in PSNR of every network and resolution
    python scripts/measure_live.py steady [--seconds 60]   a network slowed to 10 fps behind a 30 fps camera
    python scripts/measure_live.py stall [--kind udp]      a stream from another process, silent for 5 s
    python scripts/measure_live.py speed CLIP [options]    rates and ages, with the ladder and without

PAIRS holds <set>/<clip>/{blur,sharp}/*.png.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from vdeblur.data.opencv import opencv
from vdeblur.jobs.live import sources
from vdeblur.jobs.live.ladder import SCALES, Goal, Rung
from vdeblur.jobs.live.live import LiveResult, run
from vdeblur.jobs.live.options import LiveOptions
from vdeblur.jobs.live.rungs import Load, Rungs
from vdeblur.jobs.live.sources import SourceAsk
from vdeblur.jobs.live.view import Status

SENDER = """
import sys, time
from fractions import Fraction
import av
import numpy as np
url, form, seconds, stall_at, stall_s = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:6])
options = {"rtsp_transport": "tcp"} if form == "rtsp" else {}
for _ in range(100):
    try:
        out = av.open(url, "w", format=form, options=options)
        stream = out.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 90000)
        stream.codec_context.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "15"}
        out.start_encoding()
        break
    except av.FFmpegError:
        time.sleep(0.1)
begin = time.monotonic()
number = 0
while (now := time.monotonic() - begin) < seconds:
    if stall_at <= now < stall_at + stall_s:
        time.sleep(0.02)
        continue
    rgb = np.full((360, 640, 3), number % 256, np.uint8)
    rgb[100:200, (4 * number) % 500 :][:, :100] = 255
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    frame.pts, frame.time_base = round(now * 90000), Fraction(1, 90000)
    for packet in stream.encode(frame):
        out.mux(packet)
    number += 1
    time.sleep(max(0.0, begin + number / 30 - time.monotonic()) if now < stall_at else 1 / 31)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    rungs = commands.add_parser("rungs")
    rungs.add_argument("pairs", type=Path)
    rungs.add_argument("--every", type=int, default=3, help="score every n-th frame of a clip only")
    steady = commands.add_parser("steady")
    steady.add_argument("--seconds", type=float, default=60.0)
    stall = commands.add_parser("stall")
    stall.add_argument("--kind", choices=("udp", "rtsp", "tcp"), default="udp")
    stall.add_argument("--silence", type=float, default=5.0, help="seconds")
    speed = commands.add_parser("speed")
    speed.add_argument("clip", type=Path)
    speed.add_argument("--model", default="auto")
    speed.add_argument("--fps", type=float, default=20.0)
    speed.add_argument("--seconds", type=float, default=12.0)
    speed.add_argument("--device", default="auto")
    speed.add_argument("--precision", default="auto")
    speed.add_argument("--backend", default="auto")
    speed.add_argument("--rate", type=Fraction)
    speed.add_argument("--no-ladder", action="store_true")
    asked = parser.parse_args()
    {"rungs": measure_rungs, "steady": measure_steady, "stall": measure_stall, "speed": measure_speed}[
        asked.command
    ](asked)


def measure_rungs(asked: argparse.Namespace) -> None:
    """PSNR over RGB, 8 bit, rounded; means over the pictures of a clip, then over the clips."""
    from vdeblur.engine.deblurrer import Deblurrer
    from vdeblur.frame import Frame
    from vdeblur.metrics import psnr
    from vdeblur.video.formats import layout_of

    for model in ("mimo-unet-small", "mimo-unet-tiny"):
        rungs = Rungs([Rung(model, scale) for scale in SCALES], lambda name: Deblurrer.load(name))
        gains: dict[Fraction, dict[str, float]] = {scale: {} for scale in SCALES}
        for folder in sorted(path.parent for path in asked.pairs.glob("*/*/blur")):
            clip: dict[Fraction, list[float]] = {scale: [] for scale in SCALES}
            for path in sorted((folder / "blur").iterdir())[:: asked.every]:
                blurred, sharp = read(path), read(folder / "sharp" / path.name)
                layout = layout_of("rgb24", blurred.shape[1], blurred.shape[0])
                frame = Frame((blurred,), layout, 0, Fraction(1, 25), 1, 0)
                before = psnr(blurred, sharp, 255)
                for number, scale in enumerate(SCALES):
                    after = rungs.correct(number, frame).planes[0]
                    clip[scale].append(psnr(after, sharp, 255) - before)
            for scale in SCALES:
                gains[scale][f"{folder.parent.name}/{folder.name}"] = mean(clip[scale])
        for scale in SCALES:
            row = gains[scale]
            full = [gain for name, gain in row.items() if not name.startswith("reds_x4")]
            cells = "  ".join(f"{name} {gain:+.3f}" for name, gain in row.items())
            print(f"{model} {scale!s:>4}: 720p {mean(full):+.3f}  all {mean(row.values()):+.3f}  {cells}")


def measure_steady(asked: argparse.Namespace) -> None:
    """A file played as a camera at 30 fps, and a network that takes 100 ms: ages, counts, memory."""
    memory: list[tuple[float, int]] = []

    def watch(status: Status) -> None:
        if not memory or time.monotonic() - memory[-1][0] > 5:
            memory.append((time.monotonic(), resident_bytes()))

    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder) / "clip.mp4", (640, 360), 30)
        options = LiveOptions(SourceAsk(str(clip), loop=True), duration_s=asked.seconds)
        took: list[float] = []
        result = run(options, watch=watch, load=stand_in(0.1, took))
    report(result)
    print(f"network alone: {np.median(took) * 1000:.0f} ms (p50), {np.quantile(took, 0.95) * 1000:.0f} (p95)")
    print(f"not accounted for: {result.captured - result.shown - result.dropped} pictures")
    print("memory in MB: " + " ".join(f"{size / 1e6:.0f}" for _, size in memory))


def stand_in(seconds: float, took: list[float] | None = None) -> Load:
    """The production engine with a network that takes so long and says nothing; `took` gets real times."""
    import torch

    from vdeblur.engine.deblurrer import Deblurrer
    from vdeblur.models.contract import DeblurNetwork, Scales

    class Slow(DeblurNetwork):
        family, multiple_of, reach, half_is_safe = "slow", 4, 0, True

        def correction(self, rgb: torch.Tensor) -> torch.Tensor:
            begin = time.monotonic()
            time.sleep(seconds)
            difference = torch.zeros_like(rgb)
            if took is not None:
                took.append(time.monotonic() - begin)
            return difference

        def scales(self, rgb: torch.Tensor) -> Scales:
            return self.pyramid(rgb)

        def pyramid(self, rgb: torch.Tensor) -> Scales:
            return rgb, rgb[..., ::2, ::2], rgb[..., ::4, ::4]

    return lambda name: Deblurrer(
        Slow(), tile="off", device="cpu", precision="fp32", backend="torch", latency=True
    )


def measure_stall(asked: argparse.Namespace) -> None:
    """How long no new picture is shown when the sender is silent, or (tcp) has gone and comes back."""
    url = {
        "udp": "udp://127.0.0.1:23456",
        "rtsp": "rtsp://127.0.0.1:23457/live",
        "tcp": "tcp://127.0.0.1:23458",
    }[asked.kind]
    if asked.kind == "rtsp":  # no server here: the sender pushes, and the source listens
        listens = {"rtsp_flags": "listen", "listen_timeout": "10"}
        plain = sources._stream_options
        sources._stream_options = lambda address: plain(address) | listens
    target = url + {"udp": "?pkt_size=1316", "rtsp": "", "tcp": "?listen=1"}[asked.kind]
    form = "rtsp" if asked.kind == "rtsp" else "mpegts"
    silence = asked.silence
    network = stand_in(0.03)
    words = [sys.executable, "-c", SENDER, target, form]
    lives = asked.kind == "tcp"
    sender = subprocess.Popen([*words, "4", "99", "0"] if lives else [*words, "99", "8", str(silence)])
    begin = time.monotonic()
    senders = [sender]
    shown: list[tuple[float, int, float]] = []

    def watch(status: Status) -> None:
        shown.append((time.monotonic(), status.shown, status.age_p95_s))
        if lives and len(senders) == 1 and time.monotonic() > begin + 5 and senders[0].poll() is not None:
            gone = next(when for when, count, _ in shown if count == status.shown)
            if time.monotonic() > gone + silence:
                senders.append(subprocess.Popen([*words, "99", "99", "0"]))

    try:
        time.sleep(1.0 if lives else 0.0)
        options = LiveOptions(SourceAsk(url), duration_s=silence + 12)
        run(options, load=network, tell=lambda text: print(f"  {text}"), watch=watch)
    finally:
        for process in senders:
            process.kill()
    news = [now[0] for before, now in itertools.pairwise(shown) if now[1] > before[1]]
    # One picture that the decoder still held may come in the middle, ten seconds late.
    gaps = [(sooner, later) for sooner, later in itertools.pairwise(news) if later - sooner > 1]
    gap = gaps[-1][1] - gaps[0][0]
    print(f"{asked.kind}: silent for {silence:g} s, no new picture for {gap:.2f} s")
    print(f"age p95 at the end {shown[-1][2] * 1000:.0f} ms")


def measure_speed(asked: argparse.Namespace) -> None:
    """What a clip's pictures take, played in a loop, without a window."""
    steps: list[str] = []
    ages: list[float] = []
    settled: list[tuple[float, int]] = []

    def watch(status: Status) -> None:
        settled.append((time.monotonic(), status.shown))
        ages.append(status.age_p95_s)

    options = LiveOptions(
        source=SourceAsk(str(asked.clip), loop=True, rate=asked.rate),
        model=asked.model,
        device=asked.device,
        precision=asked.precision,
        backend=asked.backend,
        goal=Goal() if asked.no_ladder else Goal(fps=asked.fps),
        duration_s=asked.seconds,
    )
    result = run(options, watch=watch, tell=steps.append)
    print("\n".join(steps))
    report(result)
    half = settled[len(settled) // 2 :]
    rate = (half[-1][1] - half[0][1]) / (half[-1][0] - half[0][0])
    print(f"second half: {rate:.1f} fps, age p95 {ages[-1] * 1000:.0f} ms, on {result.step}")


def report(result: LiveResult) -> None:
    print(
        f"{result.seconds:.1f} s: {result.captured} captured, {result.shown} shown, "
        f"{result.dropped} dropped; "
        f"age {result.age_p50_s * 1000:.0f} ms (p50), {result.age_p95_s * 1000:.0f} ms (p95)"
    )


def make_clip(path: Path, size: tuple[int, int], rate: int, seconds: int = 4) -> Path:
    """A drifting pattern with some noise."""
    import av

    noise = np.random.default_rng(0).normal(0, 3, (size[1], size[0], 1))
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.options = {"preset": "ultrafast", "crf": "28"}
        for number in range(rate * seconds):
            wave = 128 + 80 * np.sin((x + 3 * number) / 23.0) * np.cos(y / 17.0)
            rgb = np.clip(wave[..., None] + noise, 0, 255).astype(np.uint8).repeat(3, 2)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def read(path: Path) -> Any:
    """Rows x columns x 3, uint8 RGB."""
    return np.ascontiguousarray(opencv().imread(str(path))[..., ::-1])


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
