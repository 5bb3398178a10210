"""Compare a finished file with its source: what was kept, what a container could not hold, what is damaged.

`verify` reads both with `contents` (no code of the writer), packet by packet, and gives a `Receipt`.  Every
difference is a fault, but for those that `limits` explains and those that the run announced: they are notes.
Only the first picture is decoded; all of them where the packets of the two files do not agree in time.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

from av.stream import Disposition

from vdeblur.errors import InputError
from vdeblur.video import limits, looks, tracks
from vdeblur.video.alignment import Matched, Times, matched
from vdeblur.video.clip import Picture
from vdeblur.video.contents import (
    Choose,
    Contents,
    Track,
    packet_times,
    picture_times,
    read_contents,
    video_in_place_of,
    video_numbered,
)
from vdeblur.video.hdr import numbers_of
from vdeblur.video.limits import Case, family, limit, tag
from vdeblur.video.receipt import Announced, Fault, Receipt
from vdeblur.video.restarts import CONCATENATED

_CHAPTER_S = Fraction(1, 1000)
# Steps of AV1's fixed point numbers: chromaticities, darkest, brightest.
_HDR_STEPS = (*([1 / 65536] * 8), 1 / 16384, 1 / 256)
_KINDS = {
    "audio": "audio",
    "subtitle": "subtitles",
    "video": "further videos",
    "cover": "covers",
    "attachment": "attachments",
    "data": "data streams",
}


def verify(
    source: str | Contents, result: str, announced: Announced | None = None, *, pictures: bool = False
) -> Receipt:
    """Compare two files; raises InputError where one of them cannot be read.

    A run's own result that cannot be read is a fault: somebody just wrote it.  With `pictures` both are
    decoded, and every picture of the result must look like the source's from far away.  For a source that
    cannot be read again its contents, as they were seen, will do (without `pictures`).
    """
    chosen = video_numbered(announced.index if announced else None)
    before = source if isinstance(source, Contents) else read_contents(source, chosen)
    try:
        after = read_contents(result, _of_result(before, announced))
    except InputError:
        if announced is None:
            raise
        return Receipt(faults=(Fault("file", None, "what was written cannot be read back"),))
    receipt = _Comparison(before, after, announced).receipt()
    if not pictures or isinstance(source, Contents):
        return receipt
    made = looks.looks_of(source, chosen)
    found = looks.looks_of(result, _of_result(before, announced))
    alike, faults = looks.compared(made, found, looks.DEBLURRED)
    return dataclasses.replace(
        receipt, faults=(*receipt.faults, *faults), alike=alike, like="look like the source's"
    )


class _Comparison:
    """Collects faults and notes over one pair of files."""

    def __init__(self, before: Contents, after: Contents, announced: Announced | None) -> None:
        self.a, self.b, self.run = before, after, announced
        self.dropped = dict(announced.dropped) if announced else {}
        self.pairs = tracks.paired(self.a, self.b, self.dropped)
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        self.timed = True
        self.shift: Fraction | None = Fraction(0)  # of all times; None where the pictures do not tell it

    def receipt(self) -> Receipt:
        if self.run is not None and self.run.once:
            self.notes.append(
                "the source cannot be read again: compared with what was seen while it was read"
            )
        if self.a.broken:
            self.notes.append("the source cannot be read to its end: compared as far as it goes")
        if self.b.broken:
            self._fault("file", None, "the result cannot be read to its end")
        on_time, frames = self._frames()
        self._pictures()
        kept: Counter[str] = Counter()
        for index, reason in self.dropped.items():
            words = next((t.name for t in self.a.others if t.index == index), f"stream {index}")
            self.notes.append(f"{words}: {reason}")
        for old, new in self.pairs:
            before = len(self.faults)
            if new is None:
                self._judge("stream", "is not there", Case(self.a, self.b, old, None), name=old.name)
                continue
            if self.shift is None:  # the first other stream stands in for pictures without times
                self.shift = tracks.shift_of(old, new)
            if tracks.converted(old, new):
                how = ", styles may be simplified" if old.kind == "subtitle" else " without loss"
                self.notes.append(f"{old.name}: {old.codec} became {new.codec}{how}")
            self.faults += tracks.packet_faults(self.a, self.b, old, new, self.shift or Fraction(0))
            self._labels(old, new)
            if len(self.faults) == before:
                kept[_KINDS.get(old.kind, old.kind)] += 1
        self.faults += tracks.order_faults(self.pairs)
        known = {new.index for _, new in self.pairs if new is not None}
        for new in self.b.others:
            if new.index not in known and new.kind != "data" and new.digests:
                self.notes.append(f"{new.name} of the result: not in the source")
        self._labels(self.a.video, self.b.video)
        kept["chapters"] = self._chapters()
        self._tags(Case(self.a, self.b, self.a.video, None))
        order = [*_KINDS.values(), "chapters"]
        return Receipt(
            kept={name: kept[name] for name in order if kept[name]},
            frames_on_time=on_time,
            frames=frames,
            timed=self.timed,
            notes=tuple(dict.fromkeys(self.notes)),
            faults=tuple(self.faults),
        )

    def _fault(self, what: str, where_s: float | None, detail: str) -> None:
        self.faults.append(Fault(what, where_s, detail))

    def _judge(
        self, what: str, detail: str, case: Case, where_s: float | None = None, *, name: str | None = None
    ) -> None:
        """A difference: a note where the table explains it, else a fault; `name` says more than `what`."""
        known = limit(what, case)
        if known is None:
            self._fault(name or what, where_s, detail)
        elif not known.silent:
            self.notes.append(f"{name or what}: {detail} ({known.reason})")

    def _video_case(self, key: str = "") -> Case:
        return Case(self.a, self.b, self.a.video, self.b.video, key)

    # Pictures in time

    def _frames(self) -> tuple[int, int]:
        """Number and times of the pictures; returns (on time, in the source)."""
        old, new = packet_times(self.a.video), packet_times(self.b.video)
        found = self._matched(old, new) if old and new else None
        if old is None or new is None or found is None or not found.whole:
            # Packets are not always pictures; the decoder knows.
            old = self._pictures_of_source()
            if not old.increase:
                return self._counted(old, new)
            found = self._matched(old, new) if new else None
            if new is None or found is None or not found.whole:
                new = picture_times(self.b.source, self.b.video.index)
                found = self._matched(old, new)
        self.shift = found.shift
        self._say_times(found, old, new)
        if found.whole:
            self._last_duration()
        return found.count, len(old)

    def _matched(self, old: Times, new: Times) -> Matched:
        moved = (tracks.shift_of(x, y) for x, y in self.pairs if x.kind == "audio" and y is not None)
        return matched(old, new, self._tolerance, next(moved, None))

    def _pictures_of_source(self) -> Times:
        if self.run is not None and self.run.frames is not None:
            if not self.run.once:
                self.notes.append("frames: the source is damaged; those count that came out of it")
            return self.run.frames
        return picture_times(self.a.source, self.a.video.index)

    def _counted(self, old: Times, new: Times | None) -> tuple[int, int]:
        """Times of the source that nobody can keep: the pictures are counted."""
        self.shift = None
        if new is None or len(new) != len(old):
            new = picture_times(self.b.source, self.b.video.index)
        self.timed = False
        self._judge("times", "not compared", self._video_case("unordered"))
        if len(new) != len(old):
            self._fault("frames", None, f"{len(old)} became {len(new)}")
        return min(len(old), len(new)), len(old)

    def _say_times(self, found: Matched, old: Times, new: Times) -> None:
        detail = f"all frames moved by {float(found.shift):+.4f} s"
        recorded = self.a.container in CONCATENATED  # counts from anywhere
        if found.shift and family(self.b.container) == "mov" and not recorded:
            self._fault("times", float(old.at(0)), detail)
        elif found.shift:
            self.notes.append(f"times: {detail}")
        if found.whole:
            return
        if len(new) == len(old) and found.first_missing is not None:
            detail = f"{found.missing} of {len(old)} frames are not at their time"
            self._fault("times", float(found.first_missing), detail)
            return
        if found.first_missing is not None:
            to_end = " to the end" if found.tail else ""
            detail = f"{found.missing} of {len(old)} missing{to_end}"
            self._fault("frames", float(found.first_missing), detail)
        if found.first_extra is not None:
            detail = f"{found.extra} more than the source has (twice, or not its own)"
            self._fault("frames", float(found.first_extra), detail)

    @property
    def _tolerance(self) -> Fraction:
        return limits.CLOCKS.get(family(self.b.container), limits.UNKNOWN_CLOCK)

    def _last_duration(self) -> None:
        old, new = _last(self.a.video), _last(self.b.video)
        if self.run is not None and not self.run.lasts:
            return
        if old is None or new is None or abs(old[1] - new[1]) <= self._tolerance:
            return
        detail = f"{float(old[1]):.6f} s became {float(new[1]):.6f} s"
        name = "last frame's duration"
        self._judge("last duration", detail, self._video_case(), float(old[0]), name=name)

    # What the first picture tells

    def _pictures(self) -> None:
        old, new = self.a.picture, self.b.picture
        if old is None:
            return
        if new is None:
            self._fault("picture", None, "none decodes in the result")
            return
        case = self._video_case()
        resized = self.run is not None and self.run.resized
        sizes = [f"{picture.layout.width}x{picture.layout.height}" for picture in (old, new)]
        if sizes[0] != sizes[1] and not resized:
            self._judge("size", f"{sizes[0]} became {sizes[1]}", case)
        if old.pix_fmt != new.pix_fmt:
            self.notes.append(f"pixels: {old.pix_fmt} became {new.pix_fmt}")
        if _has_alpha(old) and not _has_alpha(new):
            self._judge("transparency", "is lost", case)
        aspects = [picture.sample_aspect_ratio or 1 for picture in (old, new)]
        if aspects[0] != aspects[1]:
            self._judge("aspect", f"{aspects[0]} became {aspects[1]}", case)
        if old.rotation != new.rotation:
            self._judge("rotation", f"{old.rotation} became {new.rotation} degrees", case)
        elif old.display_matrix not in (None, new.display_matrix):
            self._judge("rotation", "the display matrix differs", case)
        sitings = [picture.chroma_siting or "left" for picture in (old, new)]
        if sitings[0] != sitings[1]:
            self._judge("chroma siting", f"{sitings[0]} became {sitings[1]}", case)
        fields = [_fields(picture) for picture in (old, new)]
        if fields[0] != fields[1] and "interlaced" not in fields:
            self._fields(f"{fields[0]} became {fields[1]}", case, made=fields[1] == "progressive")
        for name, x, y in _colours(old, new):
            self._judge("colour", f"{name} {x} became {y}", self._video_case(name))
        there = numbers_of(new.hdr)
        for name, numbers in numbers_of(old.hdr).items():
            pairs = zip(numbers, there.get(name, ()), _HDR_STEPS, strict=False)
            if name not in there:
                self._judge("HDR10 data", f"{name} lost", case)
            elif any(abs(x - y) > step for x, y, step in pairs):
                self._judge("HDR10 data", f"{name} changed", case)
        gone = [name for name in old.hdr.dynamic if name not in new.hdr.dynamic]
        if old.captions and not new.captions:
            gone.append("closed captions")
        if gone:
            what = "data of single pictures"
            self._judge(what, f"{', '.join(gone)} lost", case)

    def _fields(self, detail: str, case: Case, *, made: bool) -> None:
        """`made`: into progressive pictures, on purpose or by losing the mark; only pictures could tell."""
        if made and (self.run is None or self.run.progressive):
            self.notes.append(f"fields: {detail}, which is right if the pictures were deinterlaced")
        else:
            self._judge("fields", detail, case)

    # Labels

    def _labels(self, old: Track, new: Track) -> None:
        case = Case(self.a, self.b, old, new)
        self._tags(case)
        spoken = tag(new.tags, "language") or "und"
        if spoken != "und" and tag(old.tags, "language") is None:
            self._fault(f"{old.name} language", None, f"{spoken!r}, of which the source says nothing")
        if old.disposition != new.disposition and old.kind not in ("cover", "attachment"):
            detail = f"{_marks(old.disposition)} became {_marks(new.disposition)}"
            self._judge("disposition", detail, case, name=f"{old.name} disposition")

    def _tags(self, case: Case) -> None:
        whose = "" if case.new is None else f"{case.old.name} "
        for key, value in case.tags[0].items():
            one = dataclasses.replace(case, key=key)
            if one.found != value:
                name = "language" if key == "language" else f"tag {key}"
                detail = f"{value!r} " + ("is lost" if one.found is None else f"became {one.found!r}")
                self._judge("tag", detail, one, name=whose + name)

    def _chapters(self) -> int:
        """How many are kept."""
        old, new = self.a.chapters, self.b.chapters
        if len(old) != len(new):
            where_s = next((float(o[0]) for o, n in zip(old, new, strict=False) if o[2] != n[2]), None)
            self._judge("chapters", f"{len(old)} became {len(new)}", self._video_case(), where_s)
            return 0
        kept = 0
        for number, (x, y) in enumerate(zip(old, new, strict=True), 1):
            off = min(abs(y[0] - x[0] - s) for s in (Fraction(0), self.shift or Fraction(0)))
            length = abs((y[1] - y[0]) - (x[1] - x[0]))
            if off > _CHAPTER_S:
                self._fault(f"chapter {number}", float(x[0]), f"begins at {float(y[0]):.3f} s")
            elif x[2] != y[2]:
                self._fault(f"chapter {number}", float(x[0]), f"{x[2]!r} became {y[2]!r}")
            elif length > 2 * _CHAPTER_S:
                self._fault(f"chapter {number}", float(x[0]), f"ends at {float(y[1]):.3f} s")
            else:
                kept += 1
        return kept


def _of_result(a: Contents, announced: Announced | None) -> Choose:
    dropped = announced.dropped if announced else {}
    videos = (t.index for t in (a.video, *a.others) if t.kind == "video")
    return video_in_place_of(a.video.index, (index for index in videos if index not in dropped))


def _last(video: Track) -> tuple[Fraction, Fraction] | None:
    """Time and duration of the picture that is shown last."""
    pts, durations = video.shown(video.pts), video.shown(video.durations)
    number = max(range(len(pts)), key=pts.__getitem__)
    if not durations[number]:
        return None
    return pts[number] * video.time_base, durations[number] * video.time_base


def _has_alpha(picture: Picture) -> bool:
    """Of bgra nobody knows: GIFs and screens have it without letting anything through."""
    return picture.pix_fmt.startswith(("yuva", "gbrap", "ya"))


def _fields(picture: Picture) -> str:
    """Some give the numbers for fields coded in another order than shown the other way round."""
    known = {2: "top field first", 3: "bottom field first"}
    return known.get(picture.field_order, "interlaced") if picture.interlaced else "progressive"


def _colours(old: Picture, new: Picture) -> Iterator[tuple[str, int, int]]:
    """Names and numbers (H.273) that differ; an unstated range counts as limited, RGB has no matrix, and what
    JPEG leaves open may be stated (it is sRGB)."""
    rgb = ("gbr", "rgb", "bgr", "argb", "abgr", "pal8")
    if old.pix_fmt.startswith(rgb):
        return
    a, b = old.colour, new.colour
    if (a.range == 2) != (b.range == 2) and not new.pix_fmt.startswith(rgb):
        yield "range", a.range, b.range
    grey = old.pix_fmt.startswith(("gray", "ya"))  # has no use for a matrix, and x264 states none for it
    if a.matrix != b.matrix and not grey and {a.matrix, b.matrix} != {5, 6}:  # BT.601 has two numbers
        yield "matrix", a.matrix, b.matrix
    free = 2 if old.codec == "mjpeg" else None
    if a.primaries not in (b.primaries, free):
        yield "primaries", a.primaries, b.primaries
    if a.transfer not in (b.transfer, free):
        yield "transfer", a.transfer, b.transfer


def _marks(disposition: int) -> str:
    """`default+forced`."""
    names = [mark.name for mark in Disposition if mark.name and disposition & mark]
    rest = disposition & ~sum(Disposition)
    return "+".join([*(name for name in names if name), *([str(rest)] if rest else [])]) or "none"
