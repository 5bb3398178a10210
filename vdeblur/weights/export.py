"""A network as an ONNX file, for other runtimes: `vdeblur weights export NAME --onnx FILE`.

Input `blurred` and output `sharp` are RGB, 1x3xHxW, float32 in [0, 1]; the output is not clamped. Height and
width are free, in multiples that the file's metadata names (`multiple_of`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from vdeblur import __version__
from vdeblur.errors import InputError, MissingRuntimeError, VdeblurError, to_install
from vdeblur.models.contract import DeblurNetwork
from vdeblur.weights.loading import Loaded, load_network

OPSET = 18


def export_onnx(path: Path, file: Path, height: int, width: int, *, ensemble: bool = False) -> str:
    """Write the network of a weights file; returns one line that says what was written.

    Raises MissingRuntimeError without the onnx packages, InputError where the target or the size cannot be.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingRuntimeError(
            f"--onnx {file}: needs {' and '.join(missing)}, not installed here: {to_install('vdeblur[onnx]')}"
        )
    if file.suffix != ".onnx":
        raise InputError(f"--onnx {file}: the name must end in .onnx")
    if file.exists():
        raise InputError(f"--onnx {file}: is there already; remove it or name another file")
    if not file.resolve().parent.is_dir():
        raise InputError(f"--onnx {file}: there is no folder {file.resolve().parent}")
    loaded = load_network(path, ensemble=ensemble)
    step = loaded.network.multiple_of
    if height % step or width % step or min(height, width) < 2 * step:
        raise InputError(
            f"--size {width}x{height}: both sides must be multiples of {step}, {2 * step} at least"
        )
    beside = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        _write(loaded, beside, height, width)
        os.replace(beside, file)
    except OSError as error:
        raise InputError(f"--onnx {file}: cannot be written ({error.strerror})") from None
    finally:
        beside.unlink(missing_ok=True)
    size_mb = file.stat().st_size / 1e6
    return f"{file}: {loaded.architecture}, {size_mb:.1f} MB, opset {OPSET}, sides multiples of {step}"


def _write(loaded: Loaded, beside: Path, height: int, width: int) -> None:
    import onnx

    network, step = loaded.network, loaded.network.multiple_of
    rows, columns = torch.export.Dim("rows", min=2), torch.export.Dim("columns", min=2)
    # Sides written as multiples, or the exporter pins them to those of the example.
    shape = {2: step * rows, 3: step * columns}
    example = torch.zeros(1, 3, height, width)
    try:
        with _quiet():
            program = torch.onnx.export(
                _Picture(network).eval(),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["blurred"],
                output_names=["sharp"],
                dynamic_shapes=(shape,),
                optimize=True,
            )
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise VdeblurError(f"{loaded.path}: torch could not export it ({reason})") from error
    assert program is not None
    model = program.model_proto
    facts = loaded.architecture.facts() | {"multiple_of": str(step), "weights_sha256": loaded.sha256}
    onnx.helper.set_model_props(model, facts | {"vdeblur": __version__})
    onnx.save(model, str(beside))


class _Picture(torch.nn.Module):
    """The network with nothing but the call that is exported."""

    def __init__(self, network: DeblurNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, blurred: torch.Tensor) -> torch.Tensor:
        sharp: torch.Tensor = self.network(blurred)
        return sharp


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch prints while it exports."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
