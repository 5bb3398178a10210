"""What this machine can do, found by trying: devices, encoders that really encode, runtimes, expected speed.

Every look is isolated: what fails is a line of the report that says why, never the end of it. Nothing heavy
is imported before `examine` is called.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from vdeblur import __version__
from vdeblur.errors import MissingRuntimeError, to_install

SIZES = ((640, 360), (1280, 720))
SPEED_NAMES = ("mimo-unet-tiny", "mimo-unet-small", "mimo-unet")
ENCODED_FRAMES = 60  # more than an encoder holds back
ENCODER_SIDE = 256
"""NVENC refuses anything much smaller."""

_DEBIAN = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libxcb.so.1": "libxcb1",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
}
"""System libraries that wheels need and small installations lack, and the Debian package of each."""

Finding = tuple[str, bool]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `works` is False where it is missing or failed; `found` says why then."""

    subject: str
    found: str
    works: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was looked at, in the order of reading."""

    checks: tuple[Check, ...]

    def describe(self) -> list[tuple[str, str]]:
        """In words, for the terminal."""
        return [
            (check.subject, check.found if check.works else f"no: {check.found}") for check in self.checks
        ]

    def of(self, subject: str) -> list[Check]:
        return [check for check in self.checks if check.subject == subject]


def examine() -> Report:
    """Look at everything; takes some seconds, most of them for the speed of the networks."""
    looks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("version", _versions),
        ("processor", _processor),
        ("memory", _memory),
        ("GPU", _gpus),
        ("encoder", _encoders),
        ("runtime", _runtimes),
        ("weights", _weights),
        ("speed", _speed),
    )
    return Report(tuple(check for subject, look in looks for check in _looked(subject, look)))


def _looked(subject: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Check]:
    """The findings of one look; an error is its last finding."""
    try:
        for found, works in look():
            yield Check(subject, found, works)
    except Exception as error:
        yield Check(subject, _one_line(error), works=False)


def _versions() -> Iterator[Finding]:
    yield f"vdeblur {__version__}, Python {platform.python_version()}, {platform.platform()}", True
    yield from _tried("av", lambda av: f"av {av.__version__} with FFmpeg {av.ffmpeg_version_info}")
    yield from _tried(
        "torch", lambda torch: f"torch {torch.__version__}, CUDA {torch.version.cuda or 'not in it'}"
    )
    for name in ("numpy", "safetensors"):
        yield from _tried(name, lambda module: f"{module.__name__} {module.__version__}")


def _processor() -> Iterator[Finding]:
    from vdeblur.engine.decision import decide
    from vdeblur.engine.device import choose, cpu_features, cpu_threads
    from vdeblur.weights import places
    from vdeblur.weights.store import resolve

    choice = choose("cpu", "auto", "auto")
    features = ", ".join(sorted(cpu_features())) or "none known"
    yield f"{choice.name}, {cpu_threads()} of {os.cpu_count()} cores may be used", True
    yield f"extensions: {features} (bf16 and VNNI are the fast ones)", True
    for name in places.shipped():
        decision = decide(resolve(name, None, "cpu"), "cpu", "auto", "auto")
        why = f" ({decision.why})" if decision.why else ""
        yield f"{name} runs in {decision.choice.precision}{why} with {decision.choice.backend} on it", True


def _memory() -> Iterator[Finding]:
    from vdeblur.engine.budget import free_bytes

    yield f"{free_bytes('cpu') / 2**30:.1f} GiB free", True


def _gpus() -> Iterator[Finding]:
    from vdeblur.engine.device import check_choice, choose

    for kind in ("cuda", "mps") if sys.platform == "darwin" else ("cuda",):
        try:
            check_choice(kind, "auto", "auto")
        except MissingRuntimeError as error:
            yield str(error).partition(": ")[2].partition(";")[0], False
            continue
        if kind == "mps":
            choice = choose("mps", "auto", "auto")
            yield f"{choice.name}, precision {choice.precision}", True
            continue
        import torch

        for index in range(torch.cuda.device_count()):
            yield _cuda_device(index)


def _cuda_device(index: int) -> Finding:
    """One CUDA device, and whether the installed torch has kernels for it."""
    import torch

    from vdeblur.engine.budget import free_bytes
    from vdeblur.engine.device import choose

    properties = torch.cuda.get_device_properties(index)
    words = (
        f"cuda:{index} {properties.name}, compute capability {properties.major}.{properties.minor}, "
        f"{properties.total_memory / 2**30:.1f} GiB"
    )
    try:
        precision = choose(f"cuda:{index}", "auto", "auto").precision
        return f"{words} ({free_bytes(f'cuda:{index}') / 2**30:.1f} free), precision {precision}", True
    except Exception as error:
        return f"{words}: {_one_line(error)}", False


def _encoders() -> Iterator[Finding]:
    from vdeblur.video.encoders import ENCODERS

    for name, encoder in ENCODERS.items():
        try:
            yield f"{name} ({encoder.family}) works: {_encoded_bytes(name)} bytes for a frame", True
        except Exception as error:
            reason = getattr(error, "strerror", None) or _one_line(error)
            words = f"no hardware or driver for it here ({reason})" if encoder.quality == "cq" else reason
            yield f"{name} ({encoder.family}): {words}", False


def _encoded_bytes(name: str) -> int:
    """Encode one grey frame; raises whatever is in the way."""
    import av

    os.environ.setdefault("SVT_LOG", "1")
    context: Any = av.CodecContext.create(name, "w")
    formats = [entry.name for entry in context.codec.video_formats or ()]
    context.pix_fmt = "yuv420p" if "yuv420p" in formats or not formats else formats[0]
    context.width = context.height = ENCODER_SIDE
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.options = {"x265-params": "log-level=none"} if name == "libx265" else {}
    frame = av.VideoFrame(ENCODER_SIDE, ENCODER_SIDE, context.pix_fmt)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.pts, frame.time_base = 0, context.time_base
    size = sum(int(packet.size) for packet in [*context.encode(frame), *context.encode(None)])
    if size == 0:
        raise RuntimeError("opens, but gives no picture")
    return size


def _runtimes() -> Iterator[Finding]:
    yield from _tried("cv2", lambda cv2: f"OpenCV {cv2.__version__} (windows, optical flow, training pairs)")
    yield from _tried(
        "openvino",
        lambda ov: f"openvino {ov.__version__}, devices: {', '.join(ov.Core().available_devices)}",
        f"not installed (fast inference on CPUs): {to_install('vdeblur[openvino]')}",
    )
    for name, purpose in (
        ("onnx", "weights export"),
        ("onnxscript", "weights export"),
        ("nncf", "int8 networks"),
    ):
        try:
            yield f"{name} {importlib.metadata.version(name)} ({purpose})", True
        except importlib.metadata.PackageNotFoundError:
            yield f"{name}: not installed ({purpose}): {to_install(name)}", False
    yield _ffmpeg()


def _ffmpeg() -> Finding:
    binary = shutil.which("ffmpeg")
    if binary is None:
        return "ffmpeg: no such program in PATH (only --encoder ffmpeg needs it)", False
    done = subprocess.run([binary, "-version"], capture_output=True, text=True, timeout=20, check=False)
    first = (done.stdout.splitlines() or [""])[0]
    version = first.removeprefix("ffmpeg version ").partition(" ")[0]
    return f"ffmpeg {version or 'of unknown version'} at {binary} (--encoder ffmpeg)", done.returncode == 0


def _weights() -> Iterator[Finding]:
    from vdeblur.weights import catalogue, places

    for row in catalogue.rows():
        if row.here:
            count = "" if row.parameters is None else f", {row.parameters:,} parameters"
            yield f"{row.name} ({row.family}{count})", row.family != "broken file"
    if not places.shipped():
        yield f"none in {places.package_folder()}: install vdeblur again", False


def _speed() -> Iterator[Finding]:
    """Frames a second by network and by quality: of each a small picture is timed, the rest is arithmetic."""
    from vdeblur.engine.device import guess_kind
    from vdeblur.jobs import quality
    from vdeblur.jobs.plan import Options
    from vdeblur.weights import places, store

    timed: dict[tuple[str, str], tuple[str, list[str]]] = {}  # by network and precision
    for name in SPEED_NAMES:
        if name not in places.shipped():
            continue
        try:
            what, rates = timed[name, "auto"] = _timed(name, "auto")
            yield f"{what}: about {', '.join(rates)}", True
        except Exception as error:
            yield f"{name}: {_one_line(error)}", False
    for word in quality.QUALITIES:
        try:
            chosen = quality.filled(word, Options().engine())
            name = store.resolve(chosen["model"], None, guess_kind("auto")).name
            key = name, str(chosen["precision"])
            what, rates = timed.get(key) or _timed(*key)
            sharp = ", more where frames are sharp" if quality.skip_sharp(Options(quality=word)) else ""
            yield f"--quality {word}: {what}: about {rates[-1]}{sharp}", True
        except Exception as error:
            yield f"--quality {word}: {_one_line(error)}", False
    yield _encoding_speed()
    yield (
        "these are estimates of the network alone, scaled by pixels; decoding and encoding come on top",
        True,
    )


def _timed(name: str, precision: str) -> tuple[str, list[str]]:
    """A network, where and how it runs; and its rate for each of SIZES."""
    from vdeblur.engine.deblurrer import Deblurrer
    from vdeblur.measure import reel

    with Deblurrer.load(name, precision=precision) as engine:
        seconds = [engine.estimate_s_per_frame(reel.layout(*size)) for size in SIZES]
        where = engine.describe()
    rates = [f"{1 / s:.3g} frames/s at {w}x{h}" for s, (w, h) in zip(seconds, SIZES, strict=True)]
    return f"{name} on {where['device']}, {where['precision']}, {where['backend']}", rates


def _encoding_speed() -> Finding:
    """The default encoder on these cores, alone: what a network must not be faster than."""
    import av

    from vdeblur.measure import reel
    from vdeblur.video.encoders import ENCODERS

    name, table = "libx264", ENCODERS["libx264"]
    width, height = SIZES[0]
    context: Any = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = Fraction(1, reel.RATE), Fraction(reel.RATE)
    context.options = {"crf": str(table.default), "preset": str(table.default_preset)}
    pictures = [reel.picture(frame) for frame in reel.frames(width, height, ENCODED_FRAMES)]
    begin = time.perf_counter()
    for picture in [*pictures, None]:
        context.encode(picture)
    pixels_s = ENCODED_FRAMES * width * height / (time.perf_counter() - begin)
    rates = ", ".join(f"{pixels_s / (w * h):.3g} frames/s at {w}x{h}" for w, h in SIZES)
    return f"encoding with {name}, preset {table.default_preset}: about {rates} on all cores", True


def _tried(name: str, describe: Callable[[Any], str], absent: str = "not installed") -> Iterator[Finding]:
    """A library that must really import, or the reason why it does not and what to install."""
    try:
        yield describe(importlib.import_module(name)), True
    except ModuleNotFoundError as error:
        yield f"{name}: {absent if error.name == name else f'needs {error.name}, not installed'}", False
    except Exception as error:
        yield f"{name}: does not load, {_missing_library(error)}", False


def _missing_library(error: Exception) -> str:
    """Which system library an import failed for, and the package that brings it."""
    found = re.search(r"(lib[\w.+-]+?\.so[\w.]*): cannot open shared object file", str(error))
    if found is None:
        return _one_line(error)
    package = _DEBIAN.get(found[1])
    hint = (
        f"Debian and Ubuntu: apt-get install {package}" if package else "install the package that brings it"
    )
    return f"the system library {found[1]} is missing ({hint})"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
