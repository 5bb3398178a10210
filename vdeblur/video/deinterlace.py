"""Interlaced pictures made progressive with FFmpeg's bwdif, one picture out for each one in."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import av
import av.filter


def deinterlaced(pictures: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Pictures that are not marked as interlaced pass unchanged; times are kept (in a finer time base)."""
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
