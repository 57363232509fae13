"""Views: tensors that share another's memory, and what an in-place write does to recorded history.

A write to a tensor rebases its history: the tensor becomes the output of the writing operation.  A write through a view
is a write to its base, so the base is rebased (:class:`CopySlices`) and every view's history is out of date; a view
notices by the generation in the shared Cell and takes its steps from the base again (:func:`refresh`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, dtypes
from .grad_mode import recording
from .graph import Cell, Leaf, Node, View
from .tensor import TENSORS, Tensor, new


def as_view(prim: Any, out: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Mark ``out``, computed by a view primitive, as a view of its first input where it shares that input's memory."""
    x = args[0]
    data, parent = x._data, x._view
    owner = data.base
    several = out.__class__ is tuple
    step = (prim, args[1:], kwargs)
    recorded = recording.enabled
    for nr, t in enumerate(out if several else (out,)):
        shared = t._data.base
        if (shared is not None and (shared is data or shared is owner)) or t._data is data:
            cell = x._vc
            if cell is None:
                cell = x._vc = Cell()
            t._vc = cell
            t._view = view = new(View)
            view.base = x if parent is None else parent.base
            view.generation = cell.generation
            view.nr = nr if several else None
            view.parent = parent
            view.recorded = recorded
            view.step = step
    return out


def refresh(t: Tensor) -> None:
    """Give a view the history that its base has now."""
    view = t._view
    assert view is not None and t._vc is not None
    if view.generation == t._vc.generation:
        return
    before, recording.enabled = recording.enabled, True
    try:
        t._node = view.of(view.base)._node
    finally:
        recording.enabled = before
    view.generation = t._vc.generation


class CopySlices:
    """The node of a write through a view: the written region's gradient goes through the operation, the rest passes."""

    name = "copy_slices"

    def __init__(self, inner: Node, view: View) -> None:
        self.inner = inner
        self.view = view

    def node_name(self, node: Node) -> str:
        return "CopySlices"

    any_out = False
    materialize = True

    def pull(self, node: Node, g: Any, wanted: Any, outs: Any = None) -> list[Any]:
        g = g.copy()
        region = self.view.of(g)
        inner = self.inner
        result = inner.primitive.pull(inner, region.copy(), [True, *wanted[1:]])
        region[...] = 0 if result[0] is None else result[0]
        return [g if wanted[0] is not None else None, *result[1:]]

    def pull_tensors(self, node: Node, g: Any, wanted: Any) -> list[Any]:
        g = g.clone()
        region = self.view.of(g)
        inner = self.inner
        result = list(inner.primitive.pull_tensors(inner, region.clone(), [True, *wanted[1:]]))
        if result[0] is None:
            region.zero_()
        else:
            region.copy_(result[0])
        return [g if wanted[0] is not None else None, *result[1:]]


def _check_writable(x: Tensor) -> None:
    """Raise where PyTorch forbids a recorded write to ``x``."""
    if type(x._node) is Leaf:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    view = x._view
    if view is None:
        return
    if type(view.base._node) is Leaf:
        raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
    if view.one_of_several:
        name = x.grad_fn.name() if x.grad_fn is not None else "a function"
        raise RuntimeError(
            f"Output {x.output_nr} of {name} is a view and is being modified inplace. This view is the output of a "
            "function that returns multiple views. Such functions do not allow the output views to be modified "
            "inplace. You should replace the inplace operation by an out-of-place one."
        )
    if not view.recorded:
        raise RuntimeError(
            "A view was created in no_grad mode and is being modified inplace with grad mode enabled. Make the view "
            "with grad mode enabled, or write inside no_grad."
        )


def write(prim: Any, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """``x`` becomes ``prim(x, *args)``, in its own memory, recorded if anything involved requires grad."""
    from .nodes import Shape, record
    from .operands import placed, unify

    if x._view is not None:
        refresh(x)
    inputs = (x, *args)
    n = len(prim.rules) or len(prim.inputs)
    for a in args:
        if a.__class__ in TENSORS and a._view is not None:
            refresh(a)
    edges = tuple([a._node if a.__class__ in TENSORS else None for a in inputs[:n]])
    recorded = recording.enabled and any(e is not None for e in edges)
    if recorded:
        _check_writable(x)
    data = x._data
    xp, raw = unify(prim, inputs[:n], [a._data if a.__class__ in TENSORS else a for a in inputs[:n]])
    if xp is None:
        return write(prim, x, (*raw[1:], *inputs[n:]), kwargs)
    mask = 0
    save_ans, kinds = False, (0,) * n
    if recorded:
        for i, e in enumerate(edges):
            if e is not None and i < len(prim.rules) and prim.rules[i] is not None:
                mask |= 1 << i
        plan = prim.plan(mask) if mask else None
        if plan is not None:
            save_ans, kinds = plan.ans, plan.kinds
    old = Tensor._wrap(data.copy(), x._node) if recorded and kinds[0] == 1 else None
    ans = (prim.forward if xp is np else placed(prim.forward, raw))(xp, *raw, *inputs[n:], **kwargs)
    if ans.shape != data.shape:
        raise RuntimeError(
            f"output with shape {list(data.shape)} doesn't match the broadcast shape {list(ans.shape)} (in "
            f"{prim.name}_)"
        )
    made, own = dtypes.from_numpy_dtype(ans.dtype), dtypes.from_numpy_dtype(data.dtype)
    if made.category > own.category:
        raise RuntimeError(
            f"result type {made.tensor_type[:-6]} can't be cast to the desired output type {own.tensor_type[:-6]}"
        )
    if ans is not data:
        if xp is np:
            data[...] = ans
        else:
            with backend.where_it_lies(data):
                data[...] = ans
    x._bump()
    cell = x._vc
    assert cell is not None
    if not recorded:
        return x
    saved = []
    for i, a in enumerate(inputs):
        if a.__class__ not in TENSORS or i >= n:
            saved.append(a)
        elif kinds[i] == 1:
            saved.append(old if i == 0 else a)
        else:
            saved.append(None if kinds[i] == 0 else edges[i] if edges[i] is not None else Shape(a))
    node = record(prim, data, tuple(saved), edges, kwargs or None, save_ans)
    if save_ans:
        node.cell, node.cell_version = cell, cell.version
    cell.generation += 1
    if x._view is None:
        x._node = node
        return x
    base = x._view.base
    slices = CopySlices(node, x._view)
    base._node = record(slices, base._data, (), (base._node, *edges[1:]), None, False)
    refresh(x)
    return x


def inplace(prim: Any, name: str) -> Any:
    """The method that writes the primitive's result into its first input."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return write(prim, self, args, kwargs)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"In-place version of :func:`{prim.name}`."
    return method
