"""4:2:0 and a network with a half stem meet in blocks of 2x2 px: no chroma is enlarged, no RGB laid out.

Such a network sees a block as twelve channels (red, green, blue of four pixels) and answers in that form; a
block of 4:2:0 is four luma words and one of each chroma.  So chroma is spread by adding it to four channels,
and averaged over four.  The same arithmetic as in `openvino_graph.py`, for a third of its time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from openvino import opset15 as op

from vdeblur import colour
from vdeblur.engine import guard
from vdeblur.engine.openvino_body import in_blocks
from vdeblur.engine.openvino_words import Node, added, cropped, figures, scalar, values, weighted
from vdeblur.frame import PlaneLayout


def fit(layout: PlaneLayout) -> bool:
    """Whether a picture is made of whole blocks with one chroma sample each."""
    return layout.kind == "yuv" and layout.subsampling == (2, 2) and not (layout.height | layout.width) & 1


def to_rgb(words: Sequence[Node], layout: PlaneLayout) -> Node:
    """Padded components -> (1, 12, rows / 2, columns / 2) float32, clipped to [0, 1]."""
    luma = values(in_blocks(words[0], 2), layout, colour.luma_codes(layout.depth, layout.range))
    chroma_codes = colour.chroma_codes(layout.depth, layout.range)
    cb, cr = (values(word, layout, chroma_codes) for word in words[1:3])
    channels = [
        op.add(luma, op.add(op.multiply(cb, scalar(from_cb)), op.multiply(cr, scalar(from_cr))))
        for _, from_cb, from_cr in colour.yuv_to_rgb(layout.matrix).tolist()
    ]
    return op.concat([op.clamp(channel, 0.0, 1.0) for channel in channels], 1)


def end(words: Sequence[Node], head: Node, layout: PlaneLayout, strength: float) -> list[Node]:
    """Words plus `strength` times the difference, at the layout's own size; then the guard's figures."""
    size = layout.height // 2, layout.width // 2
    head = cropped(head, size)
    channels = op.split(head, np.int64(1), 3).outputs()
    matrix = colour.MATRICES[layout.matrix] * strength
    codes = colour.luma_codes(layout.depth, layout.range)
    luma = cropped(in_blocks(words[0], 2), size)
    changed = added(luma, weighted(channels, matrix[0] * codes.unit), layout, codes)
    result = [op.depth_to_space(changed, "depth_first", 2)]
    chroma_codes = colour.chroma_codes(layout.depth, layout.range)
    for word, row in zip(words[1:3], matrix[1:], strict=True):
        change = op.reduce_mean(weighted(channels, row * chroma_codes.unit), np.array([1]), True)
        result.append(added(cropped(word, size), change, layout, chroma_codes))
    return [*result, figures(head, size, guard.BLOCK // 2)]
