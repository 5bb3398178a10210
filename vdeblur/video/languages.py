"""Codes of languages (ISO 639-2), and which of them a container can write."""

from __future__ import annotations

import re

# Languages with two codes: the bibliographic one, then the other.
_TWO_CODES = """
alb sqi arm hye baq eus bur mya chi zho cze ces dut nld fre fra geo kat ger deu gre ell ice isl mac mkd
mao mri may msa per fas rum ron slo slk tib bod wel cym
""".split()  # noqa: SIM905
_TWIN = dict(zip(_TWO_CODES[::2], _TWO_CODES[1::2], strict=True))
_TWIN |= {other: code for code, other in _TWIN.items()}
# QuickTime numbers its languages: those that FFmpeg's MOV muxer knows, as it spells them (tried).
_QUICKTIME = frozenset(
    """
eng fra ger ita dut spa dan por nor heb jpn ara fin gre ice mlt tur chi urd hin tha kor lit pol hun est
lav rus alb ron ces slk slv yid mac bul ukr bel uzb kaz aze arm geo mol kir tgk tuk mon pus kur kas snd
tib nep san mar ben asm guj ori mal kan tam tel bur khm lao vie ind tgl may amh tir orm som swa run mlg
epo wel baq cat lat que grn aym tat uig dzo jav per
""".split()  # noqa: SIM905
)


def language_for(muxer: str, language: str) -> str | None:
    """A language as this muxer writes it; None where its container has no place for it."""
    if muxer in ("matroska", "webm"):
        return language
    code = language.lower()
    if not re.fullmatch("[a-z]{3}", code):
        return None
    if muxer != "mov" or code in _QUICKTIME or code == "und":
        return code
    twin = _TWIN.get(code)
    return twin if twin in _QUICKTIME else None


def same_language(one: str, other: str) -> bool:
    """Whether two codes mean the same language."""
    one, other = one.lower(), other.lower()
    return one == other or _TWIN.get(one) == other
