"""The wishes that a viewer can send by name, and the keys they have in the window and on the page."""

from __future__ import annotations

from collections.abc import Callable

from vdeblur.jobs.live.view import STRENGTH_STEP, Controls

KEYS = {" ": "freeze", "+": "stronger", "=": "stronger", "-": "weaker", "s": "snapshot", "r": "record"}
"""`=` is the key of `+` without Shift."""


def wishes(controls: Controls) -> dict[str, Callable[[], None]]:
    """What to call for each name; unknown names come from outside and are passed over by the caller."""
    return {
        "freeze": controls.toggle_freeze,
        "stronger": lambda: controls.step_strength(STRENGTH_STEP),
        "weaker": lambda: controls.step_strength(-STRENGTH_STEP),
        "snapshot": controls.request_snapshot,
        "record": controls.toggle_record,
    }
