"""The one kernel of our own, in Triton: what comes after a convolution, in one pass over its result.

Imported only where `engine/fused.py` runs; a channels_last tensor is read as it lies in memory.
"""

# No `from __future__ import annotations`: Triton reads the types of the parameters.
import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def epilogue(  # type: ignore[no-untyped-def]
    x,
    bias,
    plus,
    size,
    channels: tl.constexpr,
    has_bias: tl.constexpr,
    has_plus: tl.constexpr,
    relu: tl.constexpr,
    block: tl.constexpr,
):
    """x = relu(x + bias[channel] + plus) for `size` numbers; summed in float32, rounded once."""
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = at < size
    value = tl.load(x + at, mask=inside).to(tl.float32)
    if has_bias:
        value += tl.load(bias + at % channels, mask=inside).to(tl.float32)
    if has_plus:
        value += tl.load(plus + at, mask=inside).to(tl.float32)
    if relu:
        value = tl.where(value < 0.0, 0.0, value)  # keeps NaN, which the guard must see
    tl.store(x + at, value.to(x.dtype.element_ty), mask=inside)
