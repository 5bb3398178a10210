"""Planes to RGB, network, difference, guard and planes again as one OpenVINO model.

The same arithmetic as `engine/planes.py` and `guard.figures`, in OpenVINO's operations; a test holds it to
them, and `planes.py` has the reasons.  Every part is a function from nodes to nodes, so that the parts can
be one model (`whole`) or three (tiles, or a body in another precision).  Components come as (1, 1, rows,
columns) of uint8 or uint16, padded to whole units.

Where 4:2:0 meets a network with a half stem, both are in blocks of 2x2 px: the network sees twelve channels
(red, green, blue of four pixels), a block is four luma words and one of each chroma.  So chroma is spread by
adding it to four channels, and averaged over four: the same for a third of the time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import openvino as ov
from openvino import opset15 as op

from vdeblur import colour
from vdeblur.engine import guard
from vdeblur.engine.lane import component_sizes
from vdeblur.engine.openvino_body import from_blocks, in_blocks
from vdeblur.engine.openvino_words import (
    Node,
    added,
    cropped,
    figures,
    repeated,
    row,
    scalar,
    values,
    weighted,
    word_type,
)
from vdeblur.frame import PlaneLayout


def whole(body: ov.Model, layout: PlaneLayout, rows: int, columns: int, strength: float) -> ov.Model:
    """Padded components -> changed components at their own size, then the guard's three figures."""
    words = _parameters(layout, rows, columns)
    step = step_of_body(body)
    if step == 2 and _made_of_blocks(layout):
        head = _inlined(body, _blocks_to_rgb(words, layout), rows, columns)
        return _model(words, _blocks_end(words, head, layout, strength), "planes to planes by blocks")
    head = _inlined(body, in_blocks(_to_rgb(words, layout), step), rows, columns)
    return _model(words, _end(words, from_blocks(head, step), layout, strength), "planes to planes")


def network(body: ov.Model, rows: int, columns: int) -> ov.Model:
    """RGB -> difference, both (1, 3, rows, columns)."""
    rgb = op.parameter([1, 3, rows, columns], np.float32)
    step = step_of_body(body)
    head = _inlined(body, in_blocks(rgb, step), rows, columns)
    return _model([rgb], [from_blocks(head, step)], "network")


def front(layout: PlaneLayout, rows: int, columns: int) -> ov.Model:
    """Padded components -> RGB."""
    words = _parameters(layout, rows, columns)
    return _model(words, [_to_rgb(words, layout)], "planes to RGB")


def back(layout: PlaneLayout, rows: int, columns: int, strength: float) -> ov.Model:
    """Padded components and a padded difference -> what `whole` gives."""
    words = _parameters(layout, rows, columns)
    difference = op.parameter([1, 3, rows, columns], np.float32)
    return _model([*words, difference], _end(words, difference, layout, strength), "difference to planes")


def _parameters(layout: PlaneLayout, rows: int, columns: int) -> list[Node]:
    across, down = layout.subsampling
    chroma = rows // down, columns // across
    return [
        op.parameter(
            [1, 1, *((rows, columns) if layout.kind != "yuv" or i == 0 else chroma)], word_type(layout)
        )
        for i in range(len(layout.components))
    ]


def _model(inputs: Sequence[Node], outputs: Sequence[Node], name: str) -> ov.Model:
    return ov.Model([op.result(output) for output in outputs], list(inputs), name)


def step_of_body(body: ov.Model) -> int:
    """Side of the blocks that its picture is laid out in."""
    return 2 if body.input(0).get_partial_shape()[1].get_length() == 12 else 1


def _inlined(body: ov.Model, picture: Node, rows: int, columns: int) -> Node:
    """The body's result with `picture` in place of its input; takes the body apart."""
    step = step_of_body(body)
    body.reshape([1, 3 * step**2, rows // step, columns // step])
    for target in body.input(0).get_target_inputs():
        target.replace_source_output(picture.output(0))
    return body.output(0).get_node().input_value(0)


def _to_rgb(words: Sequence[Node], layout: PlaneLayout) -> Node:
    """Components -> (1, 3, rows, columns) float32, clipped to [0, 1]."""
    codes = colour.luma_codes(layout.depth, layout.range)
    if layout.kind != "yuv":
        channels = [values(word, layout, codes) for word in words]
        return op.clamp(op.concat(channels if layout.kind == "rgb" else channels * 3, 1), 0.0, 1.0)
    chroma_codes = colour.chroma_codes(layout.depth, layout.range)
    cb, cr = (values(word, layout, chroma_codes) for word in words[1:3])
    from_cb, from_cr = colour.yuv_to_rgb(layout.matrix)[:, 1:].T
    offset = op.add(op.multiply(cb, row(from_cb)), op.multiply(cr, row(from_cr)))
    across, down = layout.subsampling
    spread = offset if (across, down) == (1, 1) else repeated(offset, down, across)
    return op.clamp(op.add(values(words[0], layout, codes), spread), 0.0, 1.0)


def _end(words: Sequence[Node], difference: Node, layout: PlaneLayout, strength: float) -> list[Node]:
    """Words plus `strength` times the difference, at the layout's own size; then the guard's figures."""
    own = [cropped(word, size) for word, size in zip(words, component_sizes(layout), strict=True)]
    difference = cropped(difference, (layout.height, layout.width))
    return [
        *_added_to(own, difference, layout, strength),
        figures(difference, (layout.height, layout.width), guard.BLOCK),
    ]


def _added_to(words: Sequence[Node], difference: Node, layout: PlaneLayout, strength: float) -> list[Node]:
    codes = colour.luma_codes(layout.depth, layout.range)
    if layout.kind == "rgb":
        changes = op.split(op.multiply(difference, scalar(strength * codes.unit)), np.int64(1), 3).outputs()
        return [added(word, change, layout, codes) for word, change in zip(words, changes, strict=True)]
    matrix = colour.MATRICES[layout.matrix] * strength
    channels = op.split(difference, np.int64(1), 3).outputs()
    result = [added(words[0], weighted(channels, matrix[0] * codes.unit), layout, codes)]
    if layout.kind == "yuv":
        chroma_codes = colour.chroma_codes(layout.depth, layout.range)
        means = op.split(_block_mean(difference, layout), np.int64(1), 3).outputs()
        for word, row in zip(words[1:3], matrix[1:], strict=True):
            change = weighted(means, row * chroma_codes.unit)
            result.append(added(word, change, layout, chroma_codes))
    return result


def _block_mean(difference: Node, layout: PlaneLayout) -> Node:
    """Mean over the luma pixels of each chroma sample, of those that exist."""
    across, down = layout.subsampling
    if (across, down) == (1, 1):
        return difference
    short = [-layout.height % down, -layout.width % across]
    return op.avg_pool(difference, [down, across], [0, 0], short, [down, across], True)


def _made_of_blocks(layout: PlaneLayout) -> bool:
    """Whether a picture is made of whole blocks with one chroma sample each."""
    return layout.kind == "yuv" and layout.subsampling == (2, 2) and not (layout.height | layout.width) & 1


def _blocks_to_rgb(words: Sequence[Node], layout: PlaneLayout) -> Node:
    """Padded components -> (1, 12, rows / 2, columns / 2) float32, clipped to [0, 1]."""
    luma = values(in_blocks(words[0], 2), layout, colour.luma_codes(layout.depth, layout.range))
    chroma_codes = colour.chroma_codes(layout.depth, layout.range)
    cb, cr = (values(word, layout, chroma_codes) for word in words[1:3])
    channels = [
        op.add(luma, op.add(op.multiply(cb, scalar(from_cb)), op.multiply(cr, scalar(from_cr))))
        for _, from_cb, from_cr in colour.yuv_to_rgb(layout.matrix).tolist()
    ]
    return op.concat([op.clamp(channel, 0.0, 1.0) for channel in channels], 1)


def _blocks_end(words: Sequence[Node], head: Node, layout: PlaneLayout, strength: float) -> list[Node]:
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
    for word, weights in zip(words[1:3], matrix[1:], strict=True):
        change = op.reduce_mean(weighted(channels, weights * chroma_codes.unit), np.array([1]), True)
        result.append(added(cropped(word, size), change, layout, chroma_codes))
    return [*result, figures(head, size, guard.BLOCK // 2)]
