"""What differs between a video and the one made from it: kept, lost as announced, or a failure."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from media_facts import MADE, Facts, Track

_TS = "ts files keep no tags, chapters and default marks"
_FIELDS = "the field order of interlaced pictures is lost"
OK, ALLOWED, FAIL = "OK", "allowed", "FAIL"


@dataclass(frozen=True)
class Finding:
    """One aspect of the comparison."""

    aspect: str
    verdict: str
    detail: str = ""


def differences(a: Facts, b: Facts, said: str) -> list[Finding]:
    """Compare source `a` and result `b`; `said` is everything that the run printed."""
    return [
        *_frames(a, b, said),
        *_picture(a, b, said),
        *_tracks(a, b, said),
        *_chapters(a, b, said),
        *_tags(a, b, said),
        *_probed(a, b, said),
    ]


def _judge(aspect: str, same: bool, detail: str, said: str, *words: str) -> Finding:
    """OK if the same; allowed if one of the words (a pattern) was said by the run; else FAIL."""
    if same:
        return Finding(aspect, OK)
    for word in words:
        if match := re.search(word, said, re.IGNORECASE):
            return Finding(aspect, ALLOWED, f"{detail}; said: {match.group(0)}")
    return Finding(aspect, FAIL, detail + (" and not a word about it" if words else ""))


def _frames(a: Facts, b: Facts, said: str) -> list[Finding]:
    found = [_judge("frames", len(a.pts) == len(b.pts), f"{len(a.pts)} became {len(b.pts)}", said)]
    times, new = a.pts, b.pts
    orderly = all(t is not None for t in times) and all(
        x < y for x, y in itertools.pairwise(t for t in times if t is not None)
    )
    if not orderly:
        made = r"times are made|moved so that they increase"
        found.append(_judge("times", False, "the source has none, or they go backwards", said, made))
        return found
    exact = b.container.startswith("mov")
    tolerance = Fraction(0) if exact else Fraction(1, 90000) if b.container == "mpegts" else Fraction(1, 1000)
    still = exact and a.container not in ("mpegts", "mpeg", "hls")  # recordings begin at zero elsewhere
    shift = Fraction(0) if still or not new or new[0] is None else new[0] - (times[0] or 0)
    worst = max(
        (abs((y or 0) - shift - (x or 0)) for x, y in zip(times, new, strict=False)), default=Fraction(0)
    )
    found.append(_judge("times", worst <= tolerance, f"off by up to {float(worst) * 1000:.3f} ms", said))
    if shift and (moved := _shift_of_others(a, b)) is not None:
        apart = abs(moved - shift)
        found.append(
            _judge("in step", apart <= Fraction(2, 1000), f"sound moved by {float(apart):.4f} s", said)
        )
    if a.last_duration and b.container != "mpegts":
        off = abs(a.last_duration - b.last_duration)
        detail = f"{float(a.last_duration):.6f} s became {float(b.last_duration):.6f} s"
        found.append(_judge("last duration", off <= tolerance, detail, said))
    return found


def _shift_of_others(a: Facts, b: Facts) -> Fraction | None:
    old = [t.first_s for t in a.tracks if t.kind == "audio" and t.first_s is not None]
    new = [t.first_s for t in b.tracks if t.kind == "audio" and t.first_s is not None]
    return new[0] - old[0] if old and new and len(old) == len(new) else None


def _picture(a: Facts, b: Facts, said: str) -> list[Finding]:
    same_kind = _kind(a.pix_fmt) == _kind(b.pix_fmt)
    opaque_gif = a.container == "gif" and not b.alpha
    depth, planes = r"\d+ bits instead of \d+", "colour planes of [^ ]*|neutral colour planes"
    return [
        _judge("depth", a.bits <= b.bits, f"{a.bits} became {b.bits} bits", said, depth),
        _judge(
            "subsampling",
            all(x >= y for x, y in zip(a.subsampling, b.subsampling, strict=True)),
            f"{a.subsampling} became {b.subsampling}",
            said,
            planes,
        ),
        _judge("format", same_kind or opaque_gif, f"{a.pix_fmt} became {b.pix_fmt}", said, depth, planes),
        _judge(
            "alpha",
            a.alpha == b.alpha or opaque_gif or a.pix_fmt == "pal8",
            f"{a.alpha} became {b.alpha}",
            said,
            "transparency is lost",
        ),
        _judge("size", a.size == b.size, f"{a.size} became {b.size}", said),
        _judge("aspect", _same_aspect(a.aspect, b.aspect, b.size[0]), f"{a.aspect} became {b.aspect}", said),
        _judge(
            "rotation",
            a.rotation == b.rotation,
            f"{a.rotation} became {b.rotation}",
            said,
            "rotation is lost",
        ),
        _judge(
            "matrix",
            _matrices_agree(a, b),
            "display matrix differs",
            said,
            "rotation is lost",
        ),
        _judge(
            "interlaced", a.interlaced == b.interlaced, f"{b.interlaced} for {a.interlaced}", said, _FIELDS
        ),
        _judge("colour", _colours_agree(a, b), f"{a.colour} became {b.colour}", said),
        _judge(
            "on frames",
            a.dynamic <= b.dynamic,
            f"lost {sorted(a.dynamic)}",
            said,
            r"cannot be carried: [^:]*(HDR10\+|Dolby Vision|timecodes)[^:]*",
        ),
        _judge("hdr10", _hdr_agrees(a, b), f"{a.hdr} became {b.hdr}", said, "HDR10 [^:]* (is|are) lost"),
        _judge(
            "disposition",
            _dispositions_agree(a.disposition, b.disposition, a),
            f"{a.disposition} became {b.disposition}",
            said,
            "further views",
            _TS,
        ),
    ]


def _kind(pix_fmt: str) -> str:
    if any(word in pix_fmt for word in ("rgb", "bgr", "gbr", "pal8")):
        return "rgb"
    return "yuv" if pix_fmt in ("yuyv422", "uyvy422", "yvyu422") else pix_fmt[:3].replace("nv1", "yuv")


SRGB = (5, 1, 13)  # JFIF's matrix, then primaries and transfer


def _colours_agree(a: Facts, b: Facts) -> bool:
    """Range, matrix, primaries, transfer; an unstated range counts as limited, and MJPEG may become sRGB."""
    same_range = (a.colour[0] == 2) == (b.colour[0] == 2) or b.pix_fmt.startswith(("gbr", "bgr", "rgb"))
    if _kind(a.pix_fmt) == "rgb":
        return same_range
    expected = a.colour[1:]
    if a.pix_fmt.startswith("yuvj"):
        expected = tuple(s if x == 2 else x for x, s in zip(expected, SRGB, strict=True))
    return same_range and b.colour[1:] in (a.colour[1:], expected)


def _matrices_agree(a: Facts, b: Facts) -> bool:
    """Matroska keeps the turn, but no shift of the turned picture, which players ignore."""
    if a.matrix is None or a.matrix == b.matrix:
        return True
    if b.container.startswith("mov") or b.matrix is None:
        return False
    old, new = (np.frombuffer(m, "<i4")[[0, 1, 3, 4]] for m in (a.matrix, b.matrix))
    return bool(np.abs(old - new).max() <= 2)


def _hdr_agrees(a: Facts, b: Facts) -> bool:
    """Within a step of AV1's fixed point: 1/65536 for colours, 1/16384 and 1/256 nit for black and white."""
    steps = [1 / 65536] * 8 + [1 / 16384, 1 / 256]
    return a.hdr.keys() == b.hdr.keys() and all(
        abs(x - y) <= step
        for name in a.hdr
        for x, y, step in zip(a.hdr[name], b.hdr[name], steps, strict=False)
    )


def _dispositions_agree(old: int, new: int, a: Facts) -> bool:
    """Where no stream at all is marked as default, MP4 and MOV mark the first of each kind."""
    anything_default = any(d & 1 for d in (a.disposition, *(t.disposition for t in a.tracks)))
    return old == new or (not anything_default and new == old | 1)


def _tracks(a: Facts, b: Facts, said: str) -> list[Finding]:
    found: list[Finding] = []
    remaining = list(b.tracks)
    for old in a.tracks:
        name = f"{old.kind} {old.index} ({old.codec})"
        new = next((t for t in remaining if t.kind == old.kind and _same_packets(old, t, a, b)), None)
        new = new or next(
            (t for t in remaining if t.kind == old.kind == "subtitle" and _same_text(old, t)), None
        )
        if new is None:
            if not old.hashes and old.attachment is None:
                found.append(Finding(name, OK, "empty in the source"))
                continue
            kept_otherwise = "cannot be carried|written anew|attachment|sample by sample"
            words = rf"{old.kind} {old.index} .*({kept_otherwise})[^\n]*"
            found.append(_judge(name, False, "its packets are not there", said, words))
            continue
        remaining.remove(new)
        anew = re.search(rf"{old.kind} {old.index} [^:]*written anew: from the timecode tag", said)
        if anew:
            found.append(Finding(name, ALLOWED, f"said: {anew.group(0)}"))
            continue
        found.append(_judge(name, True, "", said))
        wrong = _lost(old.tags, new.tags, a)
        found.append(_judge(f"{name} tags", not wrong, f"lost {wrong}", said, _no_place(wrong)))
        same = _dispositions_agree(old.disposition, new.disposition, a)
        detail = f"{old.disposition} became {new.disposition}"
        found.append(_judge(f"{name} disposition", same, detail, said, _TS))
    return found


def _same_packets(old: Track, new: Track, a: Facts, b: Facts) -> bool:
    if old.attachment or new.attachment:
        return old.attachment == new.attachment
    if old.hashes == new.hashes:
        return bool(old.hashes)
    if old.codec == new.codec and old.codec.startswith("pcm_"):
        return bool(old.whole.digest() == new.whole.digest())
    if (a.container == "mpegts") != (b.container == "mpegts") and old.codec in ("aac", "h264", "hevc"):
        return len(old.hashes) - len(new.hashes) in (
            0,
            old.hidden,
        )  # the containers frame these in different ways
    return not b.container.startswith("mov") and bool(old.hidden) and old.hashes[old.hidden :] == new.hashes


def _same_text(old: Track, new: Track) -> bool:
    if len(old.text) != len(new.text) or not old.text:
        return False
    return all(
        x[2] == y[2] and abs(x[0] - y[0]) < 0.0011 and abs(x[1] - y[1]) < 0.0021
        for x, y in zip(old.text, new.text, strict=True)
    )


def _chapters(a: Facts, b: Facts, said: str) -> list[Finding]:
    if not a.chapters:
        return []
    same = len(a.chapters) == len(b.chapters) and all(
        x[2] == y[2] and abs(x[0] - y[0]) <= Fraction(1, 1000) and abs(x[1] - y[1]) <= Fraction(1, 1000)
        for x, y in zip(a.chapters, b.chapters, strict=True)
    )
    return [_judge("chapters", same, f"{a.chapters} became {b.chapters}", said, _TS)]


def _tags(a: Facts, b: Facts, said: str) -> list[Finding]:
    lost, of_video = _lost(a.tags, b.tags, a), _lost(a.video_tags, b.video_tags, a)
    return [
        _judge("tags", not lost, f"lost {lost}", said, _TS),
        _judge(
            "video tags", not of_video, f"lost {of_video}", said, "timecode is left out", _no_place(of_video)
        ),
    ]


def _no_place(names: list[str]) -> str:
    return rf"{_TS}|keep no such tags of single streams: [^:]*" + r"[^:]*".join(
        re.escape(n) for n in sorted(names)
    )


def _lost(old: dict[str, str], new: dict[str, str], a: Facts) -> list[str]:
    """Names of tags that are gone or changed.

    A stream's time of creation may stand in the container's tag; places are written as fixed point numbers.
    """
    lost = []
    for key in _tag_names(old):
        there = _value(new, key)
        if key == "creation_time" and old[key] == a.tags.get(key):
            continue
        if key == "language" and old[key] == "und":
            continue
        if key in ("name", "title") and old[key] in (_value(new, "title"), _value(new, "name")):
            continue  # MP4 and MOV read a track's title back as its name
        if key == "timecode" and old is not a.video_tags and old is not a.tags:
            continue  # shown of sound because of the timecode track, which is checked by itself
        if key == "location" and there and _place(there) == _place(old[key]):
            continue
        if there != old[key]:
            lost.append(key)
    return lost


def _place(location: str) -> list[float]:
    return [round(float(number), 3) for number in re.findall(r"[+-][0-9.]+", location)]


def _tag_names(tags: dict[str, str]) -> list[str]:
    return [key for key in tags if not MADE.fullmatch(key)]


def _value(tags: dict[str, str], key: str) -> str | None:
    """Matroska writes names in capitals, with underscores for blanks."""
    plain = {k.lower().replace(" ", "_"): v for k, v in tags.items()}
    return plain.get(key.lower().replace(" ", "_"))


def _same_aspect(old: Fraction, new: Fraction, width: int) -> bool:
    """Matroska says how wide pictures are shown in whole pixels."""
    return abs(old - new) * width <= 1


def _probed(a: Facts, b: Facts, said: str) -> list[Finding]:
    if not a.probed or not b.probed:
        return [Finding("ffprobe", OK, "not asked" if not b.probed else "cannot read the source")]
    wrong = {}
    for key, old in a.probed.items():
        new = b.probed[key]
        if key == "colour":
            if b.pix_fmt.startswith(("gbr", "bgr", "rgb")):
                continue
            pairs = zip(old, new, strict=True)
            # An unstated range counts as limited.
            lost = (
                f"{x} became {y}" for x, y in pairs if x not in (y, "unknown") and (x, y) != ("tv", "unknown")
            )
            old = new = next(lost, None)
            if old:
                wrong[key] = old
            continue
        if key == "aspect" and _same_aspect(
            Fraction(old.replace(":", "/")), Fraction(new.replace(":", "/")), b.size[0]
        ):
            continue
        if key == "side data":
            new = sorted(set(new) & set(old))  # its own age: it shows what stands in the bitstream only
        if key == "top first" and not a.probed["interlaced"]:
            continue
        if old != new:
            wrong[key] = f"{old} became {new}"
    fields = bool(wrong) and wrong.keys() <= {"interlaced", "top first"}
    words = [_FIELDS] if fields else []
    words += ["HDR10 [^:]* (is|are) lost"] if wrong.keys() == {"side data"} else []
    return [_judge("ffprobe", not wrong, "; ".join(f"{k}: {v}" for k, v in wrong.items()), said, *words)]
