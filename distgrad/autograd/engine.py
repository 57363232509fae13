"""The backward pass: iterative, each edge visited once, when all of its gradient has arrived.

First the graph below the roots is walked and each edge's uses are counted; then nodes whose count is used up are taken
from a stack.  The engine, not the rules, sums a gradient back over broadcast axes, casts it to its input's dtype, and
adds up several.

The order is one, whatever is asked for (``backward``, ``create_graph``, ``inputs``, ``grad``), and depends on the graph
alone, so it is the same in every run and on every rank.  A node's gradients are complete in the order of its edges: a
leaf is given its own, and its hooks run, at once, before any other node runs.  Of nodes that are ready, the one that
became so last runs first: of ``f(v) + g(w)`` that of ``g``.  PyTorch, too, serves leaves at once, in the order of
edges, but runs the node first that was *recorded* last: the same where operands are made in the order in which they are
used.  To number nodes for that would cost every operation a counter and every backward pass a heap.

:func:`_run_plain` is :func:`_run` on arrays and to all leaves, straightened: tests/autograd/test_fast_paths.py holds
the two together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..backend.protocol import Array
from .coo import Coo
from .grad_mode import recording
from .gradient_slots import unshared
from .graph import Leaf, Node
from .sparse import tensor_of
from .tensor import TENSORS, DeferredGrad, Tensor

ndarray = np.ndarray
_add_reduce = np.add.reduce


def queue_callback(callback: Callable[[], None]) -> None:
    """Run ``callback`` once, when the backward pass that is now running has delivered every gradient; for hooks.

    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> done = lambda: print("all gradients are there:", x.grad)
    >>> handle = x.register_hook(lambda g: torch.autograd.queue_callback(done))
    >>> x.sum().backward()
    all gradients are there: tensor([1.])
    """
    if recording.callbacks is None:
        raise RuntimeError("queue_callback() must be called from a hook, during a backward pass")
    recording.callbacks.append(callback)


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum ``g`` (an array or a Tensor) over the axes along which ``shape`` was broadcast."""
    have = g.shape
    if g.dtype.itemsize == 2 and g.__class__ not in TENSORS:  # half precisions are added up in float32
        return unbroadcast(g.astype(np.float32), shape)
    if len(shape) == 0:
        return np.add.reduce(g, None) if g.__class__ is ndarray else g.sum()
    extra = len(have) - len(shape)
    axes = tuple(range(extra)) + tuple(i + extra for i, d in enumerate(shape) if d == 1 and have[i + extra] != 1)
    if extra < 0 or any(d != have[i + extra] and d != 1 for i, d in enumerate(shape)):
        raise RuntimeError(f"a gradient rule returned shape {list(have)} for an input of shape {list(shape)}")
    return g.sum(axes).reshape(shape)


def _fit(g: Any, edge: Any) -> Any:
    """``g`` in the shape and dtype of ``edge``; arrays."""
    if edge.shape == () and g.dtype is edge.dtype and g.__class__ is ndarray and g.dtype.itemsize > 2:
        return _add_reduce(g, None)
    if g.shape != edge.shape:
        g = unbroadcast(g, edge.shape)
    want = edge.dtype
    if g.dtype != want:
        if g.dtype.kind == "c" and want.kind != "c":
            g = g.real
        g = g.astype(want)
    return g


def _fit_tensor(g: Tensor, edge: Any) -> Tensor:
    if g._data.shape != edge.shape:
        g = unbroadcast(g, edge.shape)
    if g._data.dtype != edge.dtype:
        if g._data.dtype.kind == "c" and edge.dtype.kind != "c":
            g = g.real
        g = g.to(dtypes.from_numpy_dtype(edge.dtype))
    return g


def _count(roots: Sequence[Any], needed: set[Any] | None) -> dict[Any, list[Any]]:
    """For each edge below the roots [how many gradients it will still be given, their sum so far or None]."""
    pending: dict[Any, list[Any]] = {r: [0, None] for r in roots}
    stack = list(pending)
    while stack:
        for e in stack.pop().edges:
            if e is not None and (needed is None or e in needed):
                if e in pending:
                    pending[e][0] += 1
                else:
                    pending[e] = [1, None]
                    if e.edges:
                        stack.append(e)
    return pending


def _count_all(root: Any) -> dict[Any, list[Any]]:
    """:func:`_count` of one root, straightened."""
    pending: dict[Any, list[Any]] = {root: [0, None]}
    stack = [root]
    while stack:
        for e in stack.pop().edges:
            if e is not None:
                if e in pending:
                    pending[e][0] += 1
                else:
                    pending[e] = [1, None]
                    if e.edges:
                        stack.append(e)
    return pending


def _needed(roots: Sequence[Any], targets: Any) -> set[Any]:
    """The edges through which a target is reached from the roots, targets included."""
    order: list[Any] = []
    seen = set()
    stack = [(r, False) for r in roots]
    while stack:
        e, done = stack.pop()
        if done:
            order.append(e)
        elif e not in seen:
            seen.add(e)
            stack.append((e, True))
            stack.extend((c, False) for c in e.edges if c is not None and c not in seen)
    needed = set()
    for e in order:  # children come before parents
        if e in targets or any(c in needed for c in e.edges if c is not None):
            needed.add(e)
    return needed


def _deliver(leaf: Leaf, g: Any, as_tensor: bool) -> None:
    """Add a complete gradient to the leaf's ``.grad`` and run what waits for it."""
    t = leaf.tensor()
    if t is None or t._node is not leaf:  # gone, or frozen since
        return
    grad = t._grad
    if grad.__class__ is DeferredGrad:
        grad.open()
        grad = t._grad
    if as_tensor:
        t._grad = g.clone() if grad is None else grad + g  # its own memory: another leaf may be given the same
    elif g.__class__ is Coo:
        t._grad = _with_sparse(grad, g)
    elif grad is None:
        slot = leaf.slot
        if slot is not None:
            if g is not slot._data:  # else it was written there, and made ready for that
                del slot  # which would count as somebody who holds it
                slot = unshared(leaf)
                slot._data[...] = g
                if leaf.bound is not None:  # of a pass that was interrupted
                    leaf.bound = math.inf
            t._grad = slot
        else:
            t._grad = Tensor._wrap(g.copy() if g.__class__ is ndarray else backend.array_module(g).array(g), None)
    elif grad._data.__class__ is Coo:
        t._grad = Tensor._wrap(grad._data + g, None)
    else:  # in place, as in PyTorch: a recorded gradient keeps its history, and who saved it is told
        grad._data += g
        grad._bump()
    hooks = leaf.post_hooks
    if hooks:
        for hook in hooks if len(hooks) == 1 else tuple(hooks):
            if hook(t) is not None:
                raise RuntimeError("Tensor post accumulate grad hooks should return None.")


def _with_sparse(grad: Tensor | None, g: Coo) -> Tensor:
    """The gradient so far, or None, and ``g``: sparse and sparse are put side by side, dense and sparse are dense."""
    if grad is None:
        return tensor_of(g)
    if grad._node is not None:
        return grad + Tensor._wrap(g.dense(), None)
    if grad._data.__class__ is Coo:
        grad._data = grad._data + g
    else:
        g.add_to(grad._data)
    grad._bump()
    return grad


def _run_hooks(hooks: list[Any], g: Any, as_tensor: bool) -> Any:
    for hook in tuple(hooks):
        t = g if as_tensor else tensor_of(g)
        new = hook(t)
        if new is not None:
            if new.__class__ not in TENSORS:
                raise TypeError(f"a hook must return a Tensor or None, got {type(new).__name__}")
            if new._data.shape != t._data.shape:
                raise RuntimeError(
                    f"hook has changed the size of value: {list(t._data.shape)} became {list(new._data.shape)}"
                )
            g = new if as_tensor else new._data
    return g


def _zeros(node: Node, i: int, parts: list[Any], as_tensor: bool) -> Any:
    """The gradient of output ``i`` of ``node``, which nothing used."""
    first = next(p for p in parts if p is not None)
    z = backend.array_module(first._data if as_tensor else first).zeros(node.shape[i], node.dtype[i])
    return Tensor._wrap(z, None) if as_tensor else z


def _outs(node: Node, pending: dict[Any, list[Any]]) -> list[Any] | None:
    """For each input the flat-storage slot that its gradient can be written into at once, or None."""
    found: list[Any] | None = None
    for i, e in enumerate(node.edges):
        if e.__class__ is Leaf and e.slot is not None and not e.hooks:
            count, so_far = pending[e]
            if count == 1 and so_far is None:
                t = e.tensor()
                if t is not None and t._grad is None and t._node is e:
                    if found is None:
                        found = [None] * len(node.edges)
                    found[i] = unshared(e)._data
                    if e.bound is not None:
                        e.bound = math.inf
    return found


class _Pass:
    """What a general backward pass (:func:`_run`) knows: whom it is for, and what has arrived.

    Attributes:
        targets: the edges whose gradients are captured, in place of delivery to leaves; None: deliver.
        needed: the edges on the way to targets; None: all.
        pending: see :func:`_count`.
        ready: the nodes whose gradient is complete, to be taken from the end.
        captured: the gradients of targets, in the order in which they were complete.
    """

    def __init__(self, roots: Sequence[Any], as_tensor: bool, targets: Any) -> None:
        self.as_tensor, self.targets = as_tensor, targets
        self.needed = None if targets is None else _needed(roots, targets)
        self.pending = _count(roots, self.needed)
        self.ready: list[Node] = []
        self.captured: dict[Any, Any] = {}

    def complete(self, edge: Any) -> None:
        """All of the gradient of ``edge`` has arrived."""
        if edge.__class__ is Node:
            self.ready.append(edge)
            return
        g = self.hooked(edge, self.pending.pop(edge)[1])
        if edge.__class__ is Leaf:
            if g is not None and self.targets is None:
                _deliver(edge, g, self.as_tensor)
            return
        node = edge.edges[0]
        if self.needed is None or node in self.needed:
            entry = self.pending[node]
            if g is not None:
                parts = entry[1]
                if parts is None:
                    parts = entry[1] = [None] * len(node.shape)
                parts[edge.nr] = g if parts[edge.nr] is None else parts[edge.nr] + g
            entry[0] -= 1
            if entry[0] == 0:
                self.ready.append(node)

    def hooked(self, edge: Any, g: Any) -> Any:
        """The complete gradient ``g`` of ``edge`` after the hooks of ``edge``; captured if somebody asked for it."""
        if edge.hooks and g is not None:
            g = _run_hooks(edge.hooks, g, self.as_tensor)
        if self.targets is not None and edge in self.targets:
            self.captured[edge] = g
        return g

    def pulled(self, node: Node, g: Any, edges: Sequence[Any], keep: bool) -> Sequence[Any]:
        """The gradients of the inputs of ``node``, of which ``edges`` are wanted, from that of its output."""
        if g is None:
            return (None,) * len(edges)
        primitive = node.primitive
        if g.__class__ is list and primitive.materialize:
            g = [_zeros(node, i, g, self.as_tensor) if part is None else part for i, part in enumerate(g)]
        results = primitive.pull_tensors(node, g, edges) if self.as_tensor else primitive.pull(node, g, edges)
        if not keep:
            saved = node.ans is not None or primitive.always_saves
            if saved or any(a.__class__ in TENSORS for a in node.args or ()):
                node.ans = node.args = None
        return results


def _run(
    roots: Sequence[Any],
    root_grads: Sequence[Any],
    keep: bool,
    as_tensor: bool,
    targets: Any = None,
    switch: Callable[[Array], None] | None = None,
) -> dict[Any, Any]:
    """Send ``root_grads`` (arrays, or Tensors to be recorded) down from ``roots``.

    Without ``targets`` leaves' gradients are delivered to them; with it, nothing is, and the gradients of those edges
    are returned, in the order in which they were complete.  ``switch``, where there are several devices, makes that of
    a gradient the current one.
    """
    run = _Pass(roots, as_tensor, targets)
    pending, ready, needed = run.pending, run.ready, run.needed
    for e, g in zip(roots, root_grads):  # noqa: B905 - of one length
        entry = pending[e]
        entry[1] = g if entry[1] is None else entry[1] + g
    for e in dict.fromkeys(roots):
        if pending[e][0] == 0:
            if switch is not None:
                switch(_some_array(pending[e][1]))
            run.complete(e)
    while ready:
        node = ready.pop()
        g = pending.pop(node)[1]
        if switch is not None and g is not None:
            switch(_some_array(g))
        g = run.hooked(node, g)
        edges = node.edges
        if needed is not None:
            edges = tuple([e if e in needed else None for e in edges])
            if not any(e is not None for e in edges):
                continue
        for e, d in zip(edges, run.pulled(node, g, edges, keep), strict=True):
            if e is None:
                continue
            entry = pending[e]
            if d is not None:
                if switch is not None:
                    switch(_some_array(d))
                d = _fit_tensor(d, e) if as_tensor else _fit(d, e)
                entry[1] = d if entry[1] is None else entry[1] + d
            entry[0] -= 1
            if entry[0] == 0:
                if switch is not None and entry[1] is not None:
                    switch(_some_array(entry[1]))
                run.complete(e)
    return run.captured


def _some_array(g: Any) -> Array:
    """An array of the gradient ``g``: an array, a Tensor, or a list of either with a None for each output not used."""
    if g.__class__ is list:
        g = next(part for part in g if part is not None)
    if g.__class__ in TENSORS:
        g = g._data
    return g.values if g.__class__ is Coo else g


def _arrive(edge: Any, g: Any, pending: dict[Any, list[Any]], ready: list[Node]) -> None:
    """The gradient ``g`` (an array or None) of a leaf or of one output of a node is complete."""
    if g is not None:
        if edge.hooks:
            g = _run_hooks(edge.hooks, g, False)
        if edge.__class__ is Leaf:
            _deliver(edge, g, False)
            return
    elif edge.__class__ is Leaf:
        return
    node = edge.edges[0]
    entry = pending[node]
    if g is not None:
        parts = entry[1]
        if parts is None:
            parts = entry[1] = [None] * len(node.shape)
        parts[edge.nr] = g if parts[edge.nr] is None else parts[edge.nr] + g  # an output may have several edges
    if entry[0] == 1:
        ready.append(node)
    else:
        entry[0] -= 1


def _run_plain(roots: Sequence[Any], root_grads: Sequence[Any], keep: bool) -> None:
    """:func:`_run` on arrays, to all leaves: the ordinary backward pass, straightened."""
    if len(roots) == 1:
        pending = _count_all(roots[0])
        pending[roots[0]][1] = root_grads[0]
    else:
        pending = _count(roots, None)
        for e, g in zip(roots, root_grads):  # noqa: B905 - of one length
            entry = pending[e]
            entry[1] = g if entry[1] is None else entry[1] + g
    ready: list[Node] = []
    for e in roots if len(roots) == 1 else dict.fromkeys(roots):
        if pending[e][0] == 0:
            if e.__class__ is Node:
                ready.append(e)
            else:
                _arrive(e, pending.pop(e)[1], pending, ready)
    while ready:
        node = ready.pop()
        entry = pending[node]
        g = entry[1]
        entry[1] = None  # a pass holds the gradients of its front alone; to take the entry out would cost 1 % more
        edges = node.edges
        if g is None:
            results: Any = (None,) * len(edges)
        else:
            if node.hooks:
                g = _run_hooks(node.hooks, g, False)
            primitive = node.primitive
            if g.__class__ is list and primitive.materialize:
                g = [_zeros(node, i, g, False) if part is None else part for i, part in enumerate(g)]
            if primitive.any_out:
                results = primitive.pull(node, g, edges, _outs(node, pending))
            else:
                results = primitive.pull(node, g, edges)
            if not keep:  # a node that saved nothing may be run again, as in PyTorch
                if node.ans is not None or primitive.always_saves:
                    node.ans = node.args = None
                elif node.args is not None:
                    for a in node.args:
                        if a.__class__ in TENSORS:
                            node.args = None
                            break
        for e, d in zip(edges, results):  # noqa: B905 - of one length; strict costs time here
            if e is not None:
                entry = pending[e]
                if d is not None:
                    if d.shape != e.shape or d.dtype is not e.dtype:
                        d = _fit(d, e)
                    entry[1] = d if entry[1] is None else entry[1] + d
                if entry[0] != 1:
                    entry[0] -= 1
                elif e.__class__ is Node:
                    ready.append(e)
                else:
                    g = entry[1]
                    entry[1] = None
                    _arrive(e, g, pending, ready)
