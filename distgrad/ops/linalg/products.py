"""Products of vectors and matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..._arguments import checked, kind_of, wrong
from ...autograd import Tensor, fused, primitive
from ...dtypes import float32, from_numpy_dtype
from .._declare import attach, axis, in_float32, method, ndim_of, noun, raw, unknown
from .._numbers import fitting

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


matmul.defvjp(_matmul_x, _matmul_y)
attach("__rmatmul__", lambda self, other: matmul.operator(other, self))


def _checked(name: str, ranks: tuple[int, int], doc: str) -> Callable[[Tensor, Tensor], Tensor]:
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
    return method(name)(product)


mm = _checked("mm", (2, 2), """Product of two matrices (n, m) and (m, p): (n, p).

    >>> torch.mm(torch.ones(1, 2), torch.tensor([[1.0], [2.0]]))
    tensor([[3.]])
    """)
mv = _checked("mv", (2, 1), """Product of a matrix (n, m) and a vector (m): (n).

    >>> torch.mv(torch.ones(1, 2), torch.tensor([1.0, 2.0]))
    tensor([3.])
    """)
bmm = _checked("bmm", (3, 3), """Products of two batches of matrices (b, n, m) and (b, m, p): (b, n, p).

    >>> torch.bmm(torch.ones(2, 3, 4), torch.ones(2, 4, 5)).shape
    torch.Size([2, 3, 5])
    """)
dot = _checked("dot", (1, 1), """Dot product of two vectors.

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
    return tensordot(input, other, ([-1], [-1]))


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
            b = b.sum(j, keepdim=True)
        elif sb[j] == 1 != sa[i]:
            a = a.sum(i, keepdim=True)
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
    x = a.permute(*free_a, *first).reshape(math.prod([sa[d] for d in free_a]), inside)
    y = b.permute(*second, *free_b).reshape(inside, math.prod([sb[d] for d in free_b]))
    return matmul(x, y).reshape([sa[d] for d in free_a] + [sb[d] for d in free_b])


@primitive(meta="x", grad_name="MulBackward0")
@in_float32
def _scaled(xp, x, factor):
    """``factor * x``; of 0 zeros, whatever ``x`` holds."""
    return x * factor if factor else xp.zeros_like(x)


_scaled.defvjp(lambda g, ans, x, factor: g * factor.conjugate())


def _blended(
    name: str, multiply: Any, input: Tensor, first: Tensor, second: Tensor, beta: float, alpha: float
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


@method("addmm")
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * input + alpha * (mat1 @ mat2)``; where ``beta`` is 0 whatever ``input`` holds.

    >>> torch.addmm(torch.ones(2, 2), torch.eye(2), torch.eye(2))
    tensor([[2., 1.],
            [1., 2.]])
    """
    return _blended("addmm", mm, input, mat1, mat2, beta, alpha)


@method("addmv")
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * input + alpha * (mat @ vec)``; where ``beta`` is 0 whatever ``input`` holds.

    >>> torch.addmv(torch.ones(2), torch.eye(2), torch.tensor([1.0, 2.0]))
    tensor([2., 3.])
    """
    return _blended("addmv", mv, input, mat, vec, beta, alpha)


@method("baddbmm")
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * input + alpha * (batch1 @ batch2)``, for each matrix of the batch; where ``beta`` is 0 whatever
    ``input`` holds.

    >>> torch.baddbmm(torch.ones(1, 2, 2), torch.eye(2).reshape(1, 2, 2), torch.eye(2).reshape(1, 2, 2))
    tensor([[[2., 1.],
             [1., 2.]]])
    """
    return _blended("baddbmm", bmm, input, batch1, batch2, beta, alpha)


def _linear_reference(x: Any, weight: Any, bias: Any = None) -> Any:
    product = matmul(x, weight.t())
    return product if bias is None else product + bias


# OpenBLAS takes 0.55 to 0.95 of the time (AVX2 kernels 0.9 to 1.05) for W xᵀ instead of x Wᵀ where W is at least so
# many elements and x has few rows; turning the result round is part of adding the bias.
_LARGE = 2**17

# NumPy's dot fills its result with zeros before BLAS does so again: above so many elements that takes longer than
# calling matmul.
_ZEROED = 2**14

_SMALL = 0.5  # of a product's elements that its factors may have, for their norms to be found sooner than its largest


@fused(
    reference=_linear_reference,
    inputs=3,
    linear="bias",
    product="x weight",
    grad_name=lambda node: (
        "ViewBackward0" if node.ndim != 2 else "AddmmBackward0" if len(node.edges) == 3 else "MmBackward0"
    ),
)
def linear(xp, x, weight, bias=None):
    """``linear(input, weight, bias=None)``: ``input @ weight.T + bias``; of (*, in), (out, in) and (out): (*, out).

    >>> F.linear(torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
    tensor([3., 2.])
    """
    given = bias
    try:
        if x.dtype.itemsize <= 2:
            if x.dtype != weight.dtype:
                raise TypeError  # told below
            ans = _blas(xp, x, weight.T)
        elif x.ndim != 2:
            ans = xp.matmul(x, weight.T)
        elif weight.size >= _LARGE and xp is np and len(weight) >= 128 and 8 <= len(x) <= min(64, x.shape[1] // 8):
            ans = np.add(np.dot(weight, x.T).T, 0 if bias is None else bias, order="C")
            bias = None
        else:
            ans = xp.dot(x, weight.T)
        if bias is not None:
            ans += bias
    except (ValueError, TypeError, AttributeError) as e:
        raise _linear_error(x, weight, given) or e from None
    kind = weight.dtype
    if x.dtype is not kind or ans.dtype is not kind or (given is not None and given.dtype is not kind):
        error = _linear_error(x, weight, given)
        if error is not None:
            raise error
    return ans, None


@linear.defbackward
def _linear_backward(xp, g, ans, kept, wanted, x, weight, bias=None, outs=(None, None, None)):
    """g W for the input, gᵀ x for the weight, g's column sums for the bias; the last two into ``outs`` if given."""
    gx = gw = gb = None
    half = g.dtype.itemsize <= 2
    if weight.ndim == 1:  # one output, which is no dimension of its own
        g = np.reshape(g, (*g.shape, 1)) if xp is np else g.reshape((*g.shape, 1))
        gx, gw, gb = (*_linear_backward(xp, g, ans, kept, wanted, x, weight[None], bias), None)[:3]
        return (gx, None if gw is None else gw[0], gb)[: len(wanted)]
    if g.dtype.kind == "c":
        x, weight = x.conj(), weight.conj()
    if wanted[0] is not None:
        gx = _blas(xp, g, weight) if half or g.ndim != 2 else xp.dot(g, weight)
    if g.ndim != 2:
        rows = math.prod(g.shape[:-1])  # -1 would not do where a dimension is 0
        g, x = g.reshape(rows, g.shape[-1]), x.reshape(rows, x.shape[-1])
    if wanted[1] is not None:
        out, leaf = outs[1], wanted[1]
        if half or out is None:
            gw = _blas(xp, g.T, x) if half else xp.dot(g.T, x)
        else:
            if leaf.bound is not None and g.size + x.size < _SMALL * out.size:
                leaf.bound = _bound_of_product(xp, g, x)  # ahead of the product, which then finds both in the cache
            if leaf.factors is not None and leaf.factors(g, x):
                gw = out
            else:
                gw = xp.dot(g.T, x, out) if out.size < _ZEROED else xp.matmul(g.T, x, out=out)
    if len(wanted) == 3 and wanted[2] is not None:
        gb = _column_sums(xp, g, outs[2])
    return (gx, gw, gb)[: len(wanted)]


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
        return np.dot(np.ones(len(g), g.dtype), g, out)
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


_on_diagonal.defvjp(lambda g, ans, x, shape, offset, dim1, dim2: _diagonal(g, offset, dim1, dim2))
_diagonal.defvjp(lambda g, ans, x, offset, dim1, dim2: _on_diagonal(g, tuple(x.shape), offset, dim1, dim2))


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
