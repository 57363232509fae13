"""Places in the graph: where the gradient of a tensor arrives, given to ``grad`` and ``backward`` in its place."""

from __future__ import annotations

import functools
import operator
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..dtypes import from_numpy_dtype
from .graph import AccumulateGrad, Leaf, Node, Output, _as_function, output_of
from .tensor import TENSORS, Tensor

__all__ = ["GradientEdge", "get_gradient_edge"]


class GradientEdge(NamedTuple):
    """Where a gradient arrives: output number ``output_nr`` of ``node``; see :func:`get_gradient_edge`.

    >>> x = torch.tensor([3.0], requires_grad=True)
    >>> y = x * x
    >>> edge = torch.autograd.graph.GradientEdge(y.grad_fn, 0)
    >>> torch.autograd.grad((2 * y).sum(), edge)
    (tensor([2.]),)
    """

    node: Any
    output_nr: int
    ownership_token: Any = None


def get_gradient_edge(tensor: Any) -> GradientEdge:
    """Where the gradient of ``tensor`` arrives; it can be given to ``grad`` and ``backward`` in the tensor's place, and
    does not keep the tensor's memory alive.

    RuntimeError for a tensor that does not require gradients.

    >>> x = torch.tensor([3.0], requires_grad=True)
    >>> edge = torch.autograd.graph.get_gradient_edge(x)
    >>> torch.autograd.grad((x * x).sum(), edge)
    (tensor([6.]),)
    """
    if not tensor.requires_grad:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    if tensor.__class__ in TENSORS:
        tensor._fresh()
    return GradientEdge(*_as_function(tensor._node))


class _Place:
    """Shape and dtype of what arrives at an edge, as of an array."""

    def __init__(self, edge: Any) -> None:
        self.shape, self.dtype = edge.shape, edge.dtype
        self.ndim, self.size = len(edge.shape), int(np.prod(edge.shape, dtype=np.int64))


class _Placed:
    """A :class:`GradientEdge` as the backward pass takes it: like a tensor, but for its values."""

    def __init__(self, given: GradientEdge) -> None:
        node, nr = given.node, given.output_nr
        if isinstance(node, AccumulateGrad):
            self._node: Any = node.leaf
        elif not isinstance(node, Node):
            raise TypeError(f"a GradientEdge holds a node of the graph, got {type(node).__name__}")
        elif node.shape.__class__ is list:
            if not 0 <= nr < len(node.shape):
                raise RuntimeError(f"{node.name()} has {len(node.shape)} outputs; there is no number {nr}")
            shape, dtype = node.shape[nr], node.dtype[nr]
            self._node = output_of(node, nr, np.broadcast_to(np.zeros((), dtype), shape))
        elif nr:
            raise RuntimeError(f"{node.name()} has one output; there is no number {nr}")
        else:
            self._node = node
        self._data = _Place(self._node)
        self.dtype = from_numpy_dtype(self._node.dtype)
        self.requires_grad = True

    def ones(self) -> Tensor:
        """A gradient of ones, where the values that the node saved lie."""
        node = self._node.edges[0] if type(self._node) is Output else self._node
        kept = (*(getattr(node, "args", None) or ()), self._ans(node))
        saved = [a._data if a.__class__ in TENSORS else a for a in kept]
        near = next((a for a in saved if backend.is_array(a)), np.zeros(()))
        with backend.where_it_lies(near):
            return Tensor._wrap(backend.array_module(near).ones(self._data.shape, self._data.dtype), None)

    @staticmethod
    def _ans(node: Any) -> Any:
        if type(node) is Leaf:
            tensor = node.tensor()
            return None if tensor is None else tensor._data
        ans = node.ans
        return ans[0] if ans.__class__ is tuple and ans else ans

    @staticmethod
    def total(captured: dict[Any, Any], edges: set[Any]) -> Any:
        """The sum of what arrived at ``edges``, in no order that matters: None where nothing did."""
        found = [g for e, g in captured.items() if e in edges and g is not None]
        return functools.reduce(operator.add, found) if found else None


def _placed(value: Any) -> Any:
    """``value``, of an edge what the backward pass takes."""
    return _Placed(value) if value.__class__ is GradientEdge else value


def _edges_at(edge: Any, roots: Any) -> set[Any]:
    """The edges below ``roots`` at which the gradient of ``edge`` arrives: an output of a node may have several."""
    if type(edge) is not Output:
        return {edge}
    found, seen, stack = {edge}, set(), list(roots)
    while stack:
        e = stack.pop()
        if e is None or e in seen or type(e) is Leaf:
            continue
        seen.add(e)
        if type(e) is Output and e.node is edge.node and e.nr == edge.nr:
            found.add(e)
        stack.extend(e.edges)
    return found
