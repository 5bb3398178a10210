"""What a benchmark found, as values; as plain values for JSON, and back.

`FORM` numbers the JSON's form: it grows when a key is renamed or means something else, so that `--compare`
never compares different things. Seconds are for one frame everywhere; rates are frames a second.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vdeblur.errors import InputError
from vdeblur.measure.laps import Laps

FORM = 2
WARM_UP_FRAMES = 60
"""Of the whole: more than an encoder takes in before it gives one (x264 on two cores 45)."""
LEAST_FRAMES = 8
"""Fewer cannot be called steady."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a network has to do, and what this device can do at most.

    gmac      10^9 products for a frame, counted as torch carries them out (padding and tiles included)
    tflops    10^12 operations a second that were reached (two for a product), synchronised, by the median
    peak      the device's own, measured on the spot, and `peak_of` what; None where nothing is known
    """

    gmac: float
    tflops: float
    peak_tflops: float | None
    peak_of: str | None

    @property
    def share(self) -> float | None:
        return None if self.peak_tflops is None else self.tflops / self.peak_tflops


@dataclass(frozen=True, slots=True)
class Network:
    """The network alone, by three clocks.

    launched        unsynchronised: how long it took to ask (on a CPU asking and doing are one)
    synchronised    from asking to having
    device_events   by the device's own clock; None where it has none
    """

    launched: Laps
    synchronised: Laps
    device_events: Laps | None
    work: Work | None


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage alone: seconds for a frame as all of it took, and its laps (of codecs: between frames)."""

    name: str
    s_per_frame: float
    laps: Laps

    @property
    def fps(self) -> float:
        return 1 / self.s_per_frame


@dataclass(frozen=True, slots=True)
class Whole:
    """File to file by the command itself, in a process of its own.

    start_up_s      from the start of the command until the run begins, and from its end to the command's
    first_frame_s   from there until the first frame is written: opening, weights, warm-up, one frame
    steady_fps      frames a second from the end of the warm-up, which fills the encoder, to the last frame;
                    without a warm-up (few frames) from the first until the file is whole, so that every
                    frame that counts is encoded as well
    between         the times between frames
    close_s         from the last frame that the encoder took until the file is whole: it still holds frames
    true_fps        all frames over all of the run, opening and closing included
    total_s         the whole command, by a clock outside of it
    overlap         steady rate over the slowest stage's, alone
    over_sum        time of a frame over the sum of network, decoding and encoding, each alone
    cpu_s           processor seconds for a frame, steady (Linux); over_sum_cpu: over the same sum of those,
                    which other programs on the machine disturb less than a clock
    memory_mib      most memory that the process held
    fates           what became of the frames
    busy_s          seconds that each stage was at work (they overlap)
    way             on a GPU, what this run chose at its opening, as `Deblurrer.describe` has it; else empty
    """

    frames: int
    warm_up_frames: int
    start_up_s: float
    first_frame_s: float
    steady_fps: float
    true_fps: float
    close_s: float
    total_s: float
    between: Laps
    overlap: float | None
    over_sum: float | None
    cpu_s: float | None
    over_sum_cpu: float | None
    memory_mib: float | None
    fates: Mapping[str, int]
    busy_s: Mapping[str, float]
    way: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parity:
    """This path's planes against those of float32 eager torch: 8-bit codes, all planes.

    psnr_db         data range 255; None: identical
    p999, greatest  of the differences, in codes
    """

    psnr_db: float | None
    p999: float
    greatest: float
    frames: int


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything about one network, size, precision and device.

    asked     the options;  engine  what really ran;  machine  device, driver, versions, clocks
    source    the clip that was used
    memory_on_device_mib   most that torch held on the device
    """

    asked: Mapping[str, Any]
    engine: Mapping[str, Any]
    machine: Mapping[str, Any]
    width: int
    height: int
    source: str
    when: str
    network: Network
    stages: tuple[Stage, ...]
    parity: Parity
    whole: Whole | None
    memory_on_device_mib: float | None
    warnings: tuple[str, ...]


def values(found: Bench) -> dict[str, Any]:
    """Plain values; rates stand beside the seconds, so that nobody needs to compute."""
    plain = {"form": FORM, **dataclasses.asdict(found)}
    plain["network"]["fps"] = found.network.synchronised.fps
    if found.network.work is not None:
        plain["network"]["work"]["share"] = found.network.work.share
    for stage, row in zip(found.stages, plain["stages"], strict=True):
        row["fps"] = stage.fps
    return plain


def json_text(found: Bench) -> str:
    return json.dumps(values(found), indent=1, default=str, allow_nan=False) + "\n"


def read(path: Path, option: str) -> dict[str, Any]:
    """The plain values of a file that `vdeblur bench --json` wrote; InputError for any other."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{option} {path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{option} {path}: no JSON that `vdeblur bench --json` wrote ({error})") from error
    if not isinstance(found, dict) or "form" not in found:
        raise InputError(f"{option} {path}: not written by `vdeblur bench --json`")
    if found["form"] != FORM:
        raise InputError(
            f"{option} {path}: of form {found['form']}, this version writes {FORM}; measure again"
        )
    if "engine" not in found:
        raise InputError(f"{option} {path}: written by --sweep; give the file of a single measurement")
    return found
