"""Networks in int8 by post-training quantisation (NNCF), and how much of their gain that leaves.

What was tried is in docs/speed.md.  Kept out of int8: convolutions with a picture at one end, products of
two feature maps (they square the range), and the residual sums: their rounding errors would add up from
block to block.  Activations have a zero point of their own and the whole range that was seen; clipping their
extremes cost most of all.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset15 as op

from vdeblur.engine.openvino import bodies_of
from vdeblur.engine.openvino_graph import network, step_of_body
from vdeblur.weights.arrays import Weights

Picture = np.ndarray[Any, np.dtype[np.uint8]]
ENDS = (3, 6, 12)
"""Channels of a picture, of two, or of one laid out in blocks of 2x2 px."""


def quantised_body(weights: Weights, pictures: Sequence[Picture]) -> ov.Model:
    """The network's body in int8, calibrated on pictures (height x width x 3) of one size."""
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    nncf.set_log_level(logging.ERROR)
    body = bodies_of(weights, None).careful()
    step = step_of_body(body)
    height, width = pictures[0].shape[:2]
    body.reshape([1, 3 * step**2, height // step, width // step])
    found: ov.Model = nncf.quantize(
        body,
        nncf.Dataset([_in_blocks(planar(picture), step) for picture in pictures]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(pictures),
        ignored_scope=nncf.IgnoredScope(names=_kept_out(body)),
        advanced_parameters=AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
        ),
    )
    _centre_what_is_enlarged(found)
    found.reshape(ov.PartialShape([1, 3 * step**2, -1, -1]))
    return found


def _centre_what_is_enlarged(body: ov.Model) -> None:
    """Give the inputs of transposed convolutions a range without a zero point: else they stay float."""
    for operation in body.get_ordered_ops():
        source = operation.input_value(0).get_node() if operation.get_input_size() else None
        if operation.get_type_name() != "ConvolutionBackpropData" or source is None:
            continue
        if source.get_type_name() != "FakeQuantize":
            continue
        limits = [source.input_value(number).get_node().get_data() for number in (1, 2)]
        reach = max(float(np.abs(limit).max()) for limit in limits)
        for number in range(1, 5):
            limit = op.constant(np.full_like(limits[0], -reach if number % 2 else reach * 127 / 128))
            source.input(number).replace_source_output(limit.output(0))


def serialised(model: ov.Model) -> tuple[bytes, bytes]:
    """The model's two parts, as a file of `weights/quantised.py` holds them."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.xml"
        ov.save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def gains_db(body: ov.Model, pairs: Sequence[tuple[Picture, Picture]], hint: str = "f32") -> list[float]:
    """PSNR of result and sharp minus that of blurred and sharp (data range 1, clipped), pair by pair."""
    height, width = pairs[0][0].shape[:2]
    options = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    run = ov.Core().compile_model(network(body, height, width), "CPU", options)
    found = []
    for blurred, sharp in pairs:
        before, truth = planar(blurred), planar(sharp)
        after = np.clip(before + run(before)[0], 0.0, 1.0)
        found.append(float(10 * np.log10(np.square(before - truth).mean() / np.square(after - truth).mean())))
    return found


def planar(picture: Picture) -> Any:
    """(1, 3, height, width), float32 from 0 to 1."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None]).astype(np.float32) / 255


def _in_blocks(rgb: Any, step: int) -> Any:
    """`torch.pixel_unshuffle`"""
    _, channels, height, width = rgb.shape
    parts = rgb.reshape(channels, height // step, step, width // step, step).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(parts.reshape(1, channels * step**2, height // step, width // step))


def _kept_out(body: ov.Model) -> list[str]:
    names = []
    for operation in body.get_ordered_ops():
        kind = operation.get_type_name()
        sources = [value.get_node().get_type_name() for value in operation.input_values()]
        joins = kind in ("Add", "Multiply") and "Constant" not in sources
        if kind == "Convolution":
            wide_in = operation.input_value(0).get_partial_shape()[1].get_length()
            wide_out = operation.output(0).get_partial_shape()[1].get_length()
            joins = wide_in in ENDS or wide_out in ENDS
        if joins:
            names.append(operation.get_friendly_name())
    return names
