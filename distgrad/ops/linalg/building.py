"""Matrices and vectors made of others: products of all pairs, blocks, diagonals."""

from __future__ import annotations

from typing import Any

from ..._arguments import checked
from ...autograd import Tensor, primitive
from .._declare import array, attach, axis, method, ndim_of, noun, raw
from ..joining import stack
from ..shape import reshape, transpose
from ._checks import floating
from .products import diag, diagonal

__all__ = ["block_diag", "cartesian_prod", "cross", "diagflat", "kron"]


@method("kron")
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: each element of ``input`` times the whole of ``other``, in its place.

    >>> torch.kron(torch.tensor([1, 2]), torch.tensor([1, 10]))
    tensor([ 1, 10,  2, 20])
    """
    a, b = raw(input).shape, raw(other).shape
    n = max(len(a), len(b))
    a, b = (1,) * (n - len(a)) + a, (1,) * (n - len(b)) + b
    apart = [x for size in a for x in (size, 1)]
    within = [x for size in b for x in (1, size)]
    product = reshape(input, apart) * reshape(other, within)
    return reshape(product, [x * y for x, y in zip(a, b, strict=True)])


@primitive(meta="xs", promote="same", grad_name="BlockDiagBackward0")
def _block_diag(xp, *xs):
    out = xp.zeros((sum(x.shape[0] for x in xs), sum(x.shape[1] for x in xs)), xs[0].dtype)
    row = column = 0
    for x in xs:
        out[row : row + x.shape[0], column : column + x.shape[1]] = x
        row, column = row + x.shape[0], column + x.shape[1]
    return out


def _block(i, g, ans, *xs):
    row, column = (sum(x.shape[d] for x in xs[:i]) for d in (0, 1))
    return g[row : row + xs[i].shape[0], column : column + xs[i].shape[1]]


_block_diag.defvjp_each(_block, saves="xs")


@checked
def block_diag(*tensors: Tensor) -> Tensor:
    """The matrix with ``tensors`` (matrices; a vector is a row, a number 1 by 1) along its diagonal.

    >>> torch.block_diag(torch.tensor([[1, 2]]), torch.tensor(3))
    tensor([[1, 2, 0],
            [0, 0, 3]])
    """
    whole = []
    for i, x in enumerate(tensors):
        n = array(x).ndim
        if n > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {n} dimensions"
            )
        whole.append(x if n == 2 else reshape(x, 1, -1))
    if not whole:
        from ..creation import empty

        return empty(1, 0)
    return _block_diag(*whole)


@checked
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of elements of the vectors ``tensors``, one a row; of one vector itself.

    >>> torch.cartesian_prod(torch.tensor([1, 2]), torch.tensor([3, 4]))
    tensor([[1, 3],
            [1, 4],
            [2, 3],
            [2, 4]])
    """
    for x in tensors:
        if array(x).ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(raw(x).shape)}")
    if not tensors:
        raise RuntimeError("cartesian_prod expects a non-empty TensorList")
    if len({x.dtype for x in tensors}) > 1:
        raise RuntimeError("meshgrid expects all tensors to have the same dtype")
    if len(tensors) == 1:
        return tensors[0]
    shape = [raw(x).shape[0] for x in tensors]
    n = len(shape)
    spread = [reshape(x, [-1 if i == k else 1 for i in range(n)]).expand(shape) for k, x in enumerate(tensors)]
    return reshape(stack([x.reshape([_count(shape)]) for x in spread], 1), _count(shape), n)


def _count(shape: list[int]) -> int:
    n = 1
    for size in shape:
        n *= size
    return n


@method("diagflat")
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with the flattened tensor on its diagonal, ``offset`` above the main one.

    >>> torch.diagflat(torch.tensor([[1], [2]]))
    tensor([[1, 0],
            [0, 2]])
    """
    return diag(reshape(input, -1), offset)


@primitive(promote="same", grad_name="LinalgCrossBackward0")
def _cross(xp, x, y, *, dim):
    a, b = xp.broadcast_arrays(x, y)
    one, two, three = ((slice(None),) * (a.ndim + dim) + (i,) for i in range(3))
    out = xp.empty(a.shape, a.dtype)
    out[one] = a[two] * b[three] - a[three] * b[two]
    out[two] = a[three] * b[one] - a[one] * b[three]
    out[three] = a[one] * b[two] - a[two] * b[one]
    return out


_cross.defvjp(
    lambda g, ans, x, y, *, dim: _cross(y.conj(), g, dim=dim),
    lambda g, ans, x, y, *, dim: _cross(g, x.conj(), dim=dim),
    saves=("y", "x"),
)


@checked
def linalg_cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors of 3 elements along ``dim``, with broadcasting of the other dimensions.

    >>> torch.linalg.cross(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    a, b = raw(input).shape, raw(other).shape
    if len(a) != len(b):
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    d = axis(dim, len(a))
    if not a or a[d] != 3 or b[d] != 3:
        have = (a[d], b[d]) if a else (1, 1)
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {have[0]} and {have[1]}")
    return _cross(input, other, dim=d - len(a))


@method("cross")
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """:func:`torch.linalg.cross`, by default along the first dimension of size 3.

    >>> torch.cross(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    if dim is None:
        a, b = raw(input).shape, raw(other).shape
        if len(a) != len(b):
            raise RuntimeError(f"inconsistent tensors dimensions input: {list(a)} other: {list(b)}")
        dim = next((d for d, sizes in enumerate(zip(a, b, strict=True)) if sizes == (3, 3)), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    return linalg_cross(input, other, dim=dim)


@checked
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The products of ``x``, conjugated, and ``y`` summed over ``dim``, with broadcasting.

    >>> torch.linalg.vecdot(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    tensor(11.)
    """
    if x.dtype != y.dtype:
        raise RuntimeError(f"linalg.vecdot: Expected x and y to have the same dtype, but found {noun(x)} and {noun(y)}")
    floating(x, "linalg.vecdot", half=True)
    product = x.conj() * y
    axis(dim, ndim_of(product))
    return product.sum(dim, dtype=product.dtype) if ndim_of(product) else product


@checked
def linalg_diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """:func:`torch.diagonal` of the last two dimensions.

    >>> torch.linalg.diagonal(torch.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    return diagonal(A, offset, dim1, dim2)


def _conjugate_transpose(name: str) -> Any:
    def turned(self: Tensor) -> Tensor:
        n = ndim_of(self)
        if n == 1:
            raise RuntimeError(f"tensor.{name} is only supported on matrices or batches of matrices. Got {n}-D tensor.")
        return (transpose(self, -2, -1) if n else transpose(self, 0, 0)).conj()

    return turned


attach("mH", property(_conjugate_transpose("mH")))
attach("adjoint", _conjugate_transpose("adjoint()"))
