"""The linear layer's product, whose gradients are written where they belong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._arguments import wrong
from ...autograd import Tensor, fused
from ...autograd.graph import Leaf
from .._declare import noun
from ..linalg.products import _blas, matmul


def _linear_reference(x: Any, weight: Any) -> Any:
    return matmul(x, weight.t())


def _biased_reference(bias: Any, x: Any, weight: Any) -> Any:
    return matmul(x, weight.t()) + bias


# OpenBLAS takes 0.55 to 0.95 of the time (AVX2 kernels 0.9 to 1.05) for W xᵀ instead of x Wᵀ where W is at least so
# many elements and x has few rows; turning the result round is part of adding the bias.
_LARGE = 2**17


# NumPy's dot fills its result with zeros before BLAS does so again: above so many elements that takes longer than
# calling matmul.  Below, the method takes half the time of the function, which looks for others' __array_function__.
_ZEROED = 2**14


_SMALL = 0.5  # of a product's elements that its factors may have, for their norms to be found sooner than its largest


# The bias comes first, as in PyTorch's addmm: a layer's leaves are given their gradients in this order.
@fused(
    reference=_biased_reference,
    inputs=3,
    linear="bias",
    product="x weight",
    grad_name=lambda node: "AddmmBackward0" if node.ndim == 2 else "ViewBackward0",
)
def biased(xp, bias, x, weight):
    """:func:`linear` with a bias."""
    return _product(xp, x, weight, bias), None


@fused(
    reference=_linear_reference,
    inputs=2,
    product="x weight",
    grad_name=lambda node: "MmBackward0" if node.ndim == 2 else "ViewBackward0",
)
def unbiased(xp, x, weight):
    """:func:`linear` without a bias."""
    return _product(xp, x, weight, None), None


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input @ weight.T + bias``; of (*, in), (out, in) and (out): (*, out).

    Raises:
        RuntimeError: shapes or dtypes that do not fit.

    >>> F.linear(torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
    tensor([3., 2.])
    """
    return unbiased(input, weight) if bias is None else biased(bias, input, weight)


for _form in (biased, unbiased):  # errors name what users call
    _form.primitive.name = "linear"
    _form.primitive.public = "linear", ("input", "weight", "bias")


def _product(xp, x, weight, bias):
    given = bias
    try:
        if x.dtype.itemsize <= 2:
            if x.dtype != weight.dtype:
                raise TypeError  # told below
            ans = _blas(xp, x, weight.T)
        elif x.ndim != 2:
            ans = xp.matmul(x, weight.T)
        elif weight.size >= _LARGE and xp is np and len(weight) >= 128 and 8 <= len(x) <= min(64, x.shape[1] // 8):
            ans = np.add(weight.dot(x.T).T, 0 if bias is None else bias, order="C")
            bias = None
        else:
            ans = x.dot(weight.T)
        if bias is not None:
            ans += bias
    except (ValueError, TypeError, AttributeError) as e:
        raise _linear_error(x, weight, given) or e from None
    kind = weight.dtype
    if x.dtype is not kind or ans.dtype is not kind or (given is not None and given.dtype is not kind):
        error = _linear_error(x, weight, given)
        if error is not None:
            raise error
    return ans


@biased.defbackward
def _biased_backward(xp, g, ans, kept, wanted, bias, x, weight, outs=(None, None, None)):
    """g's column sums for the bias, g W for the input, gᵀ x for the weight; first and last into ``outs`` if given."""
    gb = gx = gw = None
    half = g.dtype.itemsize <= 2
    if weight.ndim == 1:  # one output, which is no dimension of its own
        g = np.reshape(g, (*g.shape, 1)) if xp is np else g.reshape((*g.shape, 1))
        gb, gx, gw = _biased_backward(xp, g, ans, kept, wanted, bias, x, weight[None])
        return gb, gx, None if gw is None else gw[0]
    if g.dtype.kind == "c":
        x, weight = x.conj(), weight.conj()
    if wanted[1] is not None:
        gx = _blas(xp, g, weight) if half or g.ndim != 2 else g.dot(weight)
    if g.ndim != 2:
        rows = math.prod(g.shape[:-1])  # -1 would not do where a dimension is 0
        g, x = g.reshape(rows, g.shape[-1]), x.reshape(rows, x.shape[-1])
    if wanted[2] is not None:
        out = outs[2]
        if half or out is None:
            gw = _blas(xp, g.T, x) if half else g.T.dot(x)
        else:
            gw = _into(xp, g, x, wanted[2], out)
    if wanted[0] is not None:
        gb = _column_sums(xp, g, outs[0])
    return gb, gx, gw


@unbiased.defbackward
def _unbiased_backward(xp, g, ans, kept, wanted, x, weight, outs=(None, None)):
    return _biased_backward(xp, g, ans, kept, (None, *wanted), None, x, weight, (None, *outs))[1:]


def _into(xp: Any, g: Any, x: Any, leaf: Leaf, out: Any) -> Any:
    """gᵀ x, the gradient of ``leaf``, in ``out``, its slot; or, where the two factors are kept, the slot as it is."""
    if leaf.bound is not None and g.size + x.size < _SMALL * out.size:
        leaf.tell_bound(_bound_of_product(xp, g, x))  # ahead of the product, which then finds both in the cache
    if leaf.factors is not None and leaf.factors(g, x):
        return out
    return g.T.dot(x, out) if out.size < _ZEROED else xp.matmul(g.T, x, out=out)


def _bound_of_product(xp: Any, g: Any, x: Any) -> float:
    """What no element of gᵀ x exceeds in magnitude: ‖g‖ ‖x‖, by Cauchy and Schwarz; inf or NaN where it is unknown.

    What is lost where a square underflows is nothing beside the numbers that a bound is compared with.
    """
    return math.sqrt(float(abs(xp.vdot(g, g)))) * math.sqrt(float(abs(xp.vdot(x, x))))


def _column_sums(xp: Any, g: Any, out: Any) -> Any:
    """The sums of a matrix's columns; by BLAS where that is quicker than NumPy's strided reduction."""
    if g.dtype.itemsize == 2:
        return g.sum(0, dtype=np.float32).astype(g.dtype)
    if xp is not np:
        return g.sum(0, out=out)
    if len(g) >= 32:
        return np.ones(len(g), g.dtype).dot(g, out)
    return np.add.reduce(g, 0, None, out)


def _linear_error(x: Any, weight: Any, bias: Any) -> Exception | None:
    """What is wrong with the operands of a linear map."""
    for position, (role, operand) in enumerate((("input", x), ("weight", weight)), 1):
        if not hasattr(operand, "dtype"):
            return wrong("linear", role, position, "Tensor", operand)
    if x.dtype != weight.dtype:
        return RuntimeError(f"mat1 and mat2 must have the same dtype, but got {noun(x)} and {noun(weight)}")
    if bias is not None and bias.dtype != weight.dtype:
        return RuntimeError(f"self and mat2 must have the same dtype, but got {noun(bias)} and {noun(weight)}")
    wide = f"weight {list(weight.shape)} (out_features, in_features)"
    if x.ndim == 0 or weight.ndim == 0:
        return RuntimeError(f"linear: both arguments need to be at least 1D, but they are {x.ndim}D and {weight.ndim}D")
    if x.shape[-1] != weight.shape[-1]:
        rows = x.size // x.shape[-1] if x.shape[-1] else 0
        return RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{x.shape[-1]} and "
            f"{weight.shape[-1]}x{weight.shape[0]}): the "
            f"last dimension (-1) of input {list(x.shape)} is {x.shape[-1]}, but must be {weight.shape[-1]} for {wide}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        return RuntimeError(f"linear: bias {list(bias.shape)} does not fit {wide}")
    return None
