"""Bias, sum and ReLU in one pass: the kernel against torch, on a GPU or in Triton's interpreter."""

from __future__ import annotations

import copy
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vdeblur.engine import fused
from vdeblur.engine.fused import Fused, finish
from vdeblur.engine.rewrite import Compute, Conv, plain, rewritten
from vdeblur.models.mimo_unet import MimoUNet


def check_every_combination(device: str) -> None:
    """Each part given or not, both types, a size that is no multiple of a block, and a NaN that must stay."""
    torch.manual_seed(0)
    for case in range(16):
        dtype = torch.float16 if case & 8 else torch.float32

        def picture(dtype: torch.dtype = dtype) -> Tensor:
            drawn = torch.randn(2, 16, 13, 11, device=device).to(dtype)
            return drawn.contiguous(memory_format=torch.channels_last)

        x = picture()
        x[0, 3, 0, 0] = float("nan")
        bias = torch.randn(16, device=device).to(dtype) if case & 1 else None
        plus = picture() if case & 2 else None
        relu = bool(case & 4)
        expected = x.float()
        for part in (None if bias is None else bias.view(1, -1, 1, 1), plus):
            expected = expected if part is None else expected + part.float()
        expected = (expected.relu() if relu else expected).to(dtype)
        found = finish(x, bias, plus, relu)
        assert torch.equal(found.isnan(), expected.isnan()), case
        assert torch.equal(found.nan_to_num(), expected.nan_to_num()), case


@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton comes with torch for CUDA only"
)
def test_the_kernel_in_tritons_interpreter() -> None:
    """In a process of its own: the interpreter is chosen when Triton is imported."""
    code = (
        "import os; os.environ['TRITON_INTERPRET'] = '1'\n"
        "from engine.test_fused import check_every_combination\n"
        "check_every_combination('cpu')"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join([str(Path(__file__).parents[1]), *sys.path])},
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_a_tensor_that_lost_its_layout_is_refused() -> None:
    """Read as it lies it would be another picture."""
    with pytest.raises(RuntimeError, match="channels_last"):
        finish(torch.zeros(1, 8, 4, 6), torch.zeros(8), None, relu=True)


def test_a_shape_without_a_fused_kernel_is_done_in_two_steps_and_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the others are not: one such shape among many must not cost the whole way."""
    asked: list[tuple[int, ...]] = []

    def in_one(conv: Conv, x: Tensor, plus: Tensor | None) -> Tensor:
        asked.append(tuple(x.shape))
        if x.shape[-1] == 5:
            raise RuntimeError("FIND was unable to find an engine to execute this computation")
        return plain(conv, x, plus)

    def in_two(x: Tensor, bias: Tensor | None, plus: Tensor | None, relu: bool) -> Tensor:
        total = x + sum(
            part for part in (None if bias is None else bias.view(1, -1, 1, 1), plus) if part is not None
        )
        return total.relu() if relu else total

    monkeypatch.setattr(fused, "_in_one", in_one)
    monkeypatch.setattr(fused, "finish", in_two)
    compute = copy.deepcopy(Fused())  # as the network that holds it is copied
    torch.manual_seed(0)
    conv = Conv(torch.randn(8, 8, 3, 3), torch.randn(8), plain, padding=1, relu=True)
    for width in (5, 6, 5, 6):
        x = torch.randn(1, 8, 4, width)
        for plus in (None, torch.randn(1, 8, 4, width)):
            assert torch.allclose(compute(conv, x, plus), plain(conv, x, plus), atol=1e-5)
    assert [shape[-1] for shape in asked] == [5, 5, 6, 6, 6, 6]
    assert len(compute.refused) == 2


def test_memory_that_runs_out_is_no_missing_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_one(*parts: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(fused, "_in_one", in_one)
    compute = Fused()
    with pytest.raises(torch.OutOfMemoryError):
        compute(Conv(torch.zeros(8, 8, 1, 1), None, plain, relu=True), torch.zeros(1, 8, 4, 4), None)
    assert not compute.refused


def fused_cases(height: int, width: int) -> set[tuple[torch.Size, torch.Size, int, int, bool]]:
    """MIMO-UNet's convolutions with a ReLU: shape, shape of the weights, stride, padding, something added."""
    cases = set()

    def watching(conv: Conv, x: Tensor, plus: Tensor | None) -> Tensor:
        if conv.relu and not conv.transposed:
            cases.add((x.shape, conv.weight.shape, conv.stride, conv.padding, plus is not None))
        return plain(conv, x, plus)

    with torch.inference_mode():
        rewritten(MimoUNet().eval().to("meta"), watching).correction(
            torch.empty(1, 3, height, width, device="meta")
        )
    return cases


def check_results_over_what_was_no_number(device: str, height: int, width: int, compute: Compute) -> None:
    """Each result is written where NaN stood before; twice, as the first round tries kernels."""
    cases = fused_cases(height, width)
    assert len(cases) > 10
    for shape, kernel, stride, padding, added in sorted(cases):

        def drawn(*size: int, scale: float = 1.0) -> Tensor:
            made = (torch.randn(*size, device=device) * scale).half()
            return made.contiguous(memory_format=torch.channels_last) if len(size) == 4 else made

        torch.manual_seed(0)
        x, bias = drawn(*shape), drawn(kernel[0])
        weight = drawn(*kernel, scale=(kernel[1] * kernel[2] * kernel[3]) ** -0.5)
        conv = Conv(weight, bias, plain, stride=stride, padding=padding, relu=True)
        expected = torch.nn.functional.conv2d(x, weight, bias, stride, padding)
        plus = drawn(*expected.shape) if added else None
        expected = (expected.float() + (0 if plus is None else plus.float())).relu()
        for _ in range(2):
            block = torch.full(expected.shape, torch.nan, dtype=torch.half, device=device)
            del block  # the next of its size is put there
            with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
                found = compute(conv, x, plus)
            case = f"{tuple(shape)}, {tuple(kernel)}, stride {stride}, added {added}"
            assert found.isfinite().all(), case
            assert torch.allclose(found.float(), expected, rtol=4e-3, atol=2e-2), case


@pytest.mark.cuda
def test_nothing_of_what_was_in_memory_before_gets_into_a_result() -> None:
    """cuDNN is given its own unwritten result as a summand, times 0: that times NaN would be NaN."""
    compute = Fused()
    check_results_over_what_was_no_number("cuda", 720, 1280, compute)
    assert not compute.refused


@pytest.mark.cuda
def test_the_kernel_on_the_device() -> None:
    check_every_combination("cuda")


@pytest.mark.cuda
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "transposed"), [(3, 1, False), (1, 2, False), (5, 1, False), (4, 2, True)]
)
def test_fused_convolutions_equal_torchs(
    relu: bool, added: bool, kernel: int, stride: int, transposed: bool
) -> None:
    torch.manual_seed(0)

    def drawn(*size: int) -> Tensor:
        made = torch.randn(*size, device="cuda").half()
        return made.contiguous(memory_format=torch.channels_last) if len(size) == 4 else made

    x, weight, bias = drawn(2, 32, 40, 24), drawn(32, 32, kernel, kernel) / kernel**2, drawn(32)
    padding = kernel // 2 - transposed
    conv = Conv(weight, bias, plain, stride=stride, padding=padding, transposed=transposed, relu=relu)
    plus = drawn(*plain(conv, x, None).shape) if added else None
    found = Fused()(conv, x, plus)
    expected = plain(conv.float(), x.float(), None if plus is None else plus.float())
    assert found.dtype == torch.float16
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(found.float(), expected, rtol=4e-3, atol=2e-2)
