"""Speed, measured so that it cannot flatter: the network by three clocks, each stage alone, the whole.

Everything goes through the real path: the engine's own lanes, the reader, the writer, and for the whole the
command itself. Beside each figure stand what it was measured on, how far it spread, the share of what the
device can do at most, and how far the pictures are from those of plain float32.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from vdeblur.engine.device import guess_kind
from vdeblur.errors import InputError
from vdeblur.frame import Frame
from vdeblur.jobs.asked import NetworkAsk
from vdeblur.measure import alone, machine, reel
from vdeblur.measure.bench_rows import LEAST_FRAMES, WARM_UP_FRAMES, Bench, Stage, Whole

if TYPE_CHECKING:
    from vdeblur.video.clip import Clip

SIZE = (720, 1280)  # height, width
MOST_FRAMES = 300
SLOW_S = 5.0
"""A network that takes longer for a frame is compared with float32 on one picture only."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Asked(NetworkAsk):
    """The options of `vdeblur bench`; `size` is (height, width)."""

    size: tuple[int, int] | None = None
    frames: int | None = None
    input: Path | None = None

    def values(self) -> dict[str, Any]:
        """Plain values for JSON."""
        own = dataclasses.asdict(self)
        return {name: str(value) if isinstance(value, Path) else value for name, value in own.items()}

    def words(self) -> list[str]:
        """The engine's on the command line of a run."""
        given = {k: v for k, v in self.engine().items() if v not in (None, "auto")}
        return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def check(asked: Asked) -> None:
    """Refuse what cannot be measured, before anything heavy is loaded (InputError)."""
    if asked.size is not None and asked.input is not None:
        raise InputError("--size is for clips made on the spot: leave it out with --input")
    if asked.size is not None and (min(asked.size) < 64 or asked.size[0] % 2 or asked.size[1] % 2):
        height, width = asked.size
        raise InputError(f"--size {width}x{height}: both sides must be even, 64 at least")
    if asked.frames is not None and asked.frames < LEAST_FRAMES:
        raise InputError(f"--frames {asked.frames}: {LEAST_FRAMES} at least, or nothing can be called steady")
    if asked.input is not None and not asked.input.is_file():
        raise InputError(f"--input {asked.input}: no such file")
    if asked.input is not None and importlib.util.find_spec("av") is None:
        raise InputError(f"--input {asked.input}: reading it needs PyAV, not installed here; pip install av")


def bench(asked: Asked, tell: Tell = lambda what: None) -> Iterator[Bench]:
    """Measure; what there is before the whole comes first, so that nothing can take it away, then all of it.

    Raises VdeblurError for what cannot run. `tell` hears what is being done.
    """
    check(asked)
    from vdeblur.engine.deblurrer import Deblurrer
    from vdeblur.measure import untrained, yardstick

    warnings: list[str] = []
    with TemporaryDirectory(prefix="vdeblur-bench-") as name:
        folder = Path(name)
        model, weights, made_up = untrained.find_or_make(
            asked.model, asked.weights, guess_kind(asked.device), folder
        )
        real = dataclasses.replace(asked, model=model, weights=weights)
        if made_up:
            warnings.append(f"{asked.model}: no weights of it here, measured with untrained ones (same work)")
        clip, frames = _pictures(asked)
        tell("opening the network")
        with Deblurrer.load(**real.engine()) as engine:
            engine.estimate_s_per_frame(frames[0].layout)  # the warm-up may refuse a precision
            described = engine.describe(frames[0].layout)
            device = described["device"]
            wait = alone.waiting(device)
            tell("the network alone")
            network = alone.network(engine, frames[0], device, wait)
            described = engine.describe(frames[0].layout)
            now = machine.describe(device)  # clocks as they are under work
            tell("each stage alone")
            stages = alone.steps(engine, frames, network, wait)
            warnings += engine.notes
            results = list(engine.deblur(frames[: 1 if network.synchronised.p50_s > SLOW_S else 3]))
        memory = _device_memory_mib(device)
        tell("the device's peak")
        peak = yardstick.peak(device, described["precision"])
        tell("float32 beside it")
        with Deblurrer.load(
            **real.engine() | {"precision": "fp32", "backend": "torch", "device": device}
        ) as plain:
            operations = yardstick.operations(plain.steps(frames[0])["network"].start)
            parity = alone.parity(list(plain.deblur(frames[: len(results)])), results)
        _release(device)
        network = dataclasses.replace(network, work=alone.work(operations, peak, network.synchronised.p50_s))
        found = Bench(
            asked=asked.values(),
            engine=described
            | {"model": asked.model if made_up else described["model"], "untrained": made_up},
            machine=now,
            width=frames[0].layout.width,
            height=frames[0].layout.height,
            source=str(asked.input) if asked.input else "photographs, panned, with noise (measure/reel.py)",
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            network=network,
            stages=tuple(stages),
            parity=parity,
            whole=None,
            memory_on_device_mib=memory,
            warnings=tuple(dict.fromkeys(warnings)),
        )
        if importlib.util.find_spec("av") is None:
            yield _doubted(found, "PyAV is not installed: decoding, encoding and the whole were not measured")
            return
        yield _doubted(found, "it ended before decoding, encoding and the whole had been measured")
        every, whole = _whole(asked, real, clip, frames[0], found.stages, folder, tell)
        yield _doubted(dataclasses.replace(found, stages=every, whole=whole))


def _whole(
    asked: Asked,
    real: Asked,
    clip: Clip | None,
    frame: Frame,
    stages: Sequence[Stage],
    folder: Path,
    tell: Tell,
) -> tuple[tuple[Stage, ...], Whole]:
    """From file to file, and the stages with both codecs alone around them."""
    from vdeblur.measure import whole as path
    from vdeblur.video.codecs import choose_output

    tell("a clip")
    count = asked.frames or _enough_frames(stages)
    source, end = _clip(asked, clip, frame, count, folder)
    tell("codecs alone")
    decode, held = path.decode_alone(source, end, count)
    suffix = choose_output(source, None).suffix
    encode = path.encode_alone(source, held, folder / f"alone{suffix}", end, real.engine())
    del held
    every = decode, *stages, encode
    tell(f"the whole, {count} frames")
    words = real.words() if end is None else [*real.words(), "--end", str(float(end))]
    return every, path.judged(path.run(source.source, folder / f"whole{suffix}", words), every)


def _doubted(found: Bench, *warnings: str) -> Bench:
    return dataclasses.replace(found, warnings=(*found.warnings, *warnings, *doubts(found)))


def doubts(found: Bench) -> Iterator[str]:
    """What should keep a reader from believing the figures."""
    work, network = found.network.work, found.network.synchronised
    if work is not None and work.share is not None and work.share > 1:
        yield (
            f"the network alone reaches {work.tflops:.3g} TFLOP/s, more than the {work.peak_tflops:.3g} of "
            f"this device's {work.peak_of}: that must be a measuring error"
        )
    threads = found.engine.get("threads")
    if threads and network.cpu_s is not None and network.cpu_s < 0.8 * network.p50_s * threads:
        had = network.cpu_s / network.p50_s
        yield f"the network had {had:.1f} of {threads} cores: others use this machine, rates are too low"
    if network.spread > 0.2:
        yield f"the network's laps spread by {network.spread:.0%}: nothing below that can be told apart"
    if found.whole is not None:
        for fate, count in found.whole.fates.items():
            if fate != "deblurred":
                yield f"{count} of {found.whole.frames} frames: {fate}"
        ran, apart = (
            f"{w.get('way')}, {w.get('frames_at_a_time')} at a time" for w in (found.whole.way, found.engine)
        )
        if ran != apart:
            yield f"the whole ran another way than the network alone: {ran}; not {apart}"
        if found.whole.overlap is not None and found.whole.overlap > 1.1:
            yield (
                f"the whole is {found.whole.overlap:.2f} times as fast as its slowest stage alone: that must "
                "be a measuring error, or others used this machine meanwhile"
            )


def _pictures(asked: Asked) -> tuple[Clip | None, list[Frame]]:
    """The source where one was named, and frames in memory."""
    if asked.input is None:
        height, width = asked.size or SIZE
        return None, list(reel.frames(width, height, LEAST_FRAMES))
    from vdeblur.video.probing import probe
    from vdeblur.video.reader import Reader

    clip = probe(str(asked.input))
    with Reader(clip) as reader:
        frames = list(itertools.islice(reader, LEAST_FRAMES))
    if len(frames) < LEAST_FRAMES:
        raise InputError(
            f"--input {asked.input}: {len(frames)} frames are too few, {LEAST_FRAMES} are needed"
        )
    return clip, frames


def _enough_frames(stages: Sequence[Stage]) -> int:
    """So many that the whole takes about the budget, and its warm-up twice that at most; else it has none."""
    s_per_frame = next(stage for stage in stages if stage.name == "engine").s_per_frame
    warm_up = WARM_UP_FRAMES if WARM_UP_FRAMES * s_per_frame <= 2 * alone.BUDGET_S else 0
    return max(LEAST_FRAMES, min(MOST_FRAMES, warm_up + round(alone.BUDGET_S / s_per_frame)))


def _clip(
    asked: Asked, clip: Clip | None, frame: Frame, count: int, folder: Path
) -> tuple[Clip, Fraction | None]:
    """The clip of the whole, and where it is to end (None: where it ends)."""
    from vdeblur.video.probing import probe

    if clip is None:
        height, width = asked.size or SIZE
        return probe(str(reel.write_clip(folder / "clip.mp4", width, height, count))), None
    length = clip.picture.duration_from_header_s
    end = count * Fraction(frame.duration or 1) * frame.time_base
    return clip, None if length is not None and end >= length else end


def _device_memory_mib(device: str) -> float | None:
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.max_memory_reserved(device) / 2**20


def _release(device: str) -> None:
    """The device's memory, for the process that comes next."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
