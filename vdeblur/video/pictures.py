"""Folders, patterns and single pictures as frames (to be filled)."""

from __future__ import annotations

from vdeblur.video.clip import Clip


def is_pictures(source: str) -> bool:
    return False


def probe_pictures(source: str) -> Clip:
    raise NotImplementedError
