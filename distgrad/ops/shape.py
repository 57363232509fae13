"""The same elements in another shape or order; joining and splitting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arguments import checked, misfit
from ..autograd import Size, Tensor, primitive
from ..autograd.graph import Cell, settle
from ..autograd.tensor import TENSORS
from ..dtypes import dtype
from ._declare import Dims, array, attach, axis, method, named, ndim_of, raw, sizes

__all__ = [
    "broadcast_shapes", "broadcast_tensors", "broadcast_to", "flatten", "moveaxis", "movedim", "permute", "ravel",
    "reshape", "squeeze", "swapaxes", "swapdims", "t", "transpose", "unflatten", "unsqueeze",
]  # fmt: skip


_axis = axis  # where a parameter has this name


@primitive(meta="x", view=True, grad_name="ViewBackward0")
def _reshape(xp, x, shape):
    return x.reshape(shape)


_reshape.defvjp(lambda g, ans, x, shape: g.reshape(x.shape), saves="x")


def _full(shape: tuple[int, ...], have: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` with its -1 worked out."""
    n = math.prod(have)
    if shape.count(-1) > 1:
        raise RuntimeError("only one dimension can be inferred")
    known = math.prod([d for d in shape if d != -1])
    if any_below(shape):
        raise RuntimeError(f"invalid shape dimension {min(shape)}")
    if (-1 in shape and (known == 0 or n % known)) or (-1 not in shape and known != n):
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {n}")
    return tuple([n // known if d == -1 else d for d in shape])


def any_below(shape: Sequence[int]) -> bool:
    """Whether a size is below -1."""
    return bool(shape) and min(shape) < -1


@method("reshape", check=False)
def reshape(input: Tensor, *shape: int | Sequence[int], **names: Any) -> Tensor:
    """The same elements in ``shape`` (one size may be -1); a view where the memory allows.

    >>> torch.reshape(torch.arange(6), (2, -1))
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    if names:
        shape = (named("reshape", names, "shape"),)
    return _reshape(input, _full(sizes(shape), array(input).shape))


@method("view", check=False)
def view(input: Tensor, *shape: Any, **names: Any) -> Tensor:
    """:func:`reshape` that must be a view (or, given a dtype, the same bytes read as it)."""
    if names:
        shape = (named("view", names, "size", "dtype"),)
    if len(shape) == 1 and not isinstance(shape[0], (int, tuple, list, np.integer)):
        return _read_as(input, shape[0])
    out = _reshape(input, _full(sizes(shape), array(input).shape))
    if input.__class__ in TENSORS and out._view is None and out.numel() > 0:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead."
        )
    return out


def _read_as(input: Any, kind: Any) -> Tensor:
    """The same bytes as elements of another type: without a gradient, and written together."""
    if input.__class__ in TENSORS:
        settle(input)
    x = array(input)
    if not isinstance(kind, dtype):
        raise misfit(kind, "tuple of ints")
    try:
        out = Tensor._wrap(x.view(kind.np), None)
    except ValueError:
        n, wide = (x.shape[-1] if x.ndim else 1), kind.itemsize // x.dtype.itemsize
        names = [d.tensor_type.removesuffix("Tensor") for d in (input.dtype, kind)]
        raise RuntimeError(
            f"self.size(-1) must be divisible by {wide} to view {names[0]} as {names[1]} (different element sizes), "
            f"but got {n}"
        ) from None
    if input._vc is None:
        input._vc = Cell()
    out._vc = input._vc
    return out


@method("view_as")
def view_as(self: Tensor, other: Tensor) -> Tensor:
    """A view in the shape of ``other``."""
    return view(self, other.shape)


@method("reshape_as")
def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """:func:`reshape` to the shape of ``other``."""
    return reshape(self, other.shape)


@method("ravel")
def ravel(input: Tensor) -> Tensor:
    """All elements in one dimension: a view of a contiguous tensor, a copy of any other.

    >>> torch.ravel(torch.ones(2, 3)).shape
    torch.Size([6])
    """
    return reshape(input.contiguous(), -1)


@method("flatten")
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions ``start_dim`` to ``end_dim`` (inclusive) made into one.

    >>> torch.flatten(torch.ones(2, 3, 4), 1).shape
    torch.Size([2, 12])
    """
    shape = array(input).shape
    if not shape:
        return reshape(input, 1)
    first, last = axis(start_dim, len(shape)), axis(end_dim, len(shape))
    if first > last:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if first == last:
        return input
    return _reshape(input, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


@method("unflatten")
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Dimension ``dim`` split into ``sizes`` (one may be -1).

    >>> torch.unflatten(torch.ones(2, 6), 1, (2, 3)).shape
    torch.Size([2, 2, 3])
    """
    shape = array(input).shape
    if not shape:
        raise RuntimeError("unflatten: Dimension specified as 0 but tensor has no dimensions")
    d = axis(dim, len(shape))
    return _reshape(input, (*shape[:d], *_full(tuple(sizes), (shape[d],)), *shape[d + 1 :]))


@primitive(view=True, grad_name="TransposeBackward0")
def _swap(xp, x, a, b):
    return x.swapaxes(a, b) if x.ndim else x


_swap.defvjp(lambda g, ans, x, a, b: _swap(g, a, b), saves="")


@method("transpose", "swapdims", check=False)
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Dimensions ``dim0`` and ``dim1`` exchanged; a view.

    >>> torch.transpose(torch.ones(2, 3), 0, 1).shape
    torch.Size([3, 2])
    """
    n = ndim_of(input)
    return _swap(input, axis(dim0, n), axis(dim1, n))


swapdims = transpose


@method("swapaxes", check=False)
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """:func:`transpose`, under NumPy's name.

    >>> torch.swapaxes(torch.ones(2, 3), 0, 1).shape
    torch.Size([3, 2])
    """
    return transpose(input, axis0, axis1)


@primitive(view=True, grad_name="TBackward0")
def _t(xp, x):
    return x.T


_t.defvjp(lambda g, ans, x: g.T, saves="")


@method("t", check=False)
def t(input: Tensor) -> Tensor:
    """The transpose of a matrix (a vector or a number is returned as it is); a view.

    >>> torch.t(torch.ones(2, 3)).shape
    torch.Size([3, 2])
    """
    if ndim_of(input) > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {ndim_of(input)}D")
    return _t(input)


attach("T", property(lambda self: _t(self)))


def _mt(self: Tensor) -> Tensor:
    n = ndim_of(self)
    if n == 1:
        raise RuntimeError("tensor.mT is only supported on matrices or batches of matrices. Got 1-D tensor.")
    return transpose(self, -2, -1) if n else transpose(self, 0, 0)


def _h(self: Tensor) -> Tensor:
    n = ndim_of(self)
    if n not in (0, 2):
        raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {n}-D tensor.")
    return (transpose(self, 0, 1) if n else transpose(self, 0, 0)).conj()


attach("mT", property(_mt))
attach("H", property(_h))


@primitive(view=True, grad_name="PermuteBackward0")
def _permute(xp, x, dims):
    return x.transpose(dims)


_permute.defvjp(lambda g, ans, x, dims: _permute(g, tuple(sorted(range(len(dims)), key=dims.__getitem__))), saves="")


@checked
def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Dimensions in the order ``dims``; a view.

    >>> torch.permute(torch.ones(2, 3, 4), (2, 0, 1)).shape
    torch.Size([4, 2, 3])
    """
    n = ndim_of(input)
    if len(dims) != n:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {n} is not equal to len(dims) = {len(dims)}"
        )
    order = tuple([axis(d, n) for d in dims])
    if len(set(order)) != n:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return _permute(input, order)


@method("permute", check=False)
def _permuted(self: Tensor, *dims: int | Sequence[int], **names: Any) -> Tensor:
    """Dimensions in the order ``dims``; a view."""
    return permute(self, sizes(dims if not names else (named("permute", names, "dims"),)))


@method("movedim", "moveaxis")
def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Dimension(s) ``source`` moved to ``destination``; a view.

    >>> torch.movedim(torch.ones(2, 3, 4), 0, 2).shape
    torch.Size([3, 4, 2])
    """
    n = ndim_of(input)
    source = [axis(s, n) for s in (source if isinstance(source, (tuple, list)) else (source,))]
    destination = [axis(d, n) for d in (destination if isinstance(destination, (tuple, list)) else (destination,))]
    for role, dims in (("source", source), ("destination", destination)):
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{role}` ({dims})")
    if len(source) != len(destination):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({source} dims) should contain the same number of "
            f"dims as destination ({destination} dims)"
        )
    order = [d for d in range(n) if d not in source]
    for d, s in sorted(zip(destination, source, strict=True)):
        order.insert(d, s)
    if n == 0:
        order = []
    return _permute(input, tuple(order))


moveaxis = movedim


@primitive(meta="x", view=True, grad_name=lambda node: f"SqueezeBackward{node.args[2]}")
def _squeezed(xp, x, shape, form):
    return x.reshape(shape)


_squeezed.defvjp(lambda g, ans, x, shape, form: g.reshape(x.shape), saves="x")


@primitive(meta="x", view=True, grad_name="UnsqueezeBackward0")
def _unsqueezed(xp, x, shape):
    return x.reshape(shape)


_unsqueezed.defvjp(lambda g, ans, x, shape: g.reshape(x.shape), saves="x")


@method("squeeze", check=False)
def squeeze(input: Tensor, dim: Dims = None, *, axis: Dims = None) -> Tensor:
    """Without dimensions of size 1 (all, or those in ``dim``); a view.

    >>> torch.squeeze(torch.ones(1, 2, 1)).shape
    torch.Size([2])
    """
    if axis is not None:
        dim = axis
    shape = array(input).shape
    n = len(shape)
    chosen = range(n) if dim is None else {_axis(d, n) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))}
    form = 0 if dim is None else 2 if isinstance(dim, (tuple, list)) else 1  # PyTorch's three overloads
    return _squeezed(input, tuple([d for i, d in enumerate(shape) if d != 1 or i not in chosen]), form)


@method("unsqueeze", check=False)
def unsqueeze(input: Tensor, dim: Any = None, *, axis: Any = None) -> Tensor:
    """With a dimension of size 1 put in at ``dim``; a view.

    >>> torch.unsqueeze(torch.ones(2, 3), 1).shape
    torch.Size([2, 1, 3])
    """
    shape = array(input).shape
    if dim is None:
        if axis is None:
            raise TypeError('unsqueeze() missing 1 required positional arguments: "dim"')
        dim = axis
    d = _axis(dim, len(shape) + 1)
    return _unsqueezed(input, (*shape[:d], 1, *shape[d:]))


@primitive("_broadcast_to", meta="x", view=True, grad_name="ExpandBackward0")
def broadcast_to(xp, x, size):
    """``broadcast_to(input, size)``: repeated along dimensions of size 1 and new leading ones, without copying.

    >>> torch.broadcast_to(torch.tensor([1, 2]), (2, 2))
    tensor([[1, 2],
            [1, 2]])
    """
    if size == x.shape:
        return x[...]
    try:
        out = xp.broadcast_to(x, size)
    except (ValueError, TypeError):
        out = xp.broadcast_to(x, _expanded(sizes((size,)), x.shape))
    if out.__class__ is np.ndarray and out.size == x.size:
        out.flags.writeable = x.flags.writeable  # no element is repeated
    return out


broadcast_to.defvjp(lambda g, ans, x, size: g, saves="")  # the engine sums it back


@primitive(meta="x", grad_name="ExpandBackward0")
def filled(xp, x, shape):
    """``x`` repeated to ``shape``, in memory of its own; what the rules of sums use."""
    out = xp.empty(shape, x.dtype)
    out[...] = x
    return out


filled.defvjp(lambda g, ans, x, shape: g, saves="")


def _expanded(shape: tuple[int, ...], have: tuple[int, ...]) -> tuple[int, ...]:
    extra = len(shape) - len(have)
    if extra < 0:
        raise RuntimeError(
            f"expand(torch.FloatTensor{{{list(have)}}}, size={list(shape)}): the number of sizes provided "
            f"({len(shape)}) must be greater or equal to the number of dimensions in the tensor ({len(have)})"
        )
    full = tuple([have[i - extra] if d == -1 and i >= extra else d for i, d in enumerate(shape)])
    if full and min(full) < 0:
        d = full.index(min(full))
        raise RuntimeError(
            f"The expanded size of the tensor ({full[d]}) isn't allowed in a leading, non-existing dimension {d}"
        )
    for i, d in enumerate(have):
        if d not in (1, full[i + extra]):
            raise RuntimeError(
                f"The expanded size of the tensor ({full[i + extra]}) must match the existing size ({d}) at "
                f"non-singleton dimension {i + extra}.  Target sizes: {list(full)}.  Tensor sizes: {list(have)}"
            )
    return full


@method("expand", check=False)
def expand(self: Tensor, *shape: int | Sequence[int], **names: Any) -> Tensor:
    """Repeated along dimensions of size 1, without copying; -1 keeps a size."""
    if names:
        names.pop("implicit", None)
        shape = (named("expand", names, "size"),) if names else shape
    return broadcast_to(self, _expanded(sizes(shape), raw(self).shape))


@method("expand_as")
def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """:func:`expand` to the shape of ``other``."""
    return expand(self, other.shape)


@method("broadcast_to", check=False)
def _broadcast(self: Tensor, *shape: int | Sequence[int], **names: Any) -> Tensor:
    """Expanded to ``size``, without copying."""
    shape = shape if not names else (named("broadcast_to", names, "size"),)
    return broadcast_to(self, _expanded(sizes(shape), self._data.shape))


@checked
def broadcast_shapes(*shapes: int | Sequence[int]) -> Size:
    """The shape to which ``shapes`` broadcast.

    >>> torch.broadcast_shapes((2, 1), (3,))
    torch.Size([2, 3])
    """
    whole = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    try:
        return Size(np.broadcast_shapes(*whole))
    except ValueError as e:
        listed = ", ".join(str(list(s)) for s in whole)
        raise RuntimeError(f"Shape mismatch: objects cannot be broadcast to a single shape: {listed}") from e


@checked
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All tensors expanded to their common shape.

    >>> [t.shape for t in torch.broadcast_tensors(torch.ones(2, 1), torch.ones(3))]
    [torch.Size([2, 3]), torch.Size([2, 3])]
    """
    shape = broadcast_shapes(*[raw(x).shape for x in tensors])
    return tuple(expand(x, shape) for x in tensors)
