"""Hooks of a node: before its gradient rule runs and after; and what users note down at one.

Nodes are made by every operation and hold nothing for this.  A node that gets a hook is given another primitive, which
does what its own does and calls the hooks around it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .engine import _fit, _fit_tensor, _zeros
from .graph import AccumulateGrad, Node, RemovableHandle, last
from .recording import Wrapped
from .sparse import tensor_of
from .tensor import TENSORS

Hook = Callable[..., Any]


def _checked(hook: Hook, given: Any, before: list[Any]) -> list[Any]:
    """What ``hook`` returned in the place of the gradients ``before``.

    Raises:
        TypeError: it is no tuple, or not of tensors.
        RuntimeError: there are more or fewer, or one of another shape, or one where there was none.
    """
    name = getattr(hook, "__name__", type(hook).__name__)
    if not isinstance(given, tuple):
        raise TypeError(f"expected tuple, but hook returned '{type(given).__name__}'")
    if len(given) != len(before):
        raise RuntimeError(
            f"hook '{name}' has returned an incorrect number of values (got {len(given)}, but expected {len(before)})"
        )
    for new, old in zip(given, before, strict=True):
        if new is None:
            continue
        if old is None:
            raise RuntimeError("can't replace a None gradient with a non-None value")
        if new.__class__ not in TENSORS:
            raise TypeError(f"expected Variable, but hook returned '{type(new).__name__}'")
        if new.shape != old.shape:
            raise RuntimeError(f"hook '{name}' has changed the size of value")
    return list(given)


class Hooked(Wrapped):
    """The primitive of a node that has hooks."""

    any_out = materialize = False  # gradients go through the hooks: none is written to where it is to lie

    def __init__(self, primitive: Any) -> None:
        super().__init__(primitive)
        self.before: list[Hook] = []
        self.after: list[Hook] = []

    def _around(self, node: Node, g: Any, wanted: Any, as_tensor: bool) -> Any:
        several = g.__class__ is list
        shown = [None if p is None else p if as_tensor else tensor_of(p) for p in (g if several else [g])]
        for hook in tuple(self.before):
            given = hook(tuple(shown))
            if given is not None:
                shown = _checked(hook, given, shown)
        parts: Any = [None if t is None else t if as_tensor else t._data for t in shown]
        if several and self.primitive.materialize and any(p is not None for p in parts):
            parts = [_zeros(node, i, parts, as_tensor) if p is None else p for i, p in enumerate(parts)]
        if all(p is None for p in parts):
            results: list[Any] = [None] * len(wanted)
        else:
            pull = self.primitive.pull_tensors if as_tensor else self.primitive.pull
            results = list(pull(node, parts if several else parts[0], wanted))
        if not self.after:
            return results
        fit: Any = _fit_tensor if as_tensor else _fit
        made = [None if e is None or r is None else fit(r, e) for e, r in zip(wanted, results, strict=True)]
        found = [None if r is None else r if as_tensor else tensor_of(r) for r in made]
        for hook in tuple(self.after):
            given = hook(tuple(found), tuple(shown))
            if given is not None:
                found = _checked(hook, given, found)
        return [None if t is None else t if as_tensor else t._data for t in found]

    def pull(self, node: Node, g: Any, wanted: Any, outs: Any = None) -> Any:
        return self._around(node, g, wanted, False)

    def pull_tensors(self, node: Node, g: Any, wanted: Any) -> Any:
        return self._around(node, g, wanted, True)


def _hooked(node: Node) -> Hooked:
    if not isinstance(node.primitive, Hooked):
        node.primitive = Hooked(node.primitive)
    return node.primitive


def _register_hook(self: Node, fn: Hook) -> RemovableHandle:
    """Call ``fn(grad_inputs, grad_outputs)``, two tuples of tensors or None, when the node's gradients are made; a
    tuple that it returns takes the place of ``grad_inputs``.

    Raises, in the backward pass, TypeError for what is no tuple, RuntimeError for one of another length or shapes.
    """
    hooks = _hooked(self).after
    hooks.append(fn)
    return RemovableHandle(hooks, fn)


def _register_prehook(self: Node, fn: Hook) -> RemovableHandle:
    """Call ``fn(grad_outputs)``, a tuple of tensors or None, before the node's gradients are made; a tuple that it
    returns takes their place.  It runs after the hooks of the tensor itself; errors as of :meth:`register_hook`."""
    hooks = _hooked(self).before
    hooks.append(fn)
    return RemovableHandle(hooks, fn)


@property  # type: ignore[misc]
def _metadata(self: Node) -> dict[str, Any]:
    """A dict for what users note at this node."""
    try:
        return self.notes
    except AttributeError:
        self.notes = {}
        return self.notes


def _leaf_prehook(self: AccumulateGrad, fn: Hook) -> RemovableHandle:
    """Call ``fn((grad,))`` before the gradient is added to ``.grad``; a tuple that it returns takes its place."""

    @last
    def before(g: Any) -> Any:
        given = fn((g,))
        return None if given is None else _checked(fn, given, [g])[0]

    leaf = self.leaf
    if leaf.hooks is None:
        leaf.hooks = []
    leaf.hooks.append(before)
    return RemovableHandle(leaf.hooks, before)


class _Both(RemovableHandle):
    """Two handles as one."""

    def __init__(self, *handles: RemovableHandle) -> None:
        self._handles = handles

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


def _leaf_hook(self: AccumulateGrad, fn: Hook) -> RemovableHandle:
    """Call ``fn((), (grad,))`` after the gradient was added to ``.grad``."""
    seen: list[Any] = []

    def see(gradients: Any) -> None:
        seen[:] = gradients

    def after(tensor: Any) -> None:
        fn((), tuple(seen))

    first = _leaf_prehook(self, see)
    leaf = self.leaf
    if leaf.post_hooks is None:
        leaf.post_hooks = []
    leaf.post_hooks.append(after)
    return _Both(first, RemovableHandle(leaf.post_hooks, after))


Node.register_hook = _register_hook  # type: ignore[attr-defined]
Node.register_prehook = _register_prehook  # type: ignore[attr-defined]
Node.metadata = _metadata  # type: ignore[attr-defined]
AccumulateGrad.register_hook = _leaf_hook  # type: ignore[attr-defined]
AccumulateGrad.register_prehook = _leaf_prehook  # type: ignore[attr-defined]
