"""Views: tensors that share another's memory, and what an in-place write does to recorded history.

A write to a tensor rebases its history: the tensor becomes the output of the writing operation.  A write through a view
is a write to its base, so the base is rebased (:class:`CopySlices`) and every view's history is out of date; a view
notices by the generation in the shared Cell and takes its steps from the base again (:func:`refresh`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, dtypes
from .errors import freed, leaf_written, mismatched, narrower, overlapping, read_only, turned_since, unfollowed
from .grad_mode import recording
from .graph import TURN, Cell, Leaf, Node, View, copied, is_nowhere, nowhere, stepped
from .tensor import TENSORS, Tensor, new


def as_view(prim: Any, out: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Mark ``out``, computed by a view primitive, as a view of its first input where it shares that input's memory."""
    x = args[0]
    data, parent = x._data, x._view
    owner = data.base
    several = out.__class__ is tuple
    step = (prim, args[1:], kwargs)
    made = None
    unrecorded = not recording.enabled
    if unrecorded:
        made = "inference" if recording.inference else "no_grad"
    elif several:
        made = "several"
    elif parent is not None:
        made = parent.made
    for nr, t in enumerate(out if several else (out,)):
        shared = t._data.base
        if (shared is not None and (shared is data or shared is owner)) or t._data is data:
            cell = x._vc
            if cell is None:
                cell = x._vc = Cell()
            cell.pinned = True
            t._vc = cell
            t._view = view = new(View)
            view.base = x if parent is None else parent.base
            view.generation = cell.generation
            view.nr = nr if several else None
            view.parent = parent
            view.made = made
            view.step = step
            if unrecorded and view.base._node is not None:
                t._node = nowhere(t)
    return out


def share(t: Tensor, x: Tensor, made: str) -> None:
    """Make ``t``, over the memory of ``x`` or a part of it, a view of what ``x`` is of, whose history follows no
    write."""
    cell = x._vc
    if cell is None:
        cell = x._vc = Cell()
    cell.pinned = True
    t._vc = cell
    parent = x._view
    t._view = view = new(View)
    view.base = x if parent is None else parent.base
    view.generation = cell.generation
    view.nr, view.parent, view.made = None, parent, made
    view.step = (None, (), {})


def refresh(t: Tensor, asked: bool = False) -> None:
    """Give a view the history that its base has now.

    Where nothing is recorded, and nobody ``asked`` for the history, it is left for later: there it is not needed, and a
    history that cannot follow a write is an error.
    """
    view = t._view
    assert view is not None and t._vc is not None
    cell = t._vc
    if view.generation == cell.generation:
        return
    base, node = view.base, t._node
    if base._node is None and (node is None or type(node) is Leaf):
        if is_nowhere(node):
            t._node = None
    elif (cell.generation - view.generation) % TURN == 0:  # the base began or ceased to require grad
        if node is None and t._data.dtype.kind not in "biu":
            t._node = nowhere(t)
    elif t._data.dtype.kind not in "biu":
        if not asked and not recording.enabled:
            return
        if view.made is not None:
            raise unfollowed(view, node, t.output_nr, True)
        if base._view is not None:
            raise turned_since()
        before, recording.enabled = recording.enabled, True
        try:
            rebase(t, stepped(base, view.steps())._node)
        finally:
            recording.enabled = before
    view.generation = cell.generation


def rebase(t: Tensor, node: Any) -> None:
    """``node`` is the history of ``t`` from now on.  Its hooks stay with the old one, but for :meth:`retain_grad`'s."""
    keep = t._retains
    if keep:
        old: Any = t._node
        if old is not None and old.hooks is not None and keep in old.hooks:
            old.hooks.remove(keep)
        if node is not None:
            node.hooks = [*(node.hooks or ()), keep]
    t._node = node


def wants_grad(t: Tensor) -> bool:
    """Whether ``t`` requires grad: by itself, or as a view of what does."""
    return t._node is not None or (t._view is not None and t._view.base._node is not None)


class CopySlices:
    """The node of a write through a view: the written region's gradient goes through the operation, the rest passes.

    The operation's own node is the node's ``ans``; ``at`` says which of its inputs was the view: the base takes that
    one's place, in front of the others.
    """

    name = "copy_slices"
    any_out = always_saves = False
    materialize = True

    def __init__(self, view: View, at: int) -> None:
        self.steps = view.steps()
        self.at = at
        kind = view.base._data.dtype
        self.kind = kind if kind.kind == "c" else None

    def node_name(self, node: Node) -> str:
        return "CopySlices"

    def _inner(self, node: Node, wanted: Any) -> tuple[Any, list[Any]]:
        if node.args is None:
            raise freed()
        inside = list(wanted[1:])
        inside.insert(self.at, wanted[0])
        return node.ans, inside

    def _results(self, result: Any) -> tuple[Any, list[Any]]:
        others = list(result)
        return others.pop(self.at), others

    def pull(self, node: Node, g: Any, wanted: Any, outs: Any = None) -> list[Any]:
        inner, inside = self._inner(node, wanted)
        g = np.array(g) if isinstance(g, np.generic) else g.copy()  # a NumPy scalar has no region to write to
        if self.kind is not None and g.dtype.kind != "c":  # a real gradient has no imaginary part to write to
            g = g.astype(self.kind)
        region = stepped(g, self.steps)
        own, others = self._results(inner.primitive.pull(inner, region.copy(), inside))
        if wanted[0] is not None:
            if overlaps(region):
                raise overlapping()
            region[...] = 0 if own is None else own
        return [g if wanted[0] is not None else None, *others]

    def pull_tensors(self, node: Node, g: Any, wanted: Any) -> list[Any]:
        inner, inside = self._inner(node, wanted)
        inner = copied(inner)  # the recorded pass may free what it goes through, before it comes back here
        g = g.clone() if self.kind is None or g._data.dtype.kind == "c" else g.to(dtypes.from_numpy_dtype(self.kind))
        region = stepped(g, self.steps)
        own, others = self._results(inner.primitive.pull_tensors(inner, region.clone(), inside))
        if own is None:
            region.zero_()
        elif wanted[0] is not None:
            region.copy_(own)
        return [g if wanted[0] is not None else None, *others]


def _writable(data: Any) -> Any:
    """``data``; views that NumPy makes read-only, over memory that is not, are made writable, as PyTorch's are.
    RuntimeError for what cannot be."""
    if data.__class__ is np.ndarray and not data.flags.writeable:
        owner = data.base
        if owner.__class__ is not np.ndarray or not owner.flags.writeable:
            raise read_only()
        data.flags.writeable = True
    return data


def overlaps(data: Any) -> bool:
    """Whether two elements of ``data`` lie in one place, as :meth:`Tensor.expand` makes them."""
    strides = data.strides
    return 0 in strides and any(s == 0 and d > 1 for s, d in zip(strides, data.shape, strict=True)) and data.size > 0


def check_writable(x: Tensor) -> None:
    """Raise where PyTorch forbids a recorded write to ``x``."""
    view = x._view
    if view is not None:
        if view.made is not None:
            raise unfollowed(view, x._node, x.output_nr, False)
        if wants_grad(x) and (view.base._node is None or type(view.base._node) is Leaf):
            raise leaf_written(True)
    elif type(x._node) is Leaf:
        raise leaf_written(False)


def follow(x: Tensor, node: Node, at: int = 0) -> None:
    """``node``, of an operation that wrote its input number ``at`` in place, is the history of ``x``, that input: of
    its base, where it is a view.  Its memory's version was counted already."""
    view = x._view
    if view is None:
        rebase(x, node)
        return
    from .recording import record

    base = view.base
    if base._view is not None:
        raise turned_since()
    edges = list(node.edges)
    del edges[at]
    around = record(CopySlices(view, at), base._data, (), (base._node, *edges), None, False)
    around.ans = node  # let go of together with what it saved
    rebase(base, around)
    refresh(x, True)


def _ready(x: Tensor, inputs: tuple[Any, ...]) -> bool:
    """Whether a write to ``x``, the first of ``inputs``, is recorded; if so the histories of all are up to date."""
    if not recording.enabled or x._data.dtype.kind in "biu":
        return False
    for a in inputs:
        if a.__class__ in TENSORS and (a._node is not None or (a._view is not None and a._view.base._node is not None)):
            break
    else:
        return False
    check_writable(x)
    for a in inputs:
        if a.__class__ in TENSORS and a._view is not None:
            refresh(a)
    return True


# What PyTorch lets write to repeated elements.
_SAME_TWICE = frozenset({"fill", "zero", "_masked_fill", "_setitem"})


def _check_type(made: Any, own: Any) -> None:
    """RuntimeError where values of type ``made`` may not be written to a tensor of type ``own``."""
    new, old = dtypes.from_numpy_dtype(made), dtypes.from_numpy_dtype(own)
    if new.category > old.category:
        raise RuntimeError(
            f"result type {new.tensor_type[:-6]} can't be cast to the desired output type {old.tensor_type[:-6]}"
        )


def _put_changed(data: Any, ans: Any) -> None:
    """Write to ``data``, whose elements share places, what differs: an element left as it was is not to undo what was
    written to its double."""
    changed = ans != data
    _writable(data)[changed] = ans[changed]


def _saved(inputs: Any, raw: list[Any], kinds: Any, edges: tuple[Any, ...], old: Tensor | None) -> tuple[Any, ...]:
    """What the node of a write keeps: of input number i by ``kinds[i]`` (see :class:`Plan`), as it was used (``raw``);
    in the place of the one that is written, ``old``; options as they are."""
    from .recording import Shape

    saved = []
    for i, a in enumerate(inputs):
        if i >= len(kinds):
            saved.append(a)
        elif a.__class__ not in TENSORS:
            saved.append(raw[i])
        elif kinds[i] == 1:
            saved.append(old if i == 0 else a)
        else:
            saved.append(None if kinds[i] == 0 else edges[i] if edges[i] is not None else Shape(a))
    return tuple(saved)


def _to_save(prim: Any, edges: tuple[Any, ...]) -> tuple[bool, Any]:
    """Whether the result of a write, and what of each input (see :class:`Plan`), is to be kept."""
    mask = 0
    for i, e in enumerate(edges):
        if e is not None and i < len(prim.rules) and prim.rules[i] is not None:
            mask |= 1 << i
    plan = prim.plan(mask) if mask else None
    return (False, (0,) * len(edges)) if plan is None else (plan.ans, plan.kinds)


def _before(x: Tensor) -> Tensor:
    """A copy of ``x``, with its history, for a rule that reads what a write overwrites."""
    with backend.where_it_lies(x._data):
        return Tensor._wrap(x._data.copy(), x._node)


def _is_simple(data: Any, args: tuple[Any, ...]) -> bool:
    """Whether ``args`` are but numbers that float32 holds, and tensors in the type and shape of the CPU's ``data``."""
    if data.__class__ is not np.ndarray or data.dtype.char not in "fd" or overlaps(data):
        return False
    for a in args:
        if a.__class__ in TENSORS:
            other = a._data
            if other.__class__ is not np.ndarray or other.dtype is not data.dtype or other.shape != data.shape:
                return False
        elif (a.__class__ is not float and a.__class__ is not int) or not -1e38 < a < 1e38:
            return False
    return True


def _computed_there(ufunc: np.ufunc, arrays: list[Any], x: Tensor) -> Tensor:
    """``x``, after ``ufunc(*arrays)`` was computed into its memory."""
    ufunc(*arrays, out=_writable(x._data))
    x._bump()
    return x


def write(prim: Any, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], watch: Any = ()) -> Tensor:
    """``x`` becomes ``prim(x, *args)``, in its own memory, recorded if anything involved requires grad; options in
    ``args`` may be of the tensors to ``watch``."""
    from .promotion import placed, unify
    from .recording import Watching, record, versions_of

    inputs = (x, *args)
    n = len(prim.rules) or len(prim.inputs)
    recorded = _ready(x, inputs[:n])
    edges = tuple([a._node if a.__class__ in TENSORS else None for a in inputs[:n]])
    data = x._data
    arrays = [a._data if a.__class__ in TENSORS else a for a in inputs[:n]]
    simple = prim.ufunc is not None and not kwargs and _is_simple(data, args)
    if simple and not recorded:
        return _computed_there(prim.ufunc, arrays, x)
    xp, raw = (np, arrays) if simple else unify(prim, inputs[:n], arrays)
    if xp is None:
        return write(prim, x, (*raw[1:], *inputs[n:]), kwargs, watch)
    repeated = overlaps(data)
    if repeated and prim.name not in _SAME_TWICE:
        raise overlapping()
    save_ans, kinds = _to_save(prim, edges) if recorded else (False, (0,) * n)
    old = _before(x) if recorded and kinds[0] == 1 else None
    if raw[0].dtype is not data.dtype:
        _check_type(raw[0].dtype, data.dtype)
    try:
        ans = (prim.forward if xp is np else placed(prim.forward, raw))(xp, *raw, *inputs[n:], **kwargs)
    except ValueError as e:
        raise mismatched(prim.name, raw) or e from None
    if ans.shape != data.shape:
        raise narrower(prim.name, data, ans.shape)
    if ans.dtype is not data.dtype:
        _check_type(ans.dtype, data.dtype)
    # before the write: what is saved and lies in the memory written is stale
    versions = versions_of(inputs[:n]) if recorded else None
    if ans is not data:
        if xp is np and not repeated:
            _writable(data)[...] = ans
        else:
            with backend.where_it_lies(data):
                if repeated:
                    _put_changed(data, ans)
                else:
                    data[...] = ans
    x._bump()
    cell = x._vc
    assert cell is not None
    if not recorded:
        return x
    saved = _saved(inputs, raw, kinds, edges, old)
    node = record(prim, data, saved, edges, kwargs or None, save_ans)
    node.versions = versions
    if watch:
        node.primitive = Watching(prim, tuple(watch))
    if save_ans:
        node.cell, node.cell_version = cell, cell.version
    follow(x, node)
    return x


def inplace(prim: Any, name: str) -> Any:
    """The method that writes the primitive's result into its first input."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return write(prim, self, args, kwargs)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"In-place version of :func:`{prim.name}`."
    return method


def _fresh(self: Tensor) -> None:
    """Bring the history of a view up to date with what was written to its memory."""
    if self._view is not None:
        refresh(self, True)


Tensor._fresh = _fresh  # type: ignore[method-assign]
