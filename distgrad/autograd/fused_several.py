"""Fused primitives with several results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend.protocol import Array
from .dispatch import NO_OPTIONS, misfit, of_rule
from .fused import Fused, _wide
from .grad_mode import recording
from .graph import Cell, Node
from .primitive import alias, publish
from .promotion import module_of, placed, unify
from .recording import finish, record, saved_arrays
from .tensor import TENSORS, Tensor
from .views import refresh


class FusedSeveral(Fused):
    """A fused primitive whose ``forward`` returns ``((result, …), kept)``, of which the first result is what backward
    may read, and whose ``backward(xp, gs, ans, kept, wanted, *args, **options)`` is given a gradient of each.

    ``reference(*args, **options)`` returns as many tensors.
    """

    reads_result = False  # whether backward reads the first result, which then must not be written to

    def pull(self, node: Node, g: list[Array], wanted: Any, outs: Any = None) -> list[Any]:
        raw = saved_arrays(node)
        ans, kept = node.ans
        xp = np if ans.__class__ is np.ndarray else module_of((ans,))
        return self.backward(xp, g, ans, kept, wanted, *raw, **(node.kwargs or NO_OPTIONS))

    def pull_tensors(self, node: Node, g: Any, wanted: Any) -> list[Any]:
        from .backward import grad

        saved_arrays(node)
        n = len(node.edges)
        inputs = [alias(a) if w is not None else a for a, w in zip(node.args[:n], wanted, strict=True)]
        again = self.reference(*[_wide(a) for a in inputs], *node.args[n:], **(node.kwargs or {}))
        pairs = [(a.to(d.dtype), d) for a, d in zip(again, g, strict=True) if a.requires_grad]
        chosen = [i for i, w in enumerate(wanted) if w is not None]
        outputs, grads = zip(*pairs, strict=True)
        found = grad(outputs, [inputs[i] for i in chosen], grads, create_graph=True, allow_unused=True)
        result: list[Any] = [None] * n
        for i, d in zip(chosen, found, strict=True):
            result[i] = d
        return result


def _call(prim: FusedSeveral) -> Callable[..., Any]:
    forward, n = prim.forward, prim.n

    def call(*args: Any, **kwargs: Any) -> Any:
        raw: list[Any] = []
        edges: list[Any] = []
        tensors = False
        for a in args[:n]:
            if a.__class__ in TENSORS:
                if a._view is not None:
                    refresh(a)
                tensors = True
                edges.append(a._node)
                raw.append(a._data)
            elif a is None or recording.callbacks is not None:
                edges.append(None)
                raw.append(a)
            else:
                raise misfit(a)
        if not tensors:
            return forward(of_rule(args[:n]), *args, **kwargs)[0]
        xp, raw = unify(prim, args[:n], raw)
        if xp is None:
            return call(*raw, *args[n:], **kwargs)
        ans, kept = (forward if xp is np else placed(forward, raw))(xp, *raw, *args[n:], **kwargs)
        if not recording.enabled or not any(e is not None for e in edges):
            return tuple([Tensor._wrap(a, None) for a in ans])
        node = record(prim, ans, args, edges, kwargs or None, False)
        outs = finish(node, ans, False)
        node.ans = (ans[0], kept)
        if prim.reads_result:
            node.cell = outs[0]._vc = Cell()
        return outs

    return call


def fused_several(
    *, reference: Callable[..., Any], inputs: int, grad_name: Any = None, reads_result: bool = False
) -> Any:
    """Declare a :class:`FusedSeveral` whose first ``inputs`` arguments are tensors or None, and whose backward reads
    the memory of the first result, if ``reads_result``; give its backward with ``@name.defbackward``."""

    def declare(forward: Callable[..., Any]) -> Any:
        prim = FusedSeveral(forward, None, "", False, grad_name)
        prim.reference = reference
        prim.n = inputs
        prim.reads_result = reads_result
        prim.unread = prim.unread_again = frozenset()

        def defbackward(backward: Callable[..., Any]) -> Callable[..., Any]:
            prim.backward = backward
            return backward

        public = publish(prim, _call(prim), ())
        public.defbackward = defbackward
        public.reference = reference
        return public

    return declare
