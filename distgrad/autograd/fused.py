"""Fused primitives: fast on arrays, and a composition of simple ones that says what they mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend.protocol import Array
from ..dtypes import float8_used, float32, from_numpy_dtype
from .dispatch import NO_OPTIONS, misfit, of_rule
from .errors import stale
from .grad_mode import recording
from .graph import Node
from .primitive import Primitive, alias, publish
from .promotion import module_of, placed, unify
from .recording import makers, new, parameters_of, saved_arrays, versions_of
from .tensor import TENSORS, Tensor, as_array
from .views import refresh

ndarray = np.ndarray
makers.append(globals())


class Fused(Primitive):
    """A primitive with a hand-made backward on raw arrays, and simple primitives that say what it means.

    ``forward`` returns ``(result, kept)``; ``backward(xp, g, ans, kept, wanted, *args, **options)`` returns a gradient
    (or None) for each differentiable input.  ``create_graph=True`` differentiates ``reference(*args, **options)``
    instead, of half precisions in float32, as forward and backward compute them.
    """

    reference: Callable[..., Any]
    backward: Callable[..., Any]
    n: int
    unread: frozenset[int]  # the positions of saved inputs whose values the backward pass does not need after all
    unread_again: frozenset[int]  # likewise, when the backward pass is differentiated
    factors: tuple[int, ...] = ()  # two inputs, each read for the other's gradient alone

    def ignores(self, node: Node, i: int) -> bool:
        if i in self.unread:
            return True
        if i not in self.factors:
            return False
        first, second = self.factors
        return node.edges[second if i == first else first] is None

    def pull(self, node: Node, g: Array, wanted: Any, outs: Any = None) -> list[Any]:
        raw = saved_arrays(node)
        ans, kept = node.ans
        kwargs = node.kwargs or NO_OPTIONS
        xp = np if ans.__class__ is ndarray else module_of((ans,))
        if outs is not None:
            return self.backward(xp, g, ans, kept, wanted, *raw, outs=outs, **kwargs)
        return self.backward(xp, g, ans, kept, wanted, *raw, **kwargs)

    def pull_tensors(self, node: Node, g: Any, wanted: Any) -> list[Any]:
        from .backward import grad

        saved_arrays(node)
        for i in self.unread - self.unread_again:
            a = node.args[i]
            if a.__class__ in TENSORS and a._version != (0 if node.versions is None else node.versions[i]):
                raise stale(node, a._data, a._version, 0 if node.versions is None else node.versions[i], False, a)
        n = len(node.edges)
        # an alias of each wanted input: one tensor given twice must not have its two gradients added up
        inputs = [alias(a) if w is not None else a for a, w in zip(node.args[:n], wanted, strict=True)]
        again = self.reference(*[_wide(a) for a in inputs], *node.args[n:], **(node.kwargs or {}))
        if again._data.dtype != node.dtype:
            again = again.to(from_numpy_dtype(node.dtype))
        chosen = [i for i, w in enumerate(wanted) if w is not None]
        found = grad(again, [inputs[i] for i in chosen], g, create_graph=True, allow_unused=True)
        result: list[Any] = [None] * n
        for i, d in zip(chosen, found, strict=True):
            result[i] = d
        return result


def _wide(a: Any) -> Any:
    half = a.__class__ in TENSORS and a._data.dtype.itemsize == 2 and a._data.dtype.kind in "fV"
    return a.to(float32) if half else a


def fused_call(prim: Fused) -> Callable[..., Any]:
    """The call of a fused primitive: :func:`general_call` straightened, for a forward that returns what it keeps too.

    One piece, because each part that became a function would cost every loss and every linear layer 1 %: 0.05 of 4 µs.
    """
    forward = prim.forward
    n = prim.n

    def call(*args: Any, **kwargs: Any) -> Any:
        raw: list[Any] = []
        edges: list[Any] = []
        wants = tensors = False
        quick = not float8_used
        for a in args[:n]:
            if a.__class__ in TENSORS:
                if a._view is not None:
                    refresh(a)
                tensors = True
                edge = a._node
                edges.append(edge)
                if edge is not None:
                    wants = True
                a = a._data
                if a.__class__ is not ndarray:
                    quick = False
            else:
                edges.append(None)
                if a is not None:
                    if recording.callbacks is None:
                        raise misfit(a)
                    if a.__class__ is not ndarray:
                        quick = False
            raw.append(a)
        xp: Any = np
        if not tensors:
            return forward(of_rule(args[:n]), *args, **kwargs)[0]
        if quick:
            ans, kept = forward(np, *raw, *args[n:], **kwargs)
        else:
            xp, raw = unify(prim, args[:n], raw)
            if xp is None:
                return call(*raw, *args[n:], **kwargs)
            ans, kept = (forward if xp is np else placed(forward, raw))(xp, *raw, *args[n:], **kwargs)
        if ans.__class__ is not ndarray:
            ans = as_array(xp, ans)
        if not wants or not recording.enabled:
            return Tensor._wrap(ans, None)
        node = new(Node)
        node.primitive = prim
        node.edges = edges  # type: ignore[assignment]  # a list serves, and needs no copy
        node.args = args
        node.kwargs = kwargs or None
        node.hooks = node.cell = node.versions = None
        for a in args:
            if a.__class__ in TENSORS and a._vc is not None and a._vc.version:
                node.versions = versions_of(args)
                break
        node.ans = (ans, kept)
        node.shape = ans.shape
        node.dtype = ans.dtype
        out = new(Tensor)
        out._data = ans
        out._node = node
        out._vc = out._view = None
        return out

    return call


def fused(
    *methods: str,
    reference: Callable[..., Any],
    inputs: int,
    grad_name: Any = None,
    kept: str = "",
    linear: str = "",
    product: str = "",
) -> Callable[..., Any]:
    """Declare a fused primitive (:class:`Fused`) whose first ``inputs`` arguments are tensors; give its backward with
    ``@name.defbackward``.

    Writes to those named in ``kept``, of which all that backward needs is kept beside, and in ``linear``, on which no
    gradient depends, do not disturb it; to one of the two named in ``product`` only if the other's gradient is wanted.
    """

    def declare(forward: Callable[..., Any]) -> Any:
        prim = Fused(forward, None, "", False, grad_name)
        prim.reference = reference
        prim.n = inputs
        names = parameters_of(forward)[1:]
        prim.unread_again = frozenset([names.index(name) for name in linear.split()])
        prim.factors = tuple([names.index(name) for name in product.split()])
        prim.unread = prim.unread_again.union([names.index(name) for name in kept.split()])

        def defbackward(backward: Callable[..., Any]) -> Callable[..., Any]:
            prim.backward = backward
            prim.any_out = "outs" in parameters_of(backward)
            return backward

        public = publish(prim, fused_call(prim), methods)
        public.defbackward = defbackward
        public.reference = reference
        return public

    return declare
