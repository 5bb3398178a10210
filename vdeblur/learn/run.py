"""A recipe and folders to a run: finds the data, builds the network and what feeds and judges it, trains."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from vdeblur.data import splits
from vdeblur.data.layouts import PairedClip, blurred_side, read_layout
from vdeblur.errors import InputError, VdeblurError
from vdeblur.learn.recipe import Recipe

if TYPE_CHECKING:
    import torch

    from vdeblur.data.feed import Share
    from vdeblur.learn.events import Event
    from vdeblur.learn.judge import Judge
    from vdeblur.learn.settings import Settings
    from vdeblur.learn.train import Batches, Outcome

DRAWINGS, DRAWING_PX = 24, 384
PATIENCE = timedelta(days=1)
"""How long processes wait for each other: the first judges alone, and NCCL would give up after 10 minutes."""
Reading = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Found:
    """What a run learns from, known before anything heavy is loaded; clips are of source "pairs" only."""

    data: Path | None
    training: Sequence[PairedClip]
    judging: Sequence[PairedClip]
    notes: tuple[str, ...] = ()


def find(settings: Settings, data: Path | None, sharp: Path | None) -> Found:
    """Look for the data that the settings ask for; no torch.

    Raises InputError for data that is missing, not wanted, of another kind or too small.
    """
    if settings.source == "drawn":
        if data is not None:
            raise InputError(f'--data {data}: this recipe draws its own pictures (source = "drawn")')
        _refuse_pairs(settings, sharp)
        return Found(None, [], [])
    if data is None:
        wanted = "pairs of blurred and sharp pictures" if settings.source == "pairs" else "sharp pictures"
        raise InputError(f"give --data FOLDER, this recipe learns from {wanted} or videos")
    if not data.exists():
        raise InputError(f"--data {data}: no such file or folder")
    if settings.source == "sharp":
        _refuse_pairs(settings, sharp)
        blurred = blurred_side(data)
        if blurred is not None:
            raise InputError(
                f"--data {data}: {blurred} would be taken for sharp; name the sharp side alone, "
                "or take a recipe that learns from pairs (finetune-pairs)"
            )
        return Found(data, [], [])
    clips = read_layout(data, sharp, blur=settings.blur or None)
    splits.check_sizes(clips, settings.crop)
    training, judging = splits.split(clips, settings.validation, data)
    notes = [splits.left_out(clips, [*training, *judging])]
    if not judging:
        notes.append("a single clip: nothing is held out, so nothing is scored; of two one would judge")
    return Found(data, training, judging, tuple(filter(None, notes)))


def _refuse_pairs(settings: Settings, sharp: Path | None) -> None:
    """InputError for what can be said of pairs only."""
    asked = {"sharp": sharp, "blur": settings.blur, "validation": ",".join(settings.validation)}
    for name, value in asked.items():
        if value:
            raise InputError(
                f'--{name} {value}: this recipe makes its blur itself (source = "{settings.source}")'
            )


def run(
    recipe: Recipe,
    found: Found,
    output: Path,
    *,
    tell: Callable[[Event], None],
    stop: Callable[[], bool],
    reading: Reading = lambda name, done, expected: None,
) -> Outcome:
    """Train as the recipe says; under torchrun every process calls this.

    Raises InputError before the first step for what cannot work, and all that `train` raises.
    """
    import torch
    import torch.distributed as dist

    from vdeblur.data.feed import Share
    from vdeblur.learn.train import train

    s = recipe.settings
    device = _device(s.device)
    rank, ranks = _join(device)
    network = recipe.make_network()
    s.check_crop(network.multiple_of)
    precision = _precision(s.precision, device)
    millions = sum(weight.numel() for weight in network.parameters()) / 1e6
    processes = f", {ranks} processes" if ranks > 1 else ""
    notes = [*found.notes, f"{millions:.2f} M parameters on {device} in {precision}{processes}"]
    if precision == "fp16" and device.type == "cpu":
        notes.append("fp16 is slow on a CPU; --precision fp32 is not")
    torch.backends.cudnn.benchmark = True
    share = Share(s.batch, rank, ranks, s.accumulate)
    feed, judge, material = _material(s, found, share, device, reading)
    try:
        return train(
            network,
            s,
            feed,
            judge if rank == 0 else None,
            output,
            device=device,
            precision=precision,
            tell=tell,
            stop=stop,
            notes=(*notes, material),
            kept=asdict(recipe.network) | {"data": material},
        )
    except torch.OutOfMemoryError as error:
        raise VdeblurError(_too_large(s, device)) from error
    finally:
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


def _material(
    s: Settings, found: Found, share: Share, device: torch.device, reading: Reading
) -> tuple[Batches, Judge | None, str]:
    """What feeds the network, what judges it, and a line about both."""
    import torch

    from vdeblur.data import material
    from vdeblur.data.feed import Feed
    from vdeblur.data.samples import FilePairs, Samples, SynthesisedPairs
    from vdeblur.learn.judge import judge_files, judge_made, validation_pairs

    where = f"{found.data.resolve().name}: " if found.data is not None else ""
    if s.source == "pairs":
        files = splits.files(found.training, balanced=s.balanced)
        source = FilePairs(files, s.cut, s.crop, s.seed, neutral=s.neutral)
        samples = Samples(source, s.pool_of_slot(), s.augmentation, share.slots, s.seed)
        judging = splits.files(found.judging)
        judge = judge_files(judging, s.validate_pictures, str(device)) if judging else None
        note = f"{where}{len(splits.files(found.training))} pairs to learn from, {len(judging)} held out"
        return Feed(samples, share, device, s.workers), judge, note
    if s.source == "drawn":
        pictures = material.drawings(DRAWINGS, DRAWING_PX, s.seed)
        held = material.drawings(DRAWINGS // 4, DRAWING_PX, s.seed + 1)
        faults: list[str] = []
    else:
        assert found.data is not None
        pictures, held, faults = material.sharp_pictures(found.data, s.frames, s.seed, reading)
    note = f"{where}{len(pictures)} sharp pictures to learn from, {len(held)} held out"
    if faults:
        note += f"; files left out: {len(faults)}, the first: {faults[0]}"
    judge = judge_made(validation_pairs(held, s.motion, s.validate_pictures), str(device))
    if s.on_device:
        from vdeblur.data.device_feed import DeviceFeed
        from vdeblur.data.synthesis_torch import DevicePairs

        there = [torch.from_numpy(picture).permute(2, 0, 1).contiguous().to(device) for picture in pictures]
        pairs = DevicePairs(there, s.motion, s.seed)
        return DeviceFeed(pairs, share, s.augmentation, s.pool, s.reuse, s.seed), judge, note
    made = SynthesisedPairs(pictures, s.motion, s.seed)
    samples = Samples(made, s.pool_of_slot(), s.augmentation, share.slots, s.seed)
    return Feed(samples, share, device, s.workers), judge, note


def _device(asked: str) -> torch.device:
    import torch

    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise InputError(f"--device {asked}: not known; auto, cpu, cuda, cuda:N or mps") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError(f"--device {asked}: torch sees no CUDA device here; use --device cpu")
        number = device.index if device.index is not None else int(os.environ.get("LOCAL_RANK", "0"))
        if number >= torch.cuda.device_count():
            raise InputError(f"--device cuda:{number}: there are {torch.cuda.device_count()} here")
        torch.cuda.set_device(number)
        device = torch.device("cuda", number)
    return device


def _precision(asked: str, device: torch.device) -> str:
    """auto: bfloat16 where the device multiplies it fast, float16 on older GPUs, else float32."""
    import torch

    from vdeblur.engine.device import cpu_features

    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    has_bf16 = device.type == "cpu" and cpu_features() & {"avx512_bf16", "amx_bf16"}
    return "bf16" if has_bf16 else "fp32"


def _join(device: torch.device) -> tuple[int, int]:
    """(rank, processes); under torchrun the process joins its group."""
    import torch.distributed as dist

    if "RANK" not in os.environ:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    return dist.get_rank(), dist.get_world_size()


def _too_large(s: Settings, device: torch.device) -> str:
    """What to do where the device's memory does not hold a step."""
    if s.batch > 1:
        smaller = f"--batch {s.batch // 2} --accumulate {2 * s.accumulate} learns nearly the same"
    else:
        smaller = f"give a --crop below {s.crop}"
    pool = f", and a --pool below {s.pool} leaves more room" if s.on_device else ""
    return f"{device}: too little memory for {s.batch} crops of {s.crop} px at a time; {smaller}{pool}"
