"""A plan in words, for `--dry-run`: what will be done, as far as is known without torch."""

from __future__ import annotations

from vdeblur.jobs.journal import folder_of
from vdeblur.jobs.plan import Options, Plan
from vdeblur.jobs.records import MANIFEST
from vdeblur.video import pictures

_SHOWN_AS_GIVEN = (
    *("compare", "deinterlace", "video_stream", "hwaccel", "memory", "verify"),
    *("keep_partial", "restart", "keep_journal", "overwrite"),
)


def described(plan: Plan) -> list[tuple[str, str]]:
    """A line each: (what, how)."""
    layout, options = plan.clip.picture.layout, plan.options
    rate = plan.clip.picture.rate
    how_many = f", {len(plan.clip.pictures)} pictures" if plan.clip.pictures else ""
    rows = [
        ("source", f"{plan.clip.source}{how_many}"),
        (
            "picture",
            f"{layout.width}x{layout.height} {plan.clip.picture.pix_fmt}, {plan.clip.picture.codec}, "
            f"{layout.range} range, {layout.matrix}"
            + (f", {float(rate):.6g} frames/s in the header" if rate else ""),
        ),
        ("target", str(plan.target)),
    ]
    if plan.output is not None:
        encoder = "your ffmpeg" if options.encoder == "ffmpeg" else plan.output.encoder
        chosen = " ".join(f"{key}={value}" for key, value in plan.output.options.items())
        rows.append(
            ("encoder", f"{encoder} {plan.output.pix_fmt} in {plan.output.container} {chosen}".strip())
        )
    if plan.carried is not None:
        rows += [("carried", line) for line in plan.carried.lines()]
    if options.start is not None or options.end is not None:
        end = "the end" if options.end is None else f"{float(options.end):g} s"
        rows.append(("range", f"{float(options.start or 0):g} s to {end}"))
    if asked := _asked_for(plan):
        rows.append(("asked for", asked))
    if plan.weights is None:
        rows.append(("network", "none (strength 0: frames pass as they are)"))
    else:
        rows.append(("quality", plan.quality))
        rows.append(("network", f"{plan.weights.name} ({plan.weights.path})"))
        rows.append(("device", _runs_on(plan)))
        rows.append(("tile", options.tile))
        rows.append(("strength", f"{options.strength:g}"))
        if options.skip_sharp:
            rows.append(("skipped", f"frames of sharpness {options.skip_sharp:g} and more"))
    if _is_begun(plan):
        way = "begins anew" if options.restart else "goes on from there, if nothing that matters changed"
        rows.append(("unfinished", f"an earlier run of it was stopped; this one {way}"))
    rows += [("note", note) for note in plan.notes]
    return rows


def _asked_for(plan: Plan) -> str:
    """Options that no other line of the plan shows, as they are written."""
    words = []
    for name in _SHOWN_AS_GIVEN:
        value = getattr(plan.options, name)
        if value == getattr(Options(), name):
            continue
        word = "" if value is True else f" {value >> 20}M" if name == "memory" else f" {value}"
        words.append(f"--{name.replace('_', '-')}{word}")
    return ", ".join(words)


def _is_begun(plan: Plan) -> bool:
    target = pictures.place_of(plan.clip, plan.target) if plan.clip.pictures else plan.target
    return (folder_of(target) / MANIFEST).is_file()


def _runs_on(plan: Plan) -> str:
    """What is decided of it without torch: all on a processor, on a GPU what was asked for."""
    options, decision = plan.options, plan.decision()
    if decision is None:
        return f"{options.device}, precision {options.precision}, backend {options.backend}"
    choice = decision.choice
    why = f" ({decision.why})" if decision.why else ""
    precision = "int8 (made first, a minute or more)" if plan.makes_int8 else f"{choice.precision}{why}"
    return f"{choice.name}, precision {precision}, backend {choice.backend}"
