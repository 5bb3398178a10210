"""Which pixel format loses least when one is written in place of another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import av


@dataclass(frozen=True, slots=True)
class Shape:
    """What matters of a pixel format when one is written in place of another."""

    bits: int
    across: int
    down: int
    kind: str
    alpha: bool


@cache
def shape_of(pix_fmt: str) -> Shape:
    """The shape of FFmpeg's pixel format of that name."""
    fmt = av.VideoFormat(pix_fmt, 64, 64)
    colours = [c for c in fmt.components if not c.is_alpha]
    alpha = len(fmt.components) > len(colours) or pix_fmt in ("bgra", "rgba", "argb", "abgr")
    if fmt.is_rgb:
        return Shape(colours[0].bits, 1, 1, "rgb", alpha)
    if len(colours) == 1:
        return Shape(colours[0].bits, 1, 1, "gray", alpha)
    return Shape(colours[0].bits, 64 // fmt.chroma_width(64), 64 // fmt.chroma_height(64), "yuv", alpha)


def losses(source: str, target: str) -> dict[str, int]:
    """What goes away when `source` is written as `target`: words for the person -> weight for the choice."""
    if source == target:
        return {}
    old, new = shape_of(source), shape_of(target)
    lost: dict[str, int] = {}
    if old.alpha and not new.alpha:
        lost["transparency is lost"] = 1000
    if old.kind != new.kind:
        if new.kind == "gray":
            lost["colour is lost"] = 2000
        elif old.kind == "gray":
            lost["grey is written with neutral colour planes"] = 5
        else:
            lost[f"{old.kind.upper()} is converted to {new.kind.upper()}, which rounds every pixel"] = 90
    if new.bits < old.bits:
        lost[f"{new.bits} bits instead of {old.bits}"] = 50 * (old.bits - new.bits)
    if old.kind != "gray" and (new.across > old.across or new.down > old.down):
        lost[f"colour planes of {_name(new)} instead of {_name(old)}"] = 60 * new.across * new.down
    return lost


def nearest_format(source: str, formats: tuple[str, ...]) -> tuple[str, dict[str, int]]:
    """The format of the list that loses least; among those the one that adds least."""

    def cost(name: str) -> tuple[int, bool, bool, bool, int, int, int]:
        old, new = shape_of(source), shape_of(name)
        return (
            sum(losses(source, name).values()),
            name != source,
            new.alpha and not old.alpha,
            name.startswith("yuvj") != source.startswith("yuvj"),
            new.bits - old.bits,
            (old.across * old.down) - (new.across * new.down),
            formats.index(name),
        )

    best = min(formats, key=cost)
    return best, losses(source, best)


def _name(shape: Shape) -> str:
    return {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (4, 1): "4:1:1", (1, 2): "4:4:0"}.get(
        (shape.across, shape.down), f"{shape.across}x{shape.down} pixels each"
    )
