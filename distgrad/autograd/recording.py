"""What an operation leaves behind: its node, what the node keeps of the inputs, and how that is read again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from ..backend.protocol import Array
from .errors import freed, stale
from .graph import Cell, Node, Output, is_nowhere
from .tensor import TENSORS, Tensor

new = object.__new__
makers: list[dict[str, Any]] = [globals()]  # the names of every module that makes nodes, by ``new``; see observers.py
_f32 = np.dtype(np.float32)
Rule = Callable[..., Any]


def code_of(function: Callable[..., Any]) -> CodeType:
    """The code of a Python function, of a decorated one what it decorates."""
    return inspect.unwrap(function).__code__


def parameters_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the parameters of a Python function."""
    code = code_of(function)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


@functools.cache
def named_as(code: CodeType, names: tuple[str, ...]) -> CodeType:
    """``code`` whose parameters are called ``names``; the same whenever it is asked for."""
    return code.replace(co_varnames=(*names, *code.co_varnames[len(names) :]))


class Plan(NamedTuple):
    """What a node keeps: whether the result; of each input 0 nothing, 1 the tensor, 2 its edge; the inputs not kept."""

    ans: bool
    kinds: tuple[int, ...]
    drops: tuple[tuple[int, int], ...]


class Shape:
    """The shape and dtype of an input that has no edge."""

    __slots__ = ("dtype", "ndim", "shape")

    def __init__(self, tensor: Tensor) -> None:
        self.shape, self.dtype, self.ndim = tensor._data.shape, tensor._data.dtype, tensor._data.ndim


def kept_args(args: tuple[Any, ...], edges: list[Any], plan: Plan) -> tuple[Any, ...]:
    """``args`` with the tensors that no rule reads replaced by None, those read for their shape by their edge."""
    kept = list(args)
    for i, kind in plan.drops:
        if i < len(kept) and kept[i].__class__ in TENSORS:
            kept[i] = None if kind == 0 else edges[i] if edges[i] is not None else Shape(kept[i])
    return tuple(kept)


def versions_of(args: Any) -> tuple[int, ...] | None:
    """The versions of the saved tensors among ``args``; None when all are 0."""
    for a in args:
        if a.__class__ in TENSORS and a._vc is not None and a._vc.version:
            return tuple([b._vc.version if b.__class__ in TENSORS and b._vc is not None else 0 for b in args])
    return None


def record(prim: Any, ans: Any, args: tuple[Any, ...], edges: Any, kwargs: Any, save_ans: bool) -> Node:
    """A node for ``ans`` computed from ``args``, of which unneeded ones were replaced by None or an edge."""
    node = new(Node)
    node.primitive = prim
    node.edges = edges
    node.args = args
    node.kwargs = kwargs
    node.hooks = None
    node.versions = versions_of(args)
    node.cell = None
    node.cell_version = 0
    node.ans = ans if save_ans else None
    if ans.__class__ is tuple:  # their shapes and dtypes: those of the Outputs, filled in by finish()
        node.shape = []
        node.dtype = []
    else:
        node.shape = ans.shape
        node.dtype = ans.dtype
    return node


def finish(node: Node, ans: Any, save_ans: bool) -> Any:
    """The output tensor(s) of ``node``."""
    if ans.__class__ is tuple:
        outputs = []
        edges = (node,)
        shapes, dtypes = node.shape, node.dtype
        for nr, a in enumerate(ans):
            out = new(Tensor)
            out._data = a
            out._vc = out._view = None
            shape, dtype = a.shape, a.dtype
            shapes.append(shape)
            dtypes.append(dtype)
            if dtype is not _f32 and dtype.kind in "biu":
                out._node = None
            else:
                out._node = edge = new(Output)
                edge.edges = edges
                edge.nr = nr
                edge.shape = shape
                edge.dtype = dtype
                edge.hooks = None
            outputs.append(out)
        return tuple(outputs)
    out = Tensor._wrap(ans, node)
    if save_ans:
        node.cell = out._vc = Cell()
    return out


def _arrives(node: Node) -> bool:
    """Whether a gradient of ``node`` is not dropped."""
    return not all(e is None or is_nowhere(e) for e in node.edges)


def array_of(node: Node, i: int, a: Any) -> Array:
    """The array of saved tensor ``a``, argument ``i`` of ``node``, if it was not written to since."""
    cell = a._vc
    if cell is not None:
        expected = 0 if node.versions is None else node.versions[i]
        if cell.version != expected and not node.primitive.ignores(node, i) and _arrives(node):
            a._fresh()  # a view whose history cannot follow the write says so
            raise stale(node, a._data, cell.version, expected, False, a)
    return a._data


def saved_arrays(node: Node) -> list[Any]:
    """The node's saved arguments as arrays; an error if they were freed, or written to since they were saved."""
    args = node.args
    if args is None:
        raise freed()
    if node.cell is not None and node.cell.version != node.cell_version:
        raise stale(node, node.ans, node.cell.version, node.cell_version, True)
    raw: list[Any] = []
    for a in args:
        if a.__class__ in TENSORS:
            raw.append(a._data if a._vc is None else array_of(node, len(raw), a))
        else:
            raw.append(a)
    return raw


class Wrapped:
    """A node's primitive with something about it: it does what that does, and has what that has."""

    def __init__(self, primitive: Any) -> None:
        self.primitive = primitive

    def __getattr__(self, name: str) -> Any:
        return getattr(self.primitive, name)


class Watching(Wrapped):
    """The primitive of a node whose options, beside its inputs, came from tensors: masks, indices.  The rules are given
    their arrays; what is watched here is that nobody has written to them."""

    always_saves = True

    def __init__(self, primitive: Any, tensors: tuple[Tensor, ...]) -> None:
        super().__init__(primitive)
        self.tensors = tensors
        self.versions = tuple([t._version for t in tensors])

    def _check(self, node: Node) -> None:
        for t, expected in zip(self.tensors, self.versions, strict=True):
            if t._version != expected and node.args is not None:
                raise stale(node, t._data, t._version, expected, False, t)

    def pull(self, node: Node, g: Array, wanted: Any, outs: Any = None) -> Any:
        self._check(node)
        return self.primitive.pull(node, g, wanted, outs)

    def pull_tensors(self, node: Node, g: Any, wanted: Any) -> Any:
        self._check(node)
        return self.primitive.pull_tensors(node, g, wanted)


def watched(out: Any, *tensors: Any) -> Any:
    """``out``, whose node, if it was recorded, then notices writes to those of ``tensors`` that are tensors."""
    edge = out._node if out.__class__ in TENSORS else None
    if edge.__class__ is Node:
        kept = tuple([t for t in tensors if t.__class__ in TENSORS])
        if kept:
            edge.primitive = Watching(edge.primitive, kept)
    return out


def tensors_in(index: Any) -> list[Any]:
    """The tensors in ``index``: a tensor, or nested in tuples and lists."""
    if index.__class__ in TENSORS:
        return [index]
    return [t for part in index for t in tensors_in(part)] if index.__class__ in (tuple, list) else []
