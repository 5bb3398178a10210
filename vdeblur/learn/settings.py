"""All that a training run depends on besides its network and its folders: one flat record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from vdeblur.data.samples import Augmentation, Pool
from vdeblur.data.synthesis import BlurSettings
from vdeblur.errors import InputError

Kind = Literal["pairs", "sharp", "drawn"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
LossName = Literal["mimo", "relative", "energy", "l1", "mse"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What to learn from, how long, and how.

    source        "pairs": blurred and sharp pictures; "sharp": blur is made from sharp pictures or videos;
                  "drawn": both are made, no data is needed
    blur          which blurred side where a data set has several ("blur", "blur_gamma", "blur_comp")
    validation    clips whose names begin so are never trained on but judged by; without any: those of val/
                  (else test/), else one clip in ten. Of val/ and test/ nothing is learnt in any case
    balanced      of pairs: every clip serves the same number of crops; else every pair does
    neutral       share of pairs whose sharp side takes over the very low frequencies of the blurred one: how
                  a camera's exposure brightens pictures is learnt first, and is wrong for all other cameras
    frames        how many frames of the videos are used as sharp pictures

    steps         of the optimizer; each sees batch x accumulate crops of every process
    schedule      "cosine": the rate falls along half a cosine to zero over the last `decay` steps;
                  "steps": it is halved at each of the `milestones`. It rises over `warm_up` steps.
    clip          largest norm of the gradient; 0: not limited
    ema           share that the averaged network keeps of itself at each step; 0: no averaging
    adversarial   weight of the adversarial loss (DeepDeblur); 0: none

    crop          side of the pictures trained on, px
    turns, swap_colours, saturation, noise_levels    see `data.samples.Augmentation`
    pool, reuse   decoded or synthesised pairs in the memory of a process, and the crops that each serves
    cut           side of the part that is kept of a decoded pair, px
    workers       processes that prepare batches; 0: made between two steps
    on_device     blur is made in batches on the device that trains

    The rest says how often to report, save and judge, in steps.
    """

    source: Kind = "sharp"
    blur: str = ""
    validation: tuple[str, ...] = ()
    balanced: bool = False
    neutral: float = 0.0
    frames: int = 400

    steps: int = 20_000
    batch: int = 8
    accumulate: int = 1
    rate: float = 1e-3
    schedule: Literal["cosine", "steps"] = "cosine"
    decay: int = 20_000
    milestones: tuple[int, ...] = ()
    warm_up: int = 300
    optimizer: Literal["adam", "muon"] = "adam"
    loss: LossName = "mimo"
    clip: float = 1.0
    ema: float = 0.999
    adversarial: float = 0.0
    device: str = "auto"
    precision: Precision = "auto"
    channels_last: bool = True
    seed: int = 1

    crop: int = 192
    turns: Literal["none", "mirror", "all"] = "all"
    swap_colours: bool = True
    saturation: float = 0.0
    noise_levels: float = 0.0
    pool: int = 768
    reuse: int = 16
    cut: int = 512
    workers: int = 0
    on_device: bool = False

    log_every: int = 100
    save_every: int = 1000
    validate_every: int = 2000
    validate_pictures: int = 64
    tensorboard: bool = False
    motion: BlurSettings = field(default_factory=BlurSettings)

    @property
    def augmentation(self) -> Augmentation:
        return Augmentation(self.crop, self.turns, self.swap_colours, self.saturation, self.noise_levels)

    def pool_of_slot(self) -> Pool:
        """The share of the pool that belongs to one of the slots of this process."""
        return Pool(max(1, self.pool // (self.batch * self.accumulate)), self.reuse)

    def check_crop(self, multiple_of: int) -> None:
        """InputError for a crop that the network cannot take."""
        if self.crop % multiple_of:
            raise InputError(f"crop is {self.crop}; this network needs a multiple of {multiple_of}")

    def check(self, origin: str) -> None:
        """InputError, naming `origin`, for a value that no run can have."""
        choices = {
            "source": (self.source, get_args(Kind)),
            "schedule": (self.schedule, ("cosine", "steps")),
            "optimizer": (self.optimizer, ("adam", "muon")),
            "loss": (self.loss, get_args(LossName)),
            "precision": (self.precision, get_args(Precision)),
            "turns": (self.turns, ("none", "mirror", "all")),
        }
        for key, (value, known) in choices.items():
            if value not in known:
                raise InputError(f"{origin}: {key} is {value!r}; choose {', '.join(known)}")
        least_one = ("steps", "batch", "accumulate", "crop", "pool", "reuse", "cut", "frames", "log_every")
        for key in (*least_one, "save_every", "validate_every", "validate_pictures"):
            if getattr(self, key) < 1:
                raise InputError(f"{origin}: {key} is {getattr(self, key)}; it must be 1 at least")
        for key in ("decay", "warm_up", "workers", "seed", "clip", "adversarial", "noise_levels", "rate"):
            if not getattr(self, key) >= 0:
                raise InputError(f"{origin}: {key} is {getattr(self, key)}; it must not be negative")
        if not 0 <= self.ema < 1 or not 0 <= self.saturation <= 1 or not 0 <= self.neutral <= 1:
            raise InputError(f"{origin}: ema must lie in [0, 1), saturation and neutral in [0, 1]")
        self.motion.check(origin)
        if self.source == "pairs" and self.cut < self.crop:
            raise InputError(f"{origin}: cut is {self.cut}, smaller than crop, which is {self.crop}")
        if self.source != "pairs" and self.motion.size < self.crop:
            raise InputError(
                f"{origin}: blur_size is {self.motion.size}, smaller than crop, which is {self.crop}"
            )
        if self.adversarial and (self.crop < 256 or self.crop % 64):
            raise InputError(
                f"{origin}: adversarial needs a crop of 256 or more that is a multiple of 64, not {self.crop}"
            )
        if self.on_device and self.motion.size % 16:
            raise InputError(f"{origin}: on_device needs a blur_size that is a multiple of 16")
        if self.on_device and (self.source != "sharp" or self.saturation or self.noise_levels):
            raise InputError(f'{origin}: on_device makes blur from sharp pictures, source must be "sharp"')
