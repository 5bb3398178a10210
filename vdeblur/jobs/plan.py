"""From what was asked to what will be done: every decision and every early error, before the first frame.

No torch here: a plan is made, printed (`--dry-run`) and refused without it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from vdeblur.engine.device import check_choice, cpu_threads, guess_kind
from vdeblur.engine.tiles import check as check_tile
from vdeblur.errors import InputError
from vdeblur.jobs import memory, quality
from vdeblur.jobs.asked import NetworkAsk
from vdeblur.jobs.compare import compared_layout
from vdeblur.video import carry, codecs, ffmpeg, hwaccel, pictures
from vdeblur.video.clip import Clip, Picture
from vdeblur.video.encoders import OutputChoice
from vdeblur.video.names import is_video, without_scheme
from vdeblur.video.probing import probe
from vdeblur.video.reader import INTERLACED
from vdeblur.video.sink import check_target
from vdeblur.weights import store

if TYPE_CHECKING:
    from vdeblur.engine.decision import Decision

Compare = Literal["side", "split"]
Encoder = Literal["auto", "ffmpeg"]
Verify = Literal["off", "packets", "full"]

GPU_MEGAPIXELS_S = 92.0
"""What a network on a GPU may well give: 100 frames a second of 1280x720."""
FAST_MEGAPIXELS_S = 70.0
"""What a core decodes and looks at of frames that the network is spared: 76 a second of 1280x720."""
LONG_PX = 2e9
"""Pixels of a video (2170 frames of 1280x720) for which making an int8 graph of the weights, a minute or two,
is made up for by its speed."""


@dataclass(frozen=True, slots=True)
class Options(NetworkAsk):
    """What the user asked for beside the source and the target; the defaults suit most files."""

    quality: str = "balanced"  # fast, balanced or best: fills in what is left open
    strength: float = 1.0
    skip_sharp: float | None = None  # frames of this sharpness and more pass as they are; 1: "auto", 0: "off"
    codec: str | None = None
    crf: int | None = None
    preset: str | None = None
    encoder: Encoder = "auto"
    encoder_options: tuple[tuple[str, str], ...] = ()
    video_stream: int | None = None
    deinterlace: bool = False
    start: Fraction | None = None
    end: Fraction | None = None
    compare: Compare | None = None
    keep_partial: bool = False
    verify: Verify = "packets"
    overwrite: bool = False
    restart: bool = False
    keep_journal: bool = False
    hwaccel: hwaccel.HwAccel = "auto"
    memory: int | None = None  # bytes of the host's memory that the run may take

    def engine(self) -> dict[str, Any]:
        """The part that `Deblurrer.load` takes."""
        return {**NetworkAsk.engine(self), "strength": self.strength}


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions of one run. `weights` is None where no network runs (strength 0); `output` and
    `carried` are None for pictures."""

    clip: Clip
    target: Path
    options: Options
    weights: store.WeightsRef | None
    output: OutputChoice | None
    carried: carry.CarryPlan | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth saying before the run: what was guessed, what cannot be kept."""
        found: list[str] = list(self.clip.warnings)
        if self.clip.picture.interlaced and not self.options.deinterlace:
            found.append(INTERLACED)  # the reader says it too: once it is said
        if self.output is not None:
            found += self.output.notes
        if self.carried is not None:
            found += self.carried.notes
        return tuple(dict.fromkeys(found))

    @property
    def expected_frames(self) -> int | None:
        """For the progress bar only, from what the header says; never judged by."""
        if self.clip.pictures:
            return len(self.clip.pictures)
        picture, start, end = self.clip.picture, self.options.start, self.options.end
        if start is None and end is None and picture.frames_from_header:
            return picture.frames_from_header
        if picture.rate is None or picture.duration_from_header_s is None:
            return None
        last = (
            picture.duration_from_header_s if end is None else min(float(end), picture.duration_from_header_s)
        )
        return max(1, round((last - float(start or 0)) * float(picture.rate)))

    @property
    def makes_int8(self) -> bool:
        """Whether this run is long enough to make an int8 graph of weights that have none yet."""
        layout = self.clip.picture.layout
        if (self.expected_frames or 0) * layout.height * layout.width < LONG_PX:
            return False
        decision = self.decision()
        return decision is not None and decision.lacks_int8

    def decision(self) -> Decision | None:
        """What will run on a processor; None without a network, and on a GPU, which is asked with torch."""
        options = self.options
        if self.weights is None or guess_kind(options.device) != "cpu":
            return None
        from vdeblur.engine.decision import decide

        return decide(self.weights, options.device, options.precision, options.backend)

    @property
    def quality(self) -> str:
        """Which it is and why, in words."""
        return f"{self.options.quality}: {quality.reason(self.options)}"


def make_plan(source: str, target: Path | None, options: Options, *, folder: Path | None = None) -> Plan:
    """Look at the source and decide everything.

    The result goes to `target`, or under the source's name into that where it is a folder, or into `folder`
    (made by the run), or beside the source; unless it is named with a suffix that can take it.
    Raises InputError for all that can be known before the first frame: unreadable or unsuitable source,
    target that may not be written, unknown model, codec or option, impossible combination.
    """
    check_options(options)
    options = filled(options)
    source = without_scheme(source)
    clip = probe(source, video_stream=options.video_stream)
    if not options.keep_partial:
        clip.refuse_broken()
    clip = hwaccel.for_decoding(clip, options.hwaccel)
    if clip.pictures:
        return _plan_pictures(clip, target, folder, options)
    if target is not None and target.is_dir():
        target, folder = None, target
    if options.encoder == "ffmpeg":
        ffmpeg.find_binary()
    output = codecs.choose_output(
        dataclasses.replace(clip, picture=_as_written(clip.picture, options)),
        target,
        codec=options.codec,
        crf=options.crf,
        preset=options.preset,
        encoder_options=dict(options.encoder_options),
        deinterlace=options.deinterlace,
        encoder=options.encoder,
        pace=_pace(options),
    )
    if folder is not None:
        target = folder / f"{Path(source).stem}{output.suffix}"
    target = target or beside(source, f"deblurred{output.suffix}")
    check_target(target, source, overwrite=options.overwrite, new_folder=folder is not None)
    plan = Plan(clip, target, options, _weights(options), output, carry.plan_carry(clip, output))
    memory.check(plan)
    return plan


def beside(source: str, ending: str) -> Path:
    """`INPUT.ending` in the source's folder; InputError where the source is no file."""
    if "://" in source or source == "-":
        raise InputError(f"{source}: say with -o where the result shall be written")
    path = Path(source)
    return path.with_name(f"{path.stem}.{ending}")


def check_options(options: Options) -> None:
    """Refuse numbers and choices that cannot work with any source."""
    if not 0 <= options.strength <= 1:
        raise InputError(f"--strength {options.strength:g}: must lie between 0 (nothing) and 1 (all of it)")
    if options.start is not None and options.start < 0:
        raise InputError(f"--start {float(options.start):g}: must not be negative")
    if options.end is not None and options.end <= (options.start or 0):
        raise InputError(
            f"--end {float(options.end):g}: must come after --start {float(options.start or 0):g}"
        )
    known = {"encoder": Encoder, "verify": Verify, "hwaccel": hwaccel.HwAccel, "compare": Compare}
    for name, words in known.items():
        given = getattr(options, name)
        if given not in get_args(words) and given != getattr(Options(), name):
            raise InputError(f"--{name} {given}: not known, choose one of {', '.join(get_args(words))}")
    check_choice(options.device, options.precision, options.backend)
    check_tile(options.tile)


def filled(options: Options) -> Options:
    """With what `quality` stands for in place of what was not asked for; done twice it is the same."""
    if options.strength == 0:
        return options
    chosen = quality.filled(options.quality, options.engine())
    return dataclasses.replace(options, **chosen, skip_sharp=quality.skip_sharp(options))


def _plan_pictures(clip: Clip, target: Path | None, folder: Path | None, options: Options) -> Plan:
    if options.start is not None or options.end is not None:
        raise InputError("--start and --end are for videos: name the pictures that are wanted")
    encoding = (options.codec, options.crf, options.preset, options.encoder_options or None)
    if options.encoder != "auto" or any(word is not None for word in encoding):
        raise InputError("--codec and encoder options are for videos; pictures keep their own format")
    if options.deinterlace or options.video_stream is not None:
        raise InputError("--deinterlace and --video-stream are for videos: pictures have one stream, whole")
    if target is not None and is_video(target) and not target.is_dir():
        raise InputError(f"{target}: pictures become pictures and no video; name a folder or a picture")
    if folder is not None:
        source = Path(clip.source)
        # A pattern has the name of its folder.
        target = folder / (source.name if source.exists() else Path(clip.pictures[0]).resolve().parent.name)
    target = target or pictures.default_target(clip)
    pictures.check_target(clip, target, overwrite=options.overwrite, new_folder=folder is not None)
    plan = Plan(clip, target, options, _weights(options), None, None)
    memory.check(plan)
    return plan


def _as_written(picture: Picture, options: Options) -> Picture:
    """The picture at the size of before and after together."""
    if options.compare is None:
        return picture
    layout = compared_layout(picture.layout, options.compare, picture.rotation)
    return dataclasses.replace(picture, layout=layout)


def _pace(options: Options) -> tuple[float, float] | None:
    """What the encoder shall keep up with; None: the network takes far longer than any preset."""
    if options.strength == 0 or options.encoder == "ffmpeg":
        return None
    if guess_kind(options.device) == "cuda":
        return GPU_MEGAPIXELS_S, max(1, cpu_threads() - 1)  # one for decoding and all else
    return (FAST_MEGAPIXELS_S, 1) if options.skip_sharp or options.quality == "fast" else None


def _weights(options: Options) -> store.WeightsRef | None:
    if options.strength == 0:
        return None
    return store.resolve(options.model, options.weights, guess_kind(options.device))
