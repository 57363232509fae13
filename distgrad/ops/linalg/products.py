"""Products of vectors and matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..._arguments import checked, kind_of
from ...autograd import Tensor, primitive
from ...autograd.recording import named_as
from ...dtypes import float32, from_numpy_dtype
from .._declare import Number, attach, axis, in_float32, method, ndim_of, noun, numbers_first, raw, unknown
from .._numbers import fitting

__all__ = [
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "diag", "diagonal", "dot", "inner", "matmul", "mm", "mv",
    "outer", "tensordot", "trace", "vdot",
]  # fmt: skip

_f16 = np.dtype(np.float16)


def _blas(xp: Any, x: Any, y: Any) -> Any:
    """``x @ y``; half precisions are multiplied in float32 (as accurate, and BLAS knows no other way)."""
    if x.dtype.itemsize <= 2:
        if x.dtype.kind in "fV":
            return xp.matmul(x.astype(np.float32), y.astype(np.float32)).astype(x.dtype)
        if x.dtype.kind == "b":
            raise unknown("matmul", x)
    return xp.matmul(x, y)


def _same_type(x: Any, y: Any, name: str) -> None:
    if x.dtype != y.dtype:
        a, b = (from_numpy_dtype(d).tensor_type[:-6].lower() for d in (x.dtype, y.dtype))
        raise RuntimeError(f"{name}: expected m1 and m2 to have the same dtype, but got: {a} != {b}")


def _shapes_error(x: Any, y: Any) -> RuntimeError:
    if x.ndim == 2 and y.ndim == 2:
        return RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({x.shape[0]}x{x.shape[1]} and {y.shape[0]}x{y.shape[1]})"
        )
    return RuntimeError(f"matmul: shapes {list(x.shape)} and {list(y.shape)} cannot be multiplied")


def _matmul_name(node: Any) -> str:
    a, b = (2 if e is None else e.ndim for e in node.edges)
    return {(1, 1): "DotBackward0", (2, 1): "MvBackward0", (2, 2): "MmBackward0", (1, 2): "SqueezeBackward4"}.get(
        (a, b), "BmmBackward0"
    )


@primitive("__matmul__", "matmul", grad_name=_matmul_name)
def matmul(xp, x, y):
    """``matmul(input, other)``: dot product, matrix-vector, matrix-matrix or batched product by the operands' ranks.

    >>> torch.matmul(torch.ones(2, 3), torch.ones(3))
    tensor([3., 3.])
    """
    try:
        number = x.ndim == 0 or y.ndim == 0
    except AttributeError:
        role, given = ("input' (position 1)", x) if not hasattr(x, "ndim") else ("other' (position 2)", y)
        raise TypeError(
            f"matmul(): argument '{role} must be Tensor, not {kind_of(given)} (unsupported operand of @)"
        ) from None
    if number:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {x.ndim}D and {y.ndim}D")
    _same_type(x, y, "matmul")
    if x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        raise _shapes_error(x, y)
    return _blas(xp, x, y)


# Neither rule asks its own operand, not even for its rank: the node keeps what the wanted gradients read, and no more.


def _matmul_x(g, ans, x, y):
    y = y.conj()
    if len(y.shape) == 1:
        return g[..., None] * y if len(g.shape) else g * y
    if len(g.shape) < len(y.shape):  # a vector times matrices
        return matmul(y, g[..., None])[..., 0]
    return matmul(g, y.swapaxes(-1, -2))


def _matmul_y(g, ans, x, y):
    x = x.conj()
    if len(x.shape) == 1:
        return x[:, None] * g[..., None, :] if len(g.shape) else g * x
    if len(g.shape) < len(x.shape):  # matrices times a vector
        return matmul(x.swapaxes(-1, -2), g[..., None])[..., 0]
    return matmul(x.swapaxes(-1, -2), g)


matmul.defvjp(_matmul_x, _matmul_y, saves=("y", "x"))
attach("__rmatmul__", lambda self, other: matmul.operator(other, self))


def _checked(name: str, ranks: tuple[int, int], second: str, doc: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The product of tensors of these ``ranks``, of which the ``second`` argument has that name."""

    def product(input: Tensor, other: Tensor) -> Tensor:
        have = ndim_of(input), ndim_of(other)
        if have != ranks:
            raise RuntimeError(
                f"{name}: expected a {ranks[0]}D and a {ranks[1]}D tensor, but got {have[0]}D and {have[1]}D"
            )
        if ranks[0] == 3 and raw(input).shape[0] != raw(other).shape[0]:  # batches are not broadcast
            a, b = raw(input).shape, raw(other).shape
            raise RuntimeError(
                f"Expected size for first two dimensions of batch2 tensor to be: [{a[0]}, {a[2]}] but got: "
                f"[{b[0]}, {b[1]}]."
            )
        return matmul(input, other)

    product.__name__ = product.__qualname__ = name
    product.__doc__ = doc
    product.__code__ = named_as(product.__code__, ("input", second))
    product.__annotations__ = {"input": "Tensor", second: "Tensor", "return": "Tensor"}
    return method(name)(product)


mm = _checked("mm", (2, 2), "mat2", """Product of two matrices (n, m) and (m, p): (n, p).

    >>> torch.mm(torch.ones(1, 2), torch.tensor([[1.0], [2.0]]))
    tensor([[3.]])
    """)
mv = _checked("mv", (2, 1), "vec", """Product of a matrix (n, m) and a vector (m): (n).

    >>> torch.mv(torch.ones(1, 2), torch.tensor([1.0, 2.0]))
    tensor([3.])
    """)
bmm = _checked("bmm", (3, 3), "mat2", """Products of two batches of matrices (b, n, m) and (b, m, p): (b, n, p).

    >>> torch.bmm(torch.ones(2, 3, 4), torch.ones(2, 4, 5)).shape
    torch.Size([2, 3, 5])
    """)
dot = _checked("dot", (1, 1), "tensor", """Dot product of two vectors.

    >>> torch.dot(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    tensor(11.)
    """)


@method("vdot")
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """Dot product of two vectors, the first conjugated.

    >>> torch.vdot(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    tensor(11.)
    """
    return dot(input.conj(), other)


@method("outer", "ger")
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Outer product of vectors (n) and (m): (n, m).

    >>> torch.outer(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    for role, x in (("self", input), ("vec2", vec2)):
        if ndim_of(x) != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {role}, but got {ndim_of(x)}-D")
    return input.reshape(-1, 1) * vec2.reshape(1, -1)


@method("inner")
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Products summed over the last dimension of both.

    >>> torch.inner(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    tensor(11.)
    """
    if ndim_of(input) == 0 or ndim_of(other) == 0:
        return input * other
    a, b = list(raw(input).shape), list(raw(other).shape)
    if a[-1] != b[-1]:
        raise RuntimeError(f"inner() the last dimension must match on both input tensors but got shapes {a} and {b}")
    return matmul(input, other) if len(a) == len(b) == 1 else tensordot(input, other, ([-1], [-1]))


@checked
def tensordot(a: Tensor, b: Tensor, dims: int | Sequence[Sequence[int]] = 2) -> Tensor:
    """Products summed over the last ``dims`` dimensions of ``a`` and first of ``b``, or over lists of dimensions.

    >>> torch.tensordot(torch.ones(2, 3), torch.ones(3, 4), dims=1).shape
    torch.Size([2, 4])
    """
    n, m = ndim_of(a), ndim_of(b)
    if not isinstance(dims, int) and not (
        isinstance(dims, tuple | list) and len(dims) == 2 and all(isinstance(d, tuple | list) for d in dims)
    ):
        raise RuntimeError(
            "tensordot expects dims to be int or tuple[list[int], list[int]] or list[list[int]] containing two lists, "
            f"but got dims={dims}"
        )
    if isinstance(dims, int):
        if not 0 <= dims <= min(n, m):
            raise RuntimeError(f"tensordot expects dims between 0 and the operands' ranks, but got dims={dims}")
    elif len(dims[0]) != len(dims[1]):
        raise RuntimeError(f"both dimension lists should have same length, got {list(dims[0])} and {list(dims[1])}")
    first, second = (
        (list(range(n - dims, n)), list(range(dims)))
        if isinstance(dims, int)
        else ([axis(d, n) for d in dims[0]], [axis(d, m) for d in dims[1]])
    )
    sa, sb = raw(a).shape, raw(b).shape
    for i, j in zip(first, second, strict=True):  # a dimension of size 1 takes the other's sum
        if sa[i] == 1 != sb[j]:
            b = b.sum(j, keepdim=True, dtype=b.dtype)
        elif sb[j] == 1 != sa[i]:
            a = a.sum(i, keepdim=True, dtype=a.dtype)
    sa, sb = raw(a).shape, raw(b).shape
    if [sa[d] for d in first] != [sb[d] for d in second]:
        raise RuntimeError(
            f"contracted dimensions need to match, but first has sizes {sa} at {first} and second {sb} at {second}"
        )
    free_a = [d for d in range(n) if d not in first]
    free_b = [d for d in range(m) if d not in second]
    inside = 1
    for d in first:
        inside *= sa[d]
    x = a.permute(*free_a, *first).reshape([math.prod([sa[d] for d in free_a])] * bool(free_a) + [inside])
    y = b.permute(*second, *free_b).reshape([inside] + [math.prod([sb[d] for d in free_b])] * bool(free_b))
    return matmul(x, y).reshape([sa[d] for d in free_a] + [sb[d] for d in free_b])


@primitive(meta="x", grad_name="MulBackward0")
@in_float32
def _scaled(xp, x, factor):
    """``factor * x``; of 0 zeros, whatever ``x`` holds."""
    return x * factor if factor else xp.zeros_like(x)


_scaled.defvjp(lambda g, ans, x, factor: g * factor.conjugate(), saves="")


def _blended(
    name: str, multiply: Any, input: Tensor, first: Tensor, second: Tensor, beta: Number, alpha: Number
) -> Tensor:
    """``beta * input + alpha * multiply(first, second)``: a factor of 0 takes NaN away, too; ``input`` is expanded to
    the product.  Half precisions are rounded but once."""
    from ..shape import _expanded

    kind = input.dtype
    if kind.itemsize == 2 and kind.is_floating_point and first.dtype == second.dtype == kind:
        input, first, second = input.to(float32), first.to(float32), second.to(float32)
        return _blended(name, multiply, input, first, second, beta, alpha).to(kind)
    product = multiply(first, second)
    x, y = raw(input), raw(product)
    if x.dtype != y.dtype:
        raise RuntimeError(f"{name}: expected all tensors to have the same dtype, but got {noun(x)} and {noun(y)}")
    if y.dtype.kind in "biu":
        beta, alpha = fitting(beta, y.dtype), fitting(alpha, y.dtype)
    _expanded(y.shape, x.shape)
    if alpha != 1:  # PyTorch's baddbmm alone looks at the product where alpha is 0
        product = _scaled(product, alpha) if alpha or name != "baddbmm" else product * alpha
    if beta == 0 and not input.requires_grad:
        return product
    return product + (input if beta == 1 else _scaled(input, beta))


@numbers_first("beta", "alpha", methods=("addmm",))
@checked
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """``beta * input + alpha * (mat1 @ mat2)``; where ``beta`` is 0 whatever ``input`` holds.

    >>> torch.addmm(torch.ones(2, 2), torch.eye(2), torch.eye(2))
    tensor([[2., 1.],
            [1., 2.]])
    """
    return _blended("addmm", mm, input, mat1, mat2, beta, alpha)


@numbers_first("beta", "alpha", methods=("addmv",))
@checked
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """``beta * input + alpha * (mat @ vec)``; where ``beta`` is 0 whatever ``input`` holds.

    >>> torch.addmv(torch.ones(2), torch.eye(2), torch.tensor([1.0, 2.0]))
    tensor([2., 3.])
    """
    return _blended("addmv", mv, input, mat, vec, beta, alpha)


@numbers_first("beta", "alpha", methods=("baddbmm",))
@checked
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """``beta * input + alpha * (batch1 @ batch2)``, for each matrix of the batch; where ``beta`` is 0 whatever
    ``input`` holds.

    >>> torch.baddbmm(torch.ones(1, 2, 2), torch.eye(2).reshape(1, 2, 2), torch.eye(2).reshape(1, 2, 2))
    tensor([[[2., 1.],
             [1., 2.]]])
    """
    return _blended("baddbmm", bmm, input, batch1, batch2, beta, alpha)


@numbers_first("beta", "alpha", methods=("addbmm",))
@checked
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """``beta * input + alpha * sum(batch1 @ batch2)``, summed over the batch; where ``beta`` is 0 whatever ``input``
    holds.

    >>> torch.addbmm(torch.ones(2, 2), torch.ones(3, 2, 1), torch.ones(3, 1, 2))
    tensor([[4., 4.],
            [4., 4.]])
    """
    return _blended("addbmm", _summed_bmm, input, batch1, batch2, beta, alpha)


def _summed_bmm(first: Tensor, second: Tensor) -> Tensor:
    product = bmm(first, second)
    return product.sum(0, dtype=product.dtype)


@numbers_first("beta", "alpha", methods=("addr",))
@checked
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """``beta * input + alpha * outer(vec1, vec2)``; where ``beta`` is 0 whatever ``input`` holds.

    >>> torch.addr(torch.zeros(2, 2), torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    for name, x in (("vec1", vec1), ("vec2", vec2)):
        if ndim_of(x) != 1:
            raise RuntimeError(f"addr: Expected 1-D argument {name}, but got {ndim_of(x)}-D")
    if raw(input).dtype.kind in "biu":
        for name, factor in (("beta", beta), ("alpha", alpha)):
            if not isinstance(factor, int):
                raise RuntimeError(
                    f"For integral input tensors, argument {name} must not be a floating point number."
                )
    return _blended("addr", outer, input, vec1, vec2, beta, alpha)


@method("trace")
def trace(input: Tensor) -> Tensor:
    """Sum of the main diagonal of a matrix.

    >>> torch.trace(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(5.)
    """
    if ndim_of(input) != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {ndim_of(input)}")
    return diagonal(input).sum()


@primitive(meta="x", view=True, grad_name="DiagonalBackward0")
def _diagonal(xp, x, offset, dim1, dim2):
    out = x.diagonal(offset, dim1, dim2)
    if xp is np:
        out.flags.writeable = x.flags.writeable  # NumPy's is read-only, PyTorch's is not
    return out


@primitive(grad_name="DiagonalScatterBackward0")
def _on_diagonal(xp, x, shape, offset, dim1, dim2):
    out = xp.zeros(shape, x.dtype)
    n = x.shape[-1]
    at = [slice(None)] * len(shape)
    at[dim1] = xp.arange(n) + max(-offset, 0)
    at[dim2] = xp.arange(n) + max(offset, 0)
    target = xp.moveaxis(out, (dim1, dim2), (-2, -1))
    target[..., at[dim1], at[dim2]] = x
    return out


_on_diagonal.defvjp(lambda g, ans, x, shape, offset, dim1, dim2: _diagonal(g, offset, dim1, dim2), saves="")
_diagonal.defvjp(lambda g, ans, x, offset, dim1, dim2: _on_diagonal(g, tuple(x.shape), offset, dim1, dim2), saves="x")


@method("diagonal")
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal (``offset`` above the main one) of the matrices in ``dim1`` and ``dim2``, as the last dimension.

    >>> torch.diagonal(torch.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    first, second = axis(dim1, ndim_of(input)), axis(dim2, ndim_of(input))
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return _diagonal(input, offset, first, second)


@method("diag")
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A matrix's diagonal as a copy (:func:`diagonal` is the view), or a matrix with the vector on its diagonal.

    >>> torch.diag(torch.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    n = ndim_of(input)
    if n == 2:
        return _diagonal(input, diagonal, 0, 1).clone()
    if n != 1:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {n}D")
    size = raw(input).shape[0] + abs(diagonal)
    return _on_diagonal(input, (size, size), diagonal, 0, 1)
