"""The arithmetic of reductions: operands are taken in rank order, whatever the message layer and its algorithm.

``combine`` is the one place where gradients of different ranks meet, so the bits of a sum depend on the operands and
their order only: not on the MPI at hand, the bucket they travelled in or the order in which messages arrived.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distgrad import dtypes
from distgrad.jit import MOST_PARTS, Mean, compiled

__all__ = ["ReduceOp", "check_op", "combine"]


class ReduceOp(enum.Enum):
    """How a reduction combines the ranks' elements; PyTorch's names and numbers.

    The bitwise ``BAND``, ``BOR`` and ``BXOR`` are of integers and bool.  ``PREMUL_SUM`` is there for its name: using it
    is an error, as in PyTorch without NCCL.

    >>> t = torch.tensor([2.0])
    >>> dist.all_reduce(t, dist.ReduceOp.MAX)
    >>> t
    tensor([2.])
    """

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7
    PREMUL_SUM = 8


_UFUNC: dict[ReduceOp, Callable[..., Any]] = {
    ReduceOp.SUM: np.add,
    ReduceOp.AVG: np.add,
    ReduceOp.PRODUCT: np.multiply,
    ReduceOp.MIN: np.minimum,
    ReduceOp.MAX: np.maximum,
    ReduceOp.BAND: np.bitwise_and,
    ReduceOp.BOR: np.bitwise_or,
    ReduceOp.BXOR: np.bitwise_xor,
}
_BITWISE = (ReduceOp.BAND, ReduceOp.BOR, ReduceOp.BXOR)
_ORDERED = (ReduceOp.MIN, ReduceOp.MAX)
_NARROW = {dtypes.float16.np, dtypes.bfloat16.np}
_BLOCK = 1 << 15  # elements; float32 copies of a block of narrow floats stay in L2


def check_op(op: ReduceOp, dtype: np.dtype) -> None:
    """Refuse an operation that has no meaning for ``dtype``, before any message is sent.

    Raises:
        TypeError: ``op`` is no ReduceOp, or ``dtype`` is none of :mod:`distgrad.dtypes`.
        ValueError: an order or bits of complex numbers, or a mean of integers.
        RuntimeError: bits of floating-point numbers, or ``PREMUL_SUM``.
    """
    if not isinstance(op, ReduceOp):
        raise TypeError(f"op must be one of {', '.join(f'ReduceOp.{o.name}' for o in _UFUNC)}; got {op!r}")
    kind = dtypes.FROM_NUMPY.get(dtype) or dtypes.from_numpy_dtype(dtype)  # the function is slow, but its error clear
    if op is ReduceOp.SUM:
        return
    if op is ReduceOp.PREMUL_SUM:
        raise RuntimeError("Cannot use ReduceOp.PREMUL_SUM without NCCL: multiply, then use ReduceOp.SUM")
    if kind.is_complex and (op in _ORDERED or op in _BITWISE):
        raise ValueError(f"ReduceOp.{op.name} is not defined on complex numbers, got {kind!r}")
    if op is ReduceOp.AVG and kind.category < 2:
        raise ValueError(f"ReduceOp.AVG needs floating-point or complex numbers, got {kind!r}; use SUM and divide")
    if op in _BITWISE and kind.category >= 2:
        raise RuntimeError(f"Cannot use ReduceOp.{op.name} with non-integral dtype {kind!r}")


def combine(op: ReduceOp, operands: Sequence[np.ndarray], out: np.ndarray) -> None:
    """Write ``op`` over ``operands`` into ``out``: ``((x_0 op x_1) op x_2) ...``, AVG divided by their number.

    Args:
        operands: one array a rank, in rank order, of one shape (1-d) and dtype.
        out: where the result goes; may be one of the operands.  float16 and bfloat16 are summed in float32 and
            rounded once; bool takes SUM and MAX as "or", PRODUCT and MIN as "and".
    """
    ufunc, dtype = _UFUNC[op], out.dtype
    if dtype.kind == "c" and op is ReduceOp.PRODUCT:
        ufunc = _complex_multiply
    if len(operands) == 2 and op is not ReduceOp.AVG and dtype not in _NARROW:  # at once: small sums are all overhead
        with np.errstate(all="ignore"):
            ufunc(operands[0], operands[1], out=out)
        return
    if dtype not in _NARROW:
        if op is ReduceOp.AVG and len(operands) > 1 and _mean(operands, out):
            return
        _accumulate(ufunc, operands, out)
        if op is ReduceOp.AVG:
            parts, n = out.view(out.real.dtype), len(operands)
            if n & (n - 1):
                np.divide(parts, n, out=parts)
            else:  # the same bits, in less time
                np.multiply(parts, 1 / n, out=parts)
        return
    for lo in range(0, out.size, _BLOCK):
        part = [x[lo : lo + _BLOCK].astype(np.float32) for x in operands]
        _accumulate(ufunc, part, part[0])
        if op is ReduceOp.AVG:
            part[0] /= np.float32(len(operands))
        out[lo : lo + _BLOCK] = part[0].astype(dtype)


def _mean(operands: Sequence[np.ndarray], out: np.ndarray) -> bool:
    """The mean in one pass, where loops are compiled; whether they are."""
    loop = compiled(_made, out) if len(operands) <= MOST_PARTS else None
    if loop is None:
        return False
    loop(Mean.of(operands), out)
    return True


def _made(mean, out):  # type: ignore[no-untyped-def]
    """For :func:`~distgrad.jit.compiled`; ``out`` may be a part of ``mean``."""
    for i in range(out.size):
        out[i] = mean[i]


def _complex_multiply(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    # np.multiply fuses multiply and add where its vector loop applies, which depends on length and overlap.
    real = x.real * y.real - x.imag * y.imag
    imag = x.real * y.imag + x.imag * y.real
    out.real, out.imag = real, imag


def _accumulate(ufunc: Callable[..., Any], operands: Sequence[np.ndarray], out: np.ndarray) -> None:
    if len(operands) == 1:
        out[...] = operands[0]
        return
    # Written into a later operand, the running result would destroy it before its turn.
    aliased = any(np.may_share_memory(x, out) for x in operands[2:])
    running = np.empty_like(out) if aliased else out
    with np.errstate(all="ignore"):  # overflow and NaN are the user's numbers, on every rank alike
        ufunc(operands[0], operands[1], out=running)
        for x in operands[2:]:
            ufunc(running, x, out=running)
    if aliased:
        out[...] = running
