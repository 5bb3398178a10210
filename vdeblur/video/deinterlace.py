"""Interlaced pictures made progressive with FFmpeg's bwdif, one picture out for each one in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av
import av.filter


class Deinterlacer:
    """Pictures that are not marked as interlaced pass unchanged; times are kept (in a finer time base)."""

    def through(self, pictures: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """The pictures, deinterlaced; a new graph is made where size or format change."""
        graph: av.filter.Graph | None = None
        shape: tuple[int, int, str] | None = None
        for picture in pictures:
            found = (picture.width, picture.height, picture.format.name)
            if graph is None or found != shape:
                if graph is not None:
                    yield from _drained(graph)
                graph, shape = _graph(picture), found
            graph.push(picture)
            yield from _ready(graph)
        if graph is not None:
            yield from _drained(graph)


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


def _drained(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    graph.push(None)
    yield from _ready(graph)


def _ready(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            picture = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert isinstance(picture, av.VideoFrame)
        yield picture
