"""HDR10 side data (SMPTE ST 2086 and CEA-861.3) as the words that encoders take.

Encoders ignore such data on frames, so it goes in as parameters; what a player reads back is the same bytes.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from vdeblur.video.clip import Hdr

MASTERING, LIGHT = "mastering display metadata", "content light level"


def encoder_words(hdr: Hdr, encoder: str) -> dict[str, str]:
    """The option (x264-params, x265-params, svtav1-params) with the data in that encoder's spelling."""
    if encoder not in _SPELLINGS:
        return {}
    option, mastering_word, light_word, integers, first = _SPELLINGS[encoder]
    found = numbers_of(hdr)
    words = [first] if first else []
    if MASTERING in found:
        words.append(f"{mastering_word}={_display(found[MASTERING], integers)}")
    if LIGHT in found:
        words.append(f"{light_word}={','.join(map(str, found[LIGHT]))}")
    return {option: ":".join(words)} if found else {}


def numbers_of(hdr: Hdr) -> dict[str, list[Fraction]]:
    """`MASTERING`: R, G, B and white point as x, y; then minimum and maximum luminance in nits.  `LIGHT`: of
    the brightest pixel and the brightest frame.  What is incomplete is left out.
    """
    found = {}
    if hdr.mastering and len(hdr.mastering) >= 88:
        numbers = np.frombuffer(hdr.mastering[:80], "<i4").reshape(10, 2)
        if numbers[:, 1].all():
            found[MASTERING] = [Fraction(int(a), int(b)) for a, b in numbers]
    if hdr.light and len(hdr.light) >= 8:
        found[LIGHT] = [Fraction(int(nits)) for nits in np.frombuffer(hdr.light[:8], "<u4")]
    return found


# encoder -> option, word for the mastering display, word for the light levels, integers?, first word
_SPELLINGS = {
    "libx264": ("x264-params", "mastering-display", "cll", True, ""),
    "libx264rgb": ("x264-params", "mastering-display", "cll", True, ""),
    "libx265": ("x265-params", "master-display", "max-cll", True, "hdr10=1"),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light", False, ""),
}


def _display(points: list[Fraction], integers: bool) -> str:
    red, green, blue, white = (points[k : k + 2] for k in range(0, 8, 2))
    darkest, brightest = points[8:]

    def pair(values: list[Fraction], scale: int) -> str:
        return ",".join(str(round(v * scale)) if integers else f"{float(v):.6f}" for v in values)

    corners = "".join(f"{name}({pair(p, 50000)})" for name, p in zip("GBR", (green, blue, red), strict=True))
    return f"{corners}WP({pair(white, 50000)})L({pair([brightest, darkest], 10000)})"
