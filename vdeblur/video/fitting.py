"""Decoded pictures made fit: progressive where it is wanted, and in the one layout that a clip has."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import av
import av.filter
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vdeblur.video import formats
from vdeblur.video.clip import Clip


def deinterlaced(pictures: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """One picture for each by FFmpeg's bwdif; times are kept (in a finer time base).

    Those that are not marked as interlaced pass unchanged.
    """
    for _, alike in itertools.groupby(pictures, lambda p: (p.width, p.height, p.format.name)):
        first = next(alike)
        graph = _graph(first)
        for picture in itertools.chain([first], alike, [None]):
            graph.push(picture)
            yield from _ready(graph)


def _graph(first: av.VideoFrame) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=first.width, height=first.height, format=first.format, time_base=first.time_base
    )
    fields = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(fields)
    fields.link_to(sink)
    graph.configure()
    return graph


def _ready(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            picture = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert isinstance(picture, av.VideoFrame)
        yield picture


class Fitting:
    """What changes in the middle of a file is said: `warn` takes sentences, with every picture again."""

    def __init__(self, clip: Clip, warn: Callable[[str], None]) -> None:
        self._clip, self._warn = clip, warn
        self._reformatter = VideoReformatter()
        self._tags: tuple[Any, Any] | None = None  # of the first picture: shape of its pixels, colour

    def fitted(self, picture: av.VideoFrame, video: VideoStream) -> av.VideoFrame:
        """The picture in `clip.picture.layout`, its lines from top to bottom; `video` has decoded it."""
        self._compare_tags(picture, video)
        shown, name = self._clip.picture, picture.format.name
        layout = shown.layout
        if (picture.width, picture.height) != (layout.width, layout.height):
            self._warn(f"the picture size changes in the middle: scaled to {layout.width}x{layout.height}")
        elif name not in (layout.name, shown.pix_fmt) and not self._clip.by_gpu:
            self._warn(f"the pixel format changes in the middle: {name} is converted to {layout.name}")
        elif name == layout.name:
            return formats.upright(picture)
        return self._reformatter.reformat(picture, layout.width, layout.height, layout.name)

    def _compare_tags(self, picture: av.VideoFrame, video: VideoStream) -> None:
        """What stands once in the result is what the first picture says."""
        aspect = video.codec_context.sample_aspect_ratio
        colour = (picture.color_range, picture.colorspace, picture.color_primaries, picture.color_trc)
        first_aspect, first_colour = self._tags = self._tags or (aspect, colour)
        if aspect != first_aspect:
            self._warn("the shape of the pixels changes in the middle: that of the first picture is written")
        if colour != first_colour:
            self._warn("the colour tags change in the middle: those of the first picture are written")
