"""HDR10 side data (SMPTE ST 2086 and CEA-861.3) as the words that encoders take.

Encoders ignore such data on frames, so it goes in as parameters; what a player reads back is the same bytes.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from vdeblur.video.clip import Hdr


def encoder_words(hdr: Hdr, encoder: str) -> dict[str, str]:
    """The option (x264-params, x265-params, svtav1-params) with the data in that encoder's spelling."""
    if encoder not in _SPELLINGS or not (hdr.mastering or hdr.light):
        return {}
    option, mastering_word, light_word, integers, first = _SPELLINGS[encoder]
    words = [first] if first else []
    if hdr.mastering and (points := _mastering(hdr.mastering)):
        words.append(f"{mastering_word}={_display(points, integers)}")
    if hdr.light and len(hdr.light) >= 8:
        most, average = np.frombuffer(hdr.light[:8], "<u4")
        words.append(f"{light_word}={most},{average}")
    return {option: ":".join(words)} if len(words) > bool(first) else {}


# encoder -> option, word for the mastering display, word for the light levels, integers?, first word
_SPELLINGS = {
    "libx264": ("x264-params", "mastering-display", "cll", True, ""),
    "libx264rgb": ("x264-params", "mastering-display", "cll", True, ""),
    "libx265": ("x265-params", "master-display", "max-cll", True, "hdr10=1"),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light", False, ""),
}


def _mastering(data: bytes) -> list[Fraction] | None:
    """R, G, B and white point as x, y; then minimum and maximum luminance in nits. None where incomplete."""
    if len(data) < 88:
        return None
    numbers = np.frombuffer(data[:88], "<i4")
    if not numbers[1:20:2].all():
        return None
    return [Fraction(int(a), int(b)) for a, b in numbers[:20].reshape(10, 2)]


def _display(points: list[Fraction], integers: bool) -> str:
    red, green, blue, white = (points[k : k + 2] for k in range(0, 8, 2))
    darkest, brightest = points[8:]

    def pair(values: list[Fraction], scale: int) -> str:
        return ",".join(str(round(v * scale)) if integers else f"{float(v):.6f}" for v in values)

    corners = "".join(f"{name}({pair(p, 50000)})" for name, p in zip("GBR", (green, blue, red), strict=True))
    return f"{corners}WP({pair(white, 50000)})L({pair([brightest, darkest], 10000)})"
