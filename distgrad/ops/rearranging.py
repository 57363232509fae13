"""Elements in another order or several times: turned over, rolled, repeated; and triangles of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._arguments import checked
from ..autograd import Tensor, primitive
from ..autograd.memory_format import contiguous_format, laid, preserve_format
from ..autograd.primitive import clone as _clone
from ._declare import Dims, attach, axis, method, ndim_of, sizes

__all__ = ["clone", "flip", "roll", "tile", "tril", "triu"]


@primitive(grad_name="FlipBackward0")
def _flip(xp, x, dims):
    return xp.flip(x, dims).copy() if x.ndim else x.copy()


_flip.defvjp(lambda g, ans, x, dims: _flip(g, dims), saves="")


@checked
def flip(input: Tensor, dims: int | Sequence[int]) -> Tensor:
    """In reverse order along ``dims``.

    >>> torch.flip(torch.tensor([1, 2, 3]), dims=[0])
    tensor([3, 2, 1])
    """
    n = ndim_of(input)
    along = tuple([axis(d, n) for d in (dims if isinstance(dims, (tuple, list)) else (dims,))])
    if len(set(along)) != len(along):
        raise RuntimeError(f"dim {along[0]} appears multiple times in the list of dims")
    return _flip(input, along)


@primitive(grad_name="RollBackward0")
def _roll(xp, x, shifts, dims):
    return xp.roll(x, shifts[0] if dims is None else shifts, dims)


_roll.defvjp(lambda g, ans, x, shifts, dims: _roll(g, tuple([-s for s in shifts]), dims), saves="")


@method("roll")
def roll(input: Tensor, shifts: int | Sequence[int], dims: Dims = None) -> Tensor:
    """Shifted by ``shifts`` along ``dims`` (or flattened), what falls off entering at the other end.

    >>> torch.roll(torch.tensor([1, 2, 3]), 1)
    tensor([3, 1, 2])
    """
    by = tuple(shifts) if isinstance(shifts, (tuple, list)) else (shifts,)
    n = ndim_of(input)
    along = () if dims is None else tuple([axis(d, n) for d in (dims if isinstance(dims, (tuple, list)) else (dims,))])
    if not along and len(by) == 1:
        return _roll(input, by, None)
    if not n:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    if len(along) != len(by):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(by)}, dims:{len(along)}")
    return _roll(input, by, along)


@primitive(meta="x", grad_name="RepeatBackward0")
def _tile(xp, x, reps):
    return xp.tile(x, reps)


def _tile_vjp(g, ans, x, reps):
    lead = (1,) * (len(reps) - len(x.shape))
    shape = [d for pair in zip(reps, (*lead, *x.shape), strict=True) for d in pair]
    return g.reshape(tuple(shape)).sum(tuple(range(0, len(shape), 2))).reshape(x.shape)


_tile.defvjp(_tile_vjp, saves="x")


@method("repeat")
def repeat(self: Tensor, *repeats: int | Sequence[int]) -> Tensor:
    """Repeated so many times along each dimension; copies."""
    reps = sizes(repeats)
    if len(reps) < ndim_of(self):
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor: got "
            f"{len(reps)} for {ndim_of(self)} dimensions"
        )
    return _tile(self, reps)


@checked
def tile(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Repeated so many times along the last dimensions; copies.

    >>> torch.tile(torch.tensor([1, 2]), (2,))
    tensor([1, 2, 1, 2])
    """
    dims = tuple(dims)
    return _tile(input, (1,) * (ndim_of(input) - len(dims)) + dims)


@primitive(grad_name="CloneBackward0")
def _laid(xp, x, kind):
    return laid(xp, x, kind)


_laid.defvjp(lambda g, ans, x, kind: g, saves="")


@method("clone", check=False)
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with its own memory; gradients flow through it.  ``memory_format``: the order of its elements there.

    >>> x = torch.tensor([1.0])
    >>> y = torch.clone(x)
    >>> y += 1
    >>> x
    tensor([1.])
    """
    if memory_format is None or memory_format is preserve_format:
        return _clone(input)
    return _laid(input, memory_format)


@method("contiguous", check=False)
def contiguous(self: Tensor, memory_format: Any = contiguous_format) -> Tensor:
    """Itself if its elements lie in row-major order, or in ``memory_format``, else a copy that does."""
    if memory_format is preserve_format:
        raise RuntimeError("preserve memory format is unsupported by the contiguous operator")
    return self if self.is_contiguous(memory_format) else clone(self, memory_format=memory_format)


def _triangle(name: str) -> Any:
    def forward(xp, x, diagonal):
        return getattr(xp, name)(x, diagonal)

    forward.__name__ = "_" + name
    keep = primitive()(forward)
    keep.defvjp(lambda g, ans, x, diagonal: keep(g, diagonal), saves="")

    def triangle(input: Tensor, diagonal: int = 0) -> Tensor:
        if ndim_of(input) < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        return keep(input, diagonal)

    triangle.__name__ = triangle.__qualname__ = name
    side = "below or on" if name == "tril" else "above or on"
    rows = ("[1., 0.]", "[1., 1.]") if name == "tril" else ("[1., 1.]", "[0., 1.]")
    example = f"torch.{name}(torch.ones(2, 2))\n    tensor([{rows[0]},\n            {rows[1]}])"
    triangle.__doc__ = f"Zero but {side} the ``diagonal``.\n\n    >>> {example}\n    "
    return method(name)(triangle)


tril, triu = _triangle("tril"), _triangle("triu")


attach("flip", lambda self, *dims: flip(self, sizes(dims)))
attach("tile", lambda self, *dims: tile(self, sizes(dims)))
