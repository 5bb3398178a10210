"""Bias, sum and ReLU in one pass: the kernel against torch, on a GPU or in Triton's interpreter."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vdeblur.engine.fused import finish, fused
from vdeblur.engine.rewrite import plain


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
    shape = plain(x, weight, bias, stride, padding, transposed=transposed, relu=relu, plus=None).shape
    plus = drawn(*shape) if added else None
    exact = [None if part is None else part.float() for part in (x, weight, bias, plus)]
    expected = plain(*exact[:3], stride, padding, transposed=transposed, relu=relu, plus=exact[3])  # type: ignore[arg-type]
    found = fused(x, weight, bias, stride, padding, transposed=transposed, relu=relu, plus=plus)
    assert found.dtype == torch.float16
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(found.float(), expected, rtol=4e-3, atol=2e-2)
