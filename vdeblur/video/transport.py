"""What MPEG-TS holds, in its two forms: the plain one of broadcasts, and that of discs and camcorders.

The latter has 192 bytes a packet, other numbers for kinds of streams, and is what cameras and televisions
look for in .m2ts and .mts.  What a form has no number for becomes private data, which players pass over.
"""

from __future__ import annotations

from collections.abc import Iterable

_BROADCAST_SOUND = frozenset({"aac", "aac_latm", "mp2", "mp3", "ac3", "eac3", "dts", "opus", "s302m"})
_BROADCAST = _BROADCAST_SOUND | {"dvb_subtitle", "dvb_teletext"}
_DISC = frozenset({"ac3", "eac3", "dts", "truehd", "pcm_bluray", "hdmv_pgs_subtitle"})


def has_form_of_discs(suffix: str, codecs: Iterable[str | None]) -> bool:
    """Whether a file with these other streams has it: by its name, unless one needs the plain form."""
    return suffix in (".m2ts", ".mts") and not (_BROADCAST - _DISC) & set(codecs)


def held_by_ts(suffix: str, codecs: Iterable[str | None]) -> frozenset[str]:
    """The sound and subtitles that such a file holds."""
    return _DISC if has_form_of_discs(suffix, codecs) else _BROADCAST
