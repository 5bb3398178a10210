"""The networks once more, in OpenVINO's own operations, from arrays of weights: no torch is needed.

A body is a model with one input and one output, RGB and the difference as in `models/contract.py`, 1x3xHxW
float32; of networks with a half stem both are laid out as the network's own blocks of 2x2 px, 1x12xH/2xW/2
(`torch.pixel_unshuffle`).  A test holds every body to its network in torch.  Height and width are free until
`reshape`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset15 as op

from vdeblur.engine.openvino_words import Node, repeated, row, scalar
from vdeblur.weights.architecture import Architecture

HALF_FILTER = (0.000011984, 0.003334841, 0.100430979, 0.396222195)
"""As in `models/msresnet.py`, which cannot be imported without torch."""
Arrays = Mapping[str, np.ndarray[Any, np.dtype[np.float32]]]


def body(architecture: Architecture, arrays: Arrays, *, ensemble: bool = False) -> ov.Model:
    """The network of these weights as a model; `ensemble`: the mean over four rotations (MIMO-UNet++)."""
    network: Callable[[Node], Node] = (
        _MimoUNet(architecture, arrays)
        if architecture.family == "mimo-unet"
        else _MSResNet(architecture, arrays)
    )
    step = step_of(architecture)
    picture = op.parameter(ov.PartialShape([1, 3 * step**2, -1, -1]), np.float32, name="picture")
    if not ensemble:
        return ov.Model([op.result(network(picture))], [picture], "body")
    rgb = op.depth_to_space(picture, "depth_first", step)
    difference = _mean_of_rotations(lambda turned: from_blocks(network(in_blocks(turned, step)), step), rgb)
    return ov.Model([op.result(in_blocks(difference, step))], [picture], "body")


def step_of(architecture: Architecture) -> int:
    """Side of the blocks that a body's picture is laid out in."""
    return 2 if architecture.stem == "half" else 1


def in_blocks(x: Node, step: int) -> Node:
    """`torch.pixel_unshuffle`"""
    return x if step == 1 else op.space_to_depth(x, "depth_first", step)


def from_blocks(x: Node, step: int) -> Node:
    """`torch.pixel_shuffle`"""
    return x if step == 1 else op.depth_to_space(x, "depth_first", step)


class _MimoUNet:
    """As `models/mimo_unet.py` computes the full-size correction, operation by operation."""

    def __init__(self, architecture: Architecture, arrays: Arrays) -> None:
        self.step = step_of(architecture)
        self.blocks = architecture.blocks
        self.arrays = arrays

    def __call__(self, picture: Node) -> Node:
        conv, stage, attend = self._conv, self._stage, self._attend
        corner = self._corner(picture)
        e1 = stage("Encoder.0", conv(picture, "feat_extract.0"))
        e2 = attend("FAM2", conv(e1, "feat_extract.1", 2), self._features("SCM2", _every(corner, 2)))
        e2 = stage("Encoder.1", e2)
        e4 = attend("FAM1", conv(e2, "feat_extract.2", 2), self._features("SCM1", _every(corner, 4)))
        e4 = stage("Encoder.2", e4)

        coarse = op.add(self._part(e2, "AFFs.1", 1), repeated(self._part(e4, "AFFs.1", 2), 2, 2))
        fused2 = self._fuse("AFFs.1", op.add(self._part(_every(e1, 2), "AFFs.1", 0), coarse))
        coarse = op.add(self._part(e2, "AFFs.0", 1), repeated(self._part(e4, "AFFs.0", 2), 2, 2))
        fused1 = self._fuse("AFFs.0", op.add(self._part(e1, "AFFs.0", 0), repeated(coarse, 2, 2)))

        d4 = stage("Decoder.0", e4)
        d2 = stage("Decoder.1", conv(op.concat([self._enlarge(d4, "feat_extract.3"), fused2], 1), "Convs.0"))
        d1 = stage("Decoder.2", conv(op.concat([self._enlarge(d2, "feat_extract.4"), fused1], 1), "Convs.1"))
        return conv(d1, "feat_extract.5", relu=False)

    def _corner(self, picture: Node) -> Node:
        """The first pixel of every block."""
        if self.step == 1:
            return picture
        size = self.step**2
        return op.slice(picture, np.array([0]), np.array([3 * size]), np.array([size]), np.array([1]))

    def _conv(self, x: Node, name: str, stride: int = 1, relu: bool = True) -> Node:
        result = _conv(x, *self._weights(name), stride)
        return op.relu(result) if relu else result

    def _enlarge(self, x: Node, name: str) -> Node:
        weight, bias = self._weights(name)
        grown = op.convolution_backprop_data(x, weight, [2, 2], None, [1, 1], [1, 1], [1, 1])
        return op.relu(op.add(grown, row(bias)))

    def _stage(self, name: str, x: Node) -> Node:
        for i in range(self.blocks):
            inner = self._conv(x, f"{name}.layers.{i}.main.0")
            x = op.add(self._conv(inner, f"{name}.layers.{i}.main.1", relu=False), x)
        return x

    def _features(self, name: str, picture: Node) -> Node:
        features = picture
        for i in range(4):
            features = self._conv(features, f"{name}.main.{i}")
        return self._conv(op.concat([picture, features], 1), f"{name}.conv", relu=False)

    def _attend(self, name: str, encoded: Node, pictured: Node) -> Node:
        return op.add(encoded, self._conv(op.multiply(encoded, pictured), f"{name}.merge", relu=False))

    def _part(self, x: Node, name: str, level: int) -> Node:
        """The share of one level in a fusion's first convolution; the bias goes with the first."""
        weight, bias = self._weights(f"{name}.conv.0")
        quarter = weight.shape[1] // 7  # levels have 1, 2 and 4 parts of the columns
        first = quarter * (2**level - 1)
        columns = np.ascontiguousarray(weight[:, first : first + quarter * 2**level])
        return _conv(x, columns, bias if level == 0 else None)

    def _fuse(self, name: str, total: Node) -> Node:
        return self._conv(op.relu(total), f"{name}.conv.1", relu=False)

    def _weights(self, name: str) -> tuple[Any, Any]:
        return self.arrays[f"{name}.main.0.weight"], self.arrays[f"{name}.main.0.bias"]


class _MSResNet:
    """As `models/msresnet.py`; the picture is taken off at the end, for the network predicts it whole."""

    def __init__(self, architecture: Architecture, arrays: Arrays) -> None:
        self.levels, self.blocks, self.arrays = architecture.scales, architecture.blocks, arrays

    def __call__(self, rgb: Node) -> Node:
        pyramid = [rgb]
        for _ in range(self.levels - 1):
            pyramid.append(_halve(pyramid[-1]))
        coarser: Node = None
        for s in reversed(range(self.levels)):
            level = op.subtract(op.multiply(pyramid[s], scalar(255.0)), scalar(127.5))
            if coarser is not None:
                grown = self._conv(coarser, f"conv_end_models.{s + 1}.uppath.0")
                level = op.concat([level, op.depth_to_space(grown, "depth_first", 2)], 1)
            coarser = self._network(f"body_models.{s}.body", level)
        sharp = op.divide(op.add(coarser, scalar(127.5)), scalar(255.0))
        return op.subtract(sharp, rgb)

    def _network(self, name: str, x: Node) -> Node:
        x = self._conv(x, f"{name}.0")
        for i in range(1, self.blocks + 1):
            inner = op.relu(self._conv(x, f"{name}.{i}.body.0"))
            x = op.add(self._conv(inner, f"{name}.{i}.body.2"), x)
        return self._conv(x, f"{name}.{self.blocks + 1}")

    def _conv(self, x: Node, name: str) -> Node:
        return _conv(x, self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"])


def _mean_of_rotations(network: Callable[[Node], Node], rgb: Node) -> Node:
    """Two batches of two, upright and lying, as `RotationEnsemble` runs them."""
    upright = network(op.concat([rgb, _turned(rgb, 2)], 0))
    lying = network(op.concat([_turned(rgb, 1), _turned(rgb, 3)], 0))
    r0, r180 = op.split(upright, np.int64(0), 2).outputs()
    r90, r270 = op.split(lying, np.int64(0), 2).outputs()
    total = op.add(op.add(r0, _turned(r180, 2)), op.add(_turned(r90, 3), _turned(r270, 1)))
    return op.multiply(total, scalar(0.25))


def _turned(x: Node, quarters: int) -> Node:
    """`torch.rot90` over the last two axes."""
    if quarters == 2:
        return _flipped(_flipped(x, 2), 3)
    across = op.transpose(x, np.array([0, 1, 3, 2]))
    return _flipped(across, 2 if quarters == 1 else 3)


def _flipped(x: Node, axis: int) -> Node:
    end = np.iinfo(np.int64).min
    return op.slice(x, np.array([-1]), np.array([end]), np.array([-1]), np.array([axis]))


def _conv(x: Node, weight: Any, bias: Any = None, stride: int = 1) -> Node:
    pad = weight.shape[2] // 2
    found = op.convolution(x, weight, [stride] * 2, [pad] * 2, [pad] * 2, [1, 1])
    return found if bias is None else op.add(found, row(bias))


def _halve(x: Node) -> Node:
    """The 8-tap filter of the pyramid, rows and then columns, borders mirrored with the edge repeated."""
    taps = np.array(HALF_FILTER + HALF_FILTER[::-1], np.float32)
    for axis, (shape, stride) in {2: ((8, 1), [2, 1]), 3: ((1, 8), [1, 2])}.items():
        room = np.array([0, 0, 3, 0] if axis == 2 else [0, 0, 0, 3])
        wide = op.pad(x, room, room, "symmetric")
        kernel = np.broadcast_to(taps.reshape(1, 1, 1, *shape), (3, 1, 1, *shape)).copy()
        x = op.group_convolution(wide, kernel, stride, [0, 0], [0, 0], [1, 1])
    return x


def _every(x: Node, step: int) -> Node:
    """x[..., ::step, ::step]"""
    zero, end = np.array([0, 0]), np.array([np.iinfo(np.int64).max] * 2)
    return op.slice(x, zero, end, np.array([step, step]), np.array([2, 3]))
