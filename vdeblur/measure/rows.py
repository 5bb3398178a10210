"""The values of an evaluation: a row for each frame and clip, means, and how they were computed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vdeblur.errors import InputError
from vdeblur.measure.flicker import FlickerScore

MOST_DB = 100.0  # what two equal pictures count as, in a mean of PSNR


@dataclass(frozen=True, slots=True)
class Protocol:
    """How results are compared: `rounded` to 8 bit or not, and the distance between black and white."""

    name: str
    rounded: bool
    data_range: float

    def describe(self) -> list[str]:
        """What the figures mean, a sentence each."""
        form = "rounded to 8 bit" if self.rounded else "clipped to [0, 1], not rounded"
        return [
            f"protocol {self.name}: RGB {form}, data range {self.data_range:g}; chroma of half the size "
            "(4:2:0 video, most JPEG) is repeated, not interpolated",
            "PSNR: 10 log10(range^2 / mean squared difference) over all pixels and channels; "
            f"equal pictures count as {MOST_DB:g} dB",
            "SSIM: 11x11 Gaussian window of sigma 1.5, K 0.01 and 0.03, population covariance, "
            "mean over channels and all places where the window fits",
            "gain: PSNR of the result less PSNR of the blurred input, both against the sharp picture",
            "brightness: mean over pixels and channels, in 1/255",
            "flicker: unexplained change between neighbouring frames over that of the sharp frames "
            "(of the input where there are none), after motion compensation; 1 is as steady as those",
        ]


PROTOCOLS = {
    "deepdeblur": Protocol("deepdeblur", rounded=True, data_range=255),
    "mimo": Protocol("mimo", rounded=False, data_range=1),
}


def protocol(name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise InputError(f"--protocol {name}: unknown; known are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


@dataclass(frozen=True, slots=True)
class FrameRow:
    """The figures of one frame; None where there is no sharp picture, or no network."""

    clip: str
    number: int
    psnr_input_db: float | None
    psnr_result_db: float | None
    ssim_input: float | None
    ssim_result: float | None
    brightness_input: float
    brightness_result: float | None
    brightness_sharp: float | None
    engine_s: float | None
    fate: str

    @property
    def gain_db(self) -> float | None:
        if self.psnr_input_db is None or self.psnr_result_db is None:
            return None
        return self.psnr_result_db - self.psnr_input_db

    def measures(self) -> Means:
        """What means are taken of."""
        return {name: getattr(self, name) for name in MEASURES}


MEASURES = (
    *("psnr_input_db", "psnr_result_db", "gain_db", "ssim_input", "ssim_result"),
    *("brightness_input", "brightness_result", "brightness_sharp"),
)
Means = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class ClipRow:
    """Means over the frames of a clip; `worst_gain_db` is that of its worst frame."""

    clip: str
    frames: int
    size: tuple[int, int]
    means: Means
    worst_gain_db: float | None
    flicker: FlickerScore | None
    engine_fps: float | None


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame before and after, as JPEG, for looking at; `label` says why this one."""

    clip: str
    number: int
    label: str
    before: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that came out; `settings` say what ran on what, `seconds` where the time went."""

    protocol: Protocol
    rows: tuple[FrameRow, ...]
    clips: tuple[ClipRow, ...]
    shots: tuple[Shot, ...]
    settings: dict[str, Any]
    versions: dict[str, str]
    seconds: dict[str, float]
    notes: tuple[str, ...]

    @property
    def engine_fps(self) -> float | None:
        """Frames over the seconds that the production engine took for them: decoding and scoring excluded."""
        times = [row.engine_s for row in self.rows if row.engine_s is not None]
        return len(times) / sum(times) if sum(times) > 0 else None

    @property
    def worst_clip(self) -> ClipRow | None:
        """The clip that gains least."""
        gaining = [clip for clip in self.clips if clip.means["gain_db"] is not None]
        return min(gaining, key=lambda clip: clip.means["gain_db"] or 0.0, default=None)

    @property
    def worst_frame(self) -> FrameRow | None:
        """The frame that gains least."""
        gaining = [row for row in self.rows if row.gain_db is not None]
        return min(gaining, key=lambda row: row.gain_db or 0.0, default=None)

    def over_frames(self) -> Means:
        """Each frame counts the same: the papers' average."""
        return mean_of_rows(self.rows)

    def over_clips(self) -> Means:
        """Each clip counts the same."""
        return mean_of_means([clip.means for clip in self.clips])

    def by_set(self) -> dict[str, Means]:
        """The mean over the clips of each set; the set is what stands before a clip's last name."""
        sets: dict[str, list[Means]] = defaultdict(list)
        for clip in self.clips:
            sets[clip.clip.rpartition("/")[0]].append(clip.means)
        return {name: mean_of_means(members) for name, members in sets.items()}

    def over_sets(self) -> Means:
        """Each set counts the same, and in a set each clip."""
        return mean_of_means(list(self.by_set().values()))


def mean_of_rows(rows: Sequence[FrameRow]) -> Means:
    return mean_of_means([row.measures() for row in rows])


def mean_of_means(members: Sequence[Means]) -> Means:
    return {name: _mean([member[name] for member in members]) for name in MEASURES}


def _mean(values: Sequence[float | None]) -> float | None:
    """None where any is missing: a mean over some of the frames would be another figure."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there and len(there) == len(values) else None
