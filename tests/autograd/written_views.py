"""Writes through views, as a table: how and in which mode the view was made, how and in which mode it was written, and
what was saved before and used after.  Each cell is a small program of a module that is distgrad or PyTorch.

``python -m tests.autograd.written_views`` writes what PyTorch makes of the cells beside this file; the tests compare.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).with_suffix(".json")
ONE_IN = 48  # of all cells, one in so many is taken; which, only their names decide

# What is written: the result of an operation that saves nothing, of one that saves its result, a leaf, a tensor that
# never requires grad, and one that comes to require grad after the view was made.
BASES: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda t, a: a + 1,
    "exp": lambda t, a: (a * 0.5).exp(),
    "leaf": lambda t, a: a,
    "plain": lambda t, a: a,
    "late": lambda t, a: a,
}
VIEWS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda y: y,
    "slice": lambda y: y[:1],
    "int": lambda y: y[1],
    "element": lambda y: y[0, 1],
    "view": lambda y: y.view(3, 2),
    "reshape": lambda y: y.reshape(-1)[2:5],
    "t": lambda y: y.t(),
    "permute": lambda y: y.permute(1, 0),
    "diagonal": lambda y: y.diagonal(),
    "unbind": lambda y: y.unbind()[0],
    "split": lambda y: y.split(1)[1],
    "chunk": lambda y: y.chunk(2, 1)[0],
    "iter": lambda y: next(iter(y)),
    "expand": lambda y: y[:, :1].expand(2, 3),
    "unsqueeze": lambda y: y.unsqueeze(0)[0],
    "squeeze": lambda y: y[:1].squeeze(0),
    "select": lambda y: y.select(1, 2),
    "narrow": lambda y: y.narrow(1, 1, 2),
    "view of a view": lambda y: y.t()[1:][0],
    "detach": lambda y: y.detach(),
    "view of detach": lambda y: y.detach()[0],
    "data": lambda y: y.data,
}
MADE = ("grad", "no_grad", "inference", "enabled again")
WRITTEN = ("grad", "no_grad", "inference")


@contextlib.contextmanager
def mode(t: Any, name: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if name in ("no_grad", "enabled again"):
            stack.enter_context(t.no_grad())
        if name == "enabled again":
            stack.enter_context(t.enable_grad())
        if name == "inference":
            stack.enter_context(t.inference_mode())
        yield


def tripled(t: Any, v: Any) -> Any:
    """A Function of the user's own that writes to its input."""

    class Triple(t.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            x.mul_(3)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 3

    return Triple.apply(v)


def assigned(v: Any, index: Any, value: Any) -> Any:
    v[index] = value
    return v


def _iadd(v: Any, w: Any) -> Any:
    v += w
    return v


def _imod(v: Any, w: Any) -> Any:
    v %= w
    return v


def _ipow(v: Any, w: Any) -> Any:
    v **= w
    return v


# Of the module, the view, its base and a leaf: as many of its elements as the view has, in the view's shape.
WRITES: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "not": lambda t, v, y, w: v,
    "mul_ number": lambda t, v, y, w: v.mul_(5),
    "mul_ leaf": lambda t, v, y, w: v.mul_(w),
    "mul_ itself": lambda t, v, y, w: v.mul_(v),
    "add_": lambda t, v, y, w: v.add_(1),
    "div_ leaf": lambda t, v, y, w: v.div_(w),
    "zero_": lambda t, v, y, w: v.zero_(),
    "fill_": lambda t, v, y, w: v.fill_(2.0),
    "copy_": lambda t, v, y, w: v.copy_(w.detach()),
    "copy_ leaf": lambda t, v, y, w: v.copy_(w),
    "[...] = number": lambda t, v, y, w: assigned(v, ..., 7.0),
    "[-1] = tensor": lambda t, v, y, w: assigned(v, -1 if v.ndim else ..., w.detach().reshape(-1)[0]),
    "[...] = leaf": lambda t, v, y, w: assigned(v, ..., w),
    "[mask] = number": lambda t, v, y, w: assigned(v, v > 1.5, 0.0) if v.ndim else v,
    "[index] = leaf": lambda t, v, y, w: assigned(v, t.tensor([0]), w.reshape(-1)[0]) if v.ndim else v,
    "+=": lambda t, v, y, w: _iadd(v, w),
    "%=": lambda t, v, y, w: _imod(v, 2),
    "**=": lambda t, v, y, w: _ipow(v, 2),
    "uniform_": lambda t, v, y, w: v.uniform_(1.0, 1.0),
    "relu_": lambda t, v, y, w: v.relu_(),
    "exp_": lambda t, v, y, w: v.exp_(),
    "clamp_": lambda t, v, y, w: v.clamp_(max=2.0),
    "masked_fill_": lambda t, v, y, w: v.masked_fill_(v > 1.5, 0.5),
    "Function": lambda t, v, y, w: tripled(t, v),
    "another name": lambda t, v, y, w: v * 5,
    "the base": lambda t, v, y, w: (y.mul_(2), v)[1],
}
# What is made of the base and the view before the write and after it.
Use = Callable[[Any, Any], Any]
NOTHING: Use = lambda y, v: 0  # noqa: E731
USES: dict[str, tuple[Use, Use]] = {
    "nothing": (NOTHING, NOTHING),
    "the base saved": (lambda y, v: (y * y).sum(), NOTHING),
    "the view saved": (lambda y, v: (v * v).sum(), NOTHING),
    "results saved": (lambda y, v: v.sigmoid().sum() + y.exp().sum(), NOTHING),
    "nothing saved": (lambda y, v: (y + 2).sum(), NOTHING),
    "both after": (NOTHING, lambda y, v: (y * y).sum() + (v * v).sum()),
    "the view after": (NOTHING, lambda y, v: (v * v).sum() + v.exp().sum()),
    "base retains": (NOTHING, NOTHING),
    "view retains": (NOTHING, lambda y, v: (v * v).sum()),
}
Cell = tuple[str, ...]


def chosen(remainder: int) -> list[Cell]:
    """One in :data:`ONE_IN` of all cells, others for another remainder."""
    every = itertools.product(BASES, VIEWS, MADE, WRITTEN, WRITES, USES)
    return [cell for cell in every if zlib.crc32(repr(cell).encode()) % ONE_IN == remainder]


CELLS = chosen(0)  # those whose outcomes are recorded
HEADS = (
    "one of the variables needed for gradient computation has been modified by an inplace operation",
    "a view of a leaf Variable that requires grad is being used in an in-place operation",
    "a leaf Variable that requires grad is being used in an in-place operation",
    "a leaf Variable that requires grad has been used in an in-place operation",
    "A view was created in no_grad mode and is being modified inplace",
    "A view was created in no_grad mode and its base or another view of its base has been modified inplace",
    "A view was created in inference mode and is being modified inplace",
    "A view was created in inference mode and its base or another view of its base has been modified inplace",
    "is a view of a view which was created in",
    "is a view and is being modified inplace",
    "is a view and its base or another view of its base has been modified inplace",
    "unsupported operation: more than one element of the written-to tensor refers to a single memory location",
    "output with shape",
)


def numbers(x: Any) -> Any:
    return None if x is None else [float(f"{v:.9g}") for v in x.detach().reshape(-1).tolist()]


def outcome(t: Any, cell: Cell) -> Any:
    """What becomes of a cell: the gradients of its two leaves and those retained, and which of base and view require
    grad; or the class and the head of the error."""
    base, view, made, written, how, use = cell
    before, after = USES[use]
    a = t.tensor([[0.5, 1.5, 2.5], [3.0, 1.0, 2.0]], dtype=t.float64)
    if base not in ("plain", "late"):
        a.requires_grad_()
    w = t.tensor([[2.0, 3.0, 4.0], [5.0, 6.0, 7.0]], dtype=t.float64, requires_grad=True)
    c = t.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=t.float64)
    try:
        y = BASES[base](t, a)
        with mode(t, made):
            v = VIEWS[view](y)
        if base == "late":
            a.requires_grad_()
        loss = before(y, v)
        kept = y if use == "base retains" else v if use == "view retains" else None
        if kept is not None and kept.requires_grad:
            kept.retain_grad()
        with mode(t, written):
            v = WRITES[how](t, v, y, w.reshape(-1)[: v.numel()].reshape(v.shape))
        loss = loss + (y * c).sum() + after(y, v) + (w * 0).sum()
        loss.backward()
        own = [numbers(kept.grad)] if kept is not None and kept.grad_fn is not None else []
        return [numbers(a.grad), numbers(w.grad), *own, y.requires_grad, v.requires_grad]
    except (RuntimeError, IndexError) as e:
        head = next((h for h in HEADS if h in str(e)), str(e).split("\n")[0])
        return f"{type(e).__name__}: {head}"


def read() -> list[Any]:
    """The outcomes recorded, one for each of :data:`CELLS`."""
    found = json.loads(RECORDED.read_text())
    return [found["outcomes"][i] for i in found["cells"]]


def record(t: Any) -> None:
    """Write what module ``t`` makes of the cells: each distinct outcome once, and for each cell which it is."""
    outcomes: dict[str, int] = {}
    cells = [outcomes.setdefault(json.dumps(outcome(t, cell)), len(outcomes)) for cell in CELLS]
    lines = ",\n".join(outcomes)
    RECORDED.write_text(f'{{"cells": {json.dumps(cells, separators=(",", ":"))},\n"outcomes": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    import torch

    record(torch)
