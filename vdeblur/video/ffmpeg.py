"""A user's own ffmpeg as encoder (first cut: only the look for the binary)."""

from __future__ import annotations

import shutil

from vdeblur.errors import InputError
from vdeblur.video.writer import Writer


def find_binary() -> str:
    """The path of the ffmpeg program, or InputError."""
    found = shutil.which("ffmpeg")
    if found is None:
        raise InputError("--encoder ffmpeg: no ffmpeg program in PATH; install FFmpeg first")
    return found


class FfmpegWriter(Writer):
    """To be made."""
