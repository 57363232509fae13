"""Einstein's summation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend
from .._arguments import checked, misfit, tensors_of
from ..autograd import Tensor, primitive
from ..autograd.tensor import TENSORS
from ..dtypes import FROM_NUMPY
from ._declare import ndim_of, raw, unknown
from .shape import broadcast_to

__all__ = ["einsum"]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@checked
def einsum(equation: str | Tensor, *operands: Any) -> Tensor:
    """Einstein's summation, over operands in the order given; letters and ``...``, output after ``->``.

    Or the operands first, each followed by a list of numbers below 52 (and Ellipsis) in place of letters, and at last,
    if need be, that of the output.  RuntimeError for an equation that does not fit.

    >>> torch.einsum("ij,j->i", torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1.0, 10.0]))
    tensor([21., 43.])
    """
    if not isinstance(equation, str):
        if equation.__class__ not in TENSORS:
            raise misfit(equation, "str")
        equation, operands = _from_lists((equation, *operands))
    elif len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    operands = tensors_of(operands)
    full = _explicit(equation.replace(" ", ""), [ndim_of(o) for o in operands])
    left, right = full.split("->")
    if sorted(left) == sorted(right) and len(set(left)) == len(left):
        only: Any = operands[0]
        return only.permute(*[left.index(c) for c in right])  # a view, as in PyTorch
    kind = raw(operands[0]).dtype
    if kind.kind in "biu" or any(raw(o).dtype != kind for o in operands):
        return _stepwise(left.split(","), right, operands)
    return _einsum(*operands, equation=full)


def _stepwise(terms: list[str], right: str, operands: Sequence[Any]) -> Any:
    """The sum by PyTorch's steps, from left to right, where they decide the dtype: integers and several dtypes.

    Letters of one operand alone are summed first, integers as int64; then two are multiplied, in their common dtype,
    or summed over together, for which they must have one dtype, and integers wrap round in it.
    """
    letters = right + "".join(sorted(set("".join(terms)) - set(right)))
    spread = [_spread(x, term, letters) for x, term in zip(operands, terms, strict=True)]
    extra = range(len(right), len(letters))
    if len(spread) == 1:
        return spread[0].sum(tuple(extra)) if extra else spread[0]
    a = spread[0]
    left_over = {k: sum(raw(x).shape[k] != 1 for x in spread) for k in extra}
    for b in spread[1:]:
        alone: tuple[list[int], list[int]] = ([], [])
        together = []
        for k in extra:
            wide = raw(a).shape[k] != 1, raw(b).shape[k] != 1
            if all(wide):
                left_over[k] -= 1
                if left_over[k] == 1:
                    together.append(k)
            elif any(wide) and left_over[k] == 1:
                alone[wide[1]].append(k)
        a, b = (x.sum(tuple(dims), keepdim=True) if dims else x for x, dims in zip((a, b), alone, strict=True))
        a = _contracted(a, b, letters, together) if together else a * b
    return a.reshape(raw(a).shape[: len(right)])


def _spread(x: Any, term: str, letters: str) -> Any:
    """``x`` with a dimension for each of ``letters``, of size 1 where it has none; a letter that comes twice is its
    diagonal."""
    mine = "".join(c for c in letters if c in term)
    if mine != term:
        x = (
            x.permute(*[term.index(c) for c in mine])
            if len(mine) == len(term)
            else _einsum(x, equation=f"{term}->{mine}")
        )
    sizes = iter(raw(x).shape)
    return x.reshape([next(sizes) if c in mine else 1 for c in letters])


def _contracted(a: Any, b: Any, letters: str, dims: list[int]) -> Any:
    """The sum of products over ``dims``, kept as of size 1; RuntimeError for two dtypes."""
    if raw(a).dtype != raw(b).dtype:
        one, two = (FROM_NUMPY[raw(x).dtype].tensor_type[:-6] for x in (a, b))
        raise RuntimeError(f"einsum(): expected scalar type {one} but found {two}")
    out = _einsum(a, b, equation=f"{letters},{letters}->{''.join(c for k, c in enumerate(letters) if k not in dims)}")
    for k in dims:
        out = out.unsqueeze(k)
    return out


def _from_lists(given: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """The equation and the operands of ``einsum(x, [0, 1], y, [1, 2], [0, 2])``."""

    def term(labels: Any) -> str:
        for n in labels:
            if n is not Ellipsis and not 0 <= n < 52:
                raise RuntimeError(f"einsum(): expected subscripts to be within range [0, 52), but got {n}")
        return "".join("..." if n is Ellipsis else _LETTERS[n] for n in labels)

    n = len(given) // 2
    equation = ",".join(term(labels) for labels in given[1 : 2 * n : 2])
    return equation + ("->" + term(given[-1]) if len(given) % 2 else ""), given[: 2 * n : 2]


def _explicit(equation: str, ranks: list[int]) -> str:
    """``equation`` with its ellipsis written as capital letters and its output given."""
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    for c in left.replace("...", "").replace(",", "") + right.replace("...", ""):
        if c not in _LETTERS:
            raise RuntimeError(f"einsum(): invalid subscript '{c}' in '{equation}', subscripts must be in [a-zA-Z]")
    for c in right.replace("...", ""):
        if right.count(c) > 1:
            raise RuntimeError(f"einsum(): output subscript {c} appears more than once in the output")
        if c not in left:
            raise RuntimeError(f"einsum(): output subscript {c} does not appear in the equation for any input operand")
    if len(terms) != len(ranks):
        raise RuntimeError(f"einsum(): the equation has {len(terms)} operands, but {len(ranks)} were given")
    free = [c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in equation]
    most = max(
        [rank - len(t.replace("...", "")) for t, rank in zip(terms, ranks, strict=True) if "..." in t], default=0
    )
    letters = "".join(free[:most])
    full = []
    for term, rank in zip(terms, ranks, strict=True):
        n = rank - len(term.replace("...", ""))
        if n < 0 or (n and "..." not in term):
            raise RuntimeError(f"einsum(): the subscript '{term}' does not fit an operand with {rank} dimensions")
        full.append(term.replace("...", letters[most - n :] if n else ""))
    if not arrow:
        named = "".join(t.replace("...", "") for t in terms)
        right = ("..." if "..." in left else "") + "".join(sorted(c for c in set(named) if named.count(c) == 1))
    return ",".join(full) + "->" + right.replace("...", letters)


@primitive(promote="same", grad_name="EinsumBackward0")
def _einsum(xp, *xs, equation):
    kind = xs[0].dtype
    if kind.kind == "b" and len(xs) > 1:
        raise unknown("einsum", xs[0])
    if kind.itemsize == 2 and kind.kind in "fV":
        return _einsum.primitive.forward(xp, *[x.astype(np.float32) for x in xs], equation=equation).astype(kind)
    if len(xs) == 1:
        out = xp.einsum(equation, *xs)
        return out if out.base is None else out.copy()  # a diagonal, of which NumPy gives a view
    return xp.einsum(equation, *xs, optimize=True) if xp is np else xp.einsum(equation, *xs)


def _einsum_vjp(i, g, ans, *xs, equation):
    """The same sum with the gradient in the output's place and the input's letters as output.

    A letter that comes twice in the input is its diagonal: there the second gets a letter of its own, tied to the first
    by an identity matrix.  Where the input has size 1, and the others more, the gradient is summed.
    """
    left, right = equation.split("->")
    terms = left.split(",")
    mine, others = "", terms[:i] + terms[i + 1 :]
    shape = tuple(xs[i].shape)
    operands = [x.conj() for x in xs[:i] + xs[i + 1 :]]
    spare = (c for c in _LETTERS if c not in equation)
    for k, c in enumerate(terms[i]):
        if c in mine:
            tie = next(spare)
            others.append(c + tie)
            operands.append(_identity(shape[k], g))
            c = tie
        mine += c
    known = set(right).union(*others)
    kept = "".join(c for c in mine if c in known)
    partial = _einsum(g, *operands, equation=",".join([right, *others]) + "->" + kept)
    sizes = iter(partial.shape)
    partial = partial.reshape(tuple([next(sizes) if c in known else 1 for c in mine]))
    summed = tuple([k for k, n in enumerate(partial.shape) if n != 1 == shape[k]])
    if summed:
        partial = partial.sum(summed).reshape(tuple([1 if k in summed else n for k, n in enumerate(partial.shape)]))
    return broadcast_to(partial, shape)


def _identity(n: int, like: Any) -> Any:
    """The identity matrix beside ``like``, an array or a tensor."""
    x = raw(like)
    matrix = backend.array_module(x).eye(n).astype(x.dtype)
    return matrix if like is x else Tensor._wrap(matrix, None)


_einsum.defvjp_each(_einsum_vjp, saves="xs")
_einsum.primitive.multilinear = True
