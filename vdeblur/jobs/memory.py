"""What a run takes of the host's memory beside its network's tiles, and whether that fits `--memory`.

An estimate by measured figures (docs/reliability.md), not a wall: encoders look ahead, and hold frames
several times over while they do; everything else is small beside them, or has a limit of its own that
follows from `--memory`.  Tiles get what remains (`engine.budget`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vdeblur.errors import InputError
from vdeblur.jobs.compare import compared_layout
from vdeblur.video.carry import ROOM

if TYPE_CHECKING:
    from vdeblur.jobs.plan import Plan

MIB = 1 << 20
PROGRAM = 70 * MIB
TORCH, OPENVINO = 260 * MIB, 100 * MIB
"""Loaded, with the network's weights."""
LEAST_TILES = 150 * MIB
"""The smallest tiles of the networks in the package, with torch."""
LEAST_PX = 210
"""Bytes for each pixel of a picture with OpenVINO, which takes more for tiles than for the whole."""
_HELD = {"libx264": 150, "libx265": 165, "libsvtav1": 180, "libvpx-vp9": 150}
_QUICK = {"ultrafast": 50, "superfast": 70, "veryfast": 90}
_OTHERS = 60
_PICTURES = 20  # each is written by itself: nothing looks ahead


def needed_bytes(plan: Plan) -> int:
    """At the peak, without tiles: program, engine, frames in decoder, queues and encoder, packets."""
    layout = plan.clip.picture.layout
    if plan.options.compare is not None:
        layout = compared_layout(layout, plan.options.compare, plan.clip.picture.rotation)
    across, down = layout.subsampling
    samples = 1 + (2 / (across * down) if layout.kind == "yuv" else len(layout.components) - 1)
    frame = layout.width * layout.height * samples * (1 if layout.depth <= 8 else 2)
    held = _OTHERS
    if plan.output is None:
        held = _PICTURES
    elif plan.options.encoder == "auto":
        held = _HELD.get(plan.output.encoder, _OTHERS)
        if plan.output.encoder == "libx264":
            held = _QUICK.get(plan.output.options.get("preset", ""), held)
    # What a file has beside its pictures is read when all are encoded: it finds the encoder's part free.
    waiting = for_waiting(plan) if plan.clip.size_bytes is None and plan.carried is not None else 0
    return int(PROGRAM + _engine(plan) + frame * held + waiting)


def for_waiting(plan: Plan) -> int:
    """What packets of other streams may take while they wait for their pictures."""
    budget = plan.options.memory
    return ROOM if budget is None else min(ROOM, budget // 8)


def check(plan: Plan) -> None:
    """Raise InputError where the budget cannot hold the run."""
    budget = plan.options.memory
    if budget is None:
        return
    needed = needed_bytes(plan) + _least_of_tiles(plan)
    if needed > budget:
        what = f"--memory {_words(budget)}: this run needs about {_words(needed)}"
        if plan.output is None:
            raise InputError(f"{what}; give more")
        raise InputError(
            f"{what}, most of it for the encoder to look ahead; give more, or a faster --preset such as "
            "ultrafast"
        )


def for_tiles(plan: Plan) -> int | None:
    """The limit within which the engine opens, so that encoder and decoder find their part afterwards."""
    if plan.options.memory is None:
        return None
    loaded = PROGRAM + _engine(plan)
    return plan.options.memory - (needed_bytes(plan) - loaded)


def _engine(plan: Plan) -> int:
    if plan.weights is None:
        return 0
    return OPENVINO if _by_openvino(plan) else TORCH


def _least_of_tiles(plan: Plan) -> int:
    if plan.weights is None:
        return 0
    layout = plan.clip.picture.layout
    return LEAST_PX * layout.width * layout.height if _by_openvino(plan) else LEAST_TILES


def _by_openvino(plan: Plan) -> bool:
    decision = plan.decision()
    return decision is not None and decision.choice.backend == "openvino"


def _words(size: int) -> str:
    return f"{size / 2**30:.1f}G" if size >= 1 << 30 else f"{size // MIB}M"
