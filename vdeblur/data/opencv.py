"""The place where OpenCV is asked for: late, and with a sentence where it cannot load."""

from __future__ import annotations

from typing import Any

from vdeblur.errors import MissingRuntimeError


def opencv() -> Any:
    """The `cv2` module, held to one thread (callers run one process a core).

    Raises:
        MissingRuntimeError: OpenCV or a system library that it needs is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingRuntimeError(
            f"Blurred pictures, cameras and windows need OpenCV, which does not load here ({error}). "
            "Install opencv-python and its system libraries (Debian: apt-get install libgl1 libglib2.0-0)."
        ) from error
    cv2.setNumThreads(1)
    return cv2
