"""The streams that only pass by, of two files: which is which, and is every packet there at its time.

Times are compared in whole numbers of a unit that both streams share, one packet after the other.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from fractions import Fraction

from vdeblur.video.alignment import NO_TIME
from vdeblur.video.contents import Contents, Track
from vdeblur.video.limits import OTHER_CLOCKS, UNKNOWN_CLOCK, family
from vdeblur.video.receipt import Fault
from vdeblur.video.restarts import BACK_S, CONCATENATED
from vdeblur.video.sound import LOSSLESS
from vdeblur.video.subtitles import TEXT

_CUE_S = Fraction(2, 1000)  # a subtitle's length: both of its ends are rounded
_SOUND_S = Fraction(1, 4)  # either end of decoded sound: what a packet holds, and the decoder's delay


def paired(a: Contents, b: Contents, dropped: Container[int]) -> list[tuple[Track, Track | None]]:
    """Every stream of the source but the deblurred and the dropped ones, and which it is in the result.

    By content first, so that swapped labels are seen; then by part of the content, then by kind.  Streams
    without a packet are left out, as are timecode tracks that were made anew.
    """
    olds = [t for t in a.others if t.digests and t.index not in dropped]
    remaining = list(b.others)
    found: dict[int, Track] = {}

    def same(old: Track, new: Track) -> bool:
        if old.digests == new.digests or old.shown(old.digests) == new.shown(new.digests):
            return True
        return len(old.digests) == len(new.digests) and old.codec == new.codec and _reframed(a, b, old)

    def same_words(old: Track, new: Track) -> bool:
        return bool(old.words) and old.words == new.words

    def same_codec(old: Track, new: Track) -> bool:
        return old.codec == new.codec

    def overlapping(old: Track, new: Track) -> bool:
        return same_codec(old, new) and not set(old.digests).isdisjoint(new.digests)

    for alike in (same, same_words, overlapping, same_codec, converted):
        for old in olds:
            if old.index in found or ("timecode" in old.tags and old.kind == "data"):
                continue
            new = next((t for t in remaining if t.kind == old.kind and alike(old, t)), None)
            if new is not None:
                found[old.index] = new
                remaining.remove(new)
    return [(old, found.get(old.index)) for old in olds]


def order_faults(pairs: Iterable[tuple[Track, Track | None]]) -> Iterator[Fault]:
    """Streams of a kind that stand in another order: the second sound is then heard for the first."""
    latest: dict[str, tuple[Track, Track]] = {}
    for old, new in pairs:
        if new is None or old.kind not in ("audio", "subtitle", "video"):
            continue
        before = latest.get(old.kind)
        if before is not None and new.index < before[1].index:
            yield Fault(old.name, None, f"comes before {before[0].name} in the result")
        else:
            latest[old.kind] = old, new


def converted(old: Track, new: Track) -> bool:
    """Whether text subtitles, or sound without loss, were written in another form."""
    if old.codec == new.codec or old.kind != new.kind:
        return False
    if old.kind == "audio":
        return new.codec in LOSSLESS.values()
    return old.kind == "subtitle" and old.codec in TEXT and new.codec in TEXT


def shift_of(old: Track, new: Track) -> Fraction | None:
    """By how much the first packet that has a time was moved."""
    for x, y in zip(*_shown(old, new)[2:], strict=False):
        if x != NO_TIME and y != NO_TIME:
            return y * new.time_base - x * old.time_base
    return None


def packet_faults(a: Contents, b: Contents, old: Track, new: Track, shift: Fraction) -> Iterator[Fault]:
    """What is wrong with the packets of one stream whose times may be moved by `shift`."""
    if old.kind in ("attachment", "cover"):
        if old.digests != new.digests:
            yield Fault(old.name, None, "its content changed")
        return
    before, after, times, others = _shown(old, new)
    if converted(old, new) and old.kind == "audio":
        yield from _span_faults(old, new, shift)
        return
    if converted(old, new):
        if old.words != new.words:
            yield from _screen_faults(old, new, shift)
            return
        before, after = old.words, new.words
    elif _reframed(a, b, old) and len(before) == len(after):
        before = after  # their bytes cannot be compared
    if before != after:
        yield _difference(old, times, before, after)
        return
    tolerance = OTHER_CLOCKS.get(family(b.container), UNKNOWN_CLOCK)
    restarts = a.container in CONCATENATED
    yield from _time_faults(old, new, times, others, shift, tolerance, restarts=restarts)
    if old.kind == "subtitle" and (b.container != "mpegts" or any(new.durations)):
        yield from _length_faults(old, new)


def _time_faults(
    old: Track,
    new: Track,
    times: Sequence[int],
    others: Sequence[int],
    shift: Fraction,
    tolerance: Fraction,
    *,
    restarts: bool,
) -> Iterator[Fault]:
    values = (old.time_base, new.time_base, shift, tolerance)
    unit = math.lcm(*(v.denominator for v in values))
    scale, other_scale, moved, near = (int(v * unit) for v in values)
    first: tuple[int, int] | None = None  # time, and how late
    total = late = 0
    least = most = 0
    before: int | None = None
    for x, y in zip(times, others, strict=False):
        if x == NO_TIME or y == NO_TIME:
            continue
        if restarts and before is not None and (before - x) * old.time_base > BACK_S:
            break  # the clock starts anew: from here on there are no times to keep
        if before is not None and x <= before and old.kind == "audio":
            continue  # no container holds a time that repeats or goes back
        before = x
        by = y * other_scale - x * scale - moved
        least, most = (by, by) if not total else (min(least, by), max(most, by))
        total += 1
        if abs(by) > near:
            first = first or (x, by)
            late += 1
    if first is None:
        return
    at_s, by_s = float(first[0] * old.time_base), first[1] / unit
    if late == total and most - least <= near:
        yield Fault(old.name, at_s, f"moved by {by_s:+.4f} s against the pictures")
    else:
        detail = f"{late} of {total} packets not at their time, the first {by_s:+.4f} s"
        yield Fault(old.name, at_s, detail)


def _span_faults(old: Track, new: Track, shift: Fraction) -> Iterator[Fault]:
    """Of sound that was decoded: does it begin and end where it did?"""
    for name, was, now in zip(("begins", "ends"), _span(old), _span(new), strict=True):
        if was is not None and now is not None and abs(now - was - shift) > _SOUND_S:
            yield Fault(old.name, float(was), f"{name} at {float(now - shift):.3f} s")


def _span(track: Track) -> tuple[Fraction | None, Fraction | None]:
    stamped = [(p, d) for p, d in zip(track.pts, track.durations, strict=True) if p != NO_TIME]
    if not stamped:
        return None, None
    return stamped[0][0] * track.time_base, sum(stamped[-1]) * track.time_base


def _length_faults(old: Track, new: Track) -> Iterator[Fault]:
    for number, (x, y) in enumerate(zip(old.durations, new.durations, strict=False)):
        length, found = x * old.time_base, y * new.time_base
        if length and abs(length - found) > _CUE_S:
            at_s = None if old.pts[number] == NO_TIME else float(old.pts[number] * old.time_base)
            yield Fault(old.name, at_s, f"shown for {float(found):.3f} s, not {float(length):.3f} s")
            return


def _screen_faults(old: Track, new: Track, shift: Fraction) -> Iterator[Fault]:
    """Of subtitles that were put together where they overlap: is the same on screen at every time?"""
    before, after = _screens(old, shift), _screens(new, Fraction(0))
    for was, now in itertools.zip_longest(before, after):
        if was is None or now is None or was[1] != now[1] or abs(was[0] - now[0]) > _CUE_S:
            when = min(screen[0] for screen in (was, now) if screen is not None)
            shown = sum(1 for _, words in before if words), sum(1 for _, words in after if words)
            detail = f"other words on screen from here on ({shown[0]} texts became {shown[1]})"
            yield Fault(old.name, float(when - shift), detail)
            return


def _screens(track: Track, shift: Fraction) -> list[tuple[Fraction, int]]:
    """From when on (seconds, moved by `shift`) which words are on screen, as the sum of their digests."""
    changes: Counter[int] = Counter()
    for pts, lasts, words in zip(track.pts, track.durations, track.words, strict=True):
        if pts != NO_TIME:
            changes[pts] += words
            changes[pts + lasts] -= words
    times = sorted(changes)
    sums = itertools.accumulate(changes[when] for when in times)
    found: list[tuple[Fraction, int]] = []
    ends = itertools.chain(times[1:], [math.inf])
    for when, words, until in zip(times, sums, ends, strict=True):
        is_new = words % (1 << 64) != (found[-1][1] if found else 0)
        if is_new and (until - when) * track.time_base > _CUE_S:
            found.append((when * track.time_base + shift, words % (1 << 64)))
    return found


def _reframed(a: Contents, b: Contents, old: Track) -> bool:
    """MPEG-TS frames these codecs in another way than every other container."""
    reframed = a.container == "hls" or (a.container == "mpegts") != (b.container == "mpegts")
    return reframed and old.codec in ("h264", "hevc")


def _shown(old: Track, new: Track) -> tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]]:
    """Digests before and after, times before and after; without what edit lists hide, unless it is kept."""
    if old.digests == new.digests:
        return old.digests, new.digests, old.pts, new.pts
    return old.shown(old.digests), new.shown(new.digests), old.shown(old.pts), new.shown(new.pts)


def _difference(old: Track, times: Sequence[int], before: Sequence[int], after: Sequence[int]) -> Fault:
    """Where two rows of digests part, and in what."""
    pairs = zip(before, after, strict=False)
    first = next((k for k, (x, y) in enumerate(pairs) if x != y), min(len(before), len(after)))
    where = min(first, len(times) - 1)
    where_s = float(times[where] * old.time_base) if times and times[where] != NO_TIME else None
    lost, new = (Counter(before) - Counter(after)).total(), (Counter(after) - Counter(before)).total()
    if lost > new:
        detail = f"{lost} of {len(before)} packets missing" + (" to the end" if first == len(after) else "")
    elif new > lost:
        detail = f"{new} packets more than the source has"
    elif lost:
        detail = f"{lost} of {len(before)} packets changed"
    else:
        detail = "its packets are in another order"
    return Fault(old.name, where_s, detail)
