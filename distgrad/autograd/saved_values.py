"""``node._saved_self`` and its like: what a node keeps for the backward pass, under PyTorch's names.

A node keeps what its own rules read, which now and then is less than PyTorch's keeps: a name is there where PyTorch has
it and the value is kept or known.  They are properties of the class, so that nothing else of a node gets slower.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import backend
from .errors import freed, stale
from .graph import Leaf, Node, Output
from .recording import Wrapped, array_of
from .tensor import TENSORS, Tensor

# For each node PyTorch's names and, of each, the argument of the forward function, "ans" for its result, or the shape
# of an input.  What is not here has self, other and result.
_TABLE = {
    "AddBackward0": "alpha=alpha",
    "AddcmulBackward0": "tensor1=a tensor2=b value=value",
    "AddmmBackward0": "mat1=x mat2=weight mat1_sym_sizes=x.shape",
    "BinaryCrossEntropyWithLogitsBackward0": "self=x target=y reduction=reduction",
    "BmmBackward0": "self=x mat2=y",
    "CatBackward0": "dim=dim",
    "ClampBackward1": "self=x min=low max=high",
    "ConvolutionBackward0": "input=x weight=weight",
    "CumsumBackward0": "dim=dim",
    "DivBackward0": "self=x other=y",
    "DotBackward0": "self=x tensor=y",
    "EluBackward0": "self=x alpha=alpha scale=scale",
    "EmbeddingBackward0":
        "indices=index sparse=sparse scale_grad_by_freq=by_frequency weight_sym_argsize_0=weight.rows",
    "ExpandBackward0": "self_sym_sizes=x.shape",
    "GatherBackward0": "index=index dim=dim",
    "GeluBackward0": "self=x approximate=by_tanh",
    "IndexBackward0": "self_sym_sizes=x.shape",
    "LeakyReluBackward0": "self=x negative_slope=slope",
    "LerpBackward0": "weight=weight",
    "LinalgVectorNormBackward0": "self=x dim=dims keepdim=keepdim result=ans",
    "LogSoftmaxBackward0": "dim=dim result=ans",
    "LogsumexpBackward0": "self=x dim=dims keepdim=keepdim result=ans",
    "MaskedFillBackward0": "mask=mask",
    "MaxBackward0": "dim=dim self_sym_sizes=x.shape",
    "MeanBackward0": "self_sym_sizes=x.shape self_sym_numel=x.count",
    "MeanBackward1": "dim=dims keepdim=keepdim self_sym_sizes=x.shape self_sym_numel=x.count",
    "MinBackward0": "dim=dim self_sym_sizes=x.shape",
    "MmBackward0": "self=x mat2=y self_sym_sizes=x.shape mat2_sym_sizes=y.shape",
    "MseLossBackward0": "self=x target=y reduction=reduction",
    "MulBackward0": "self=x other=y",
    "MvBackward0": "self=x vec=y",
    "NativeLayerNormBackward0": "input=x weight=weight bias=bias",
    "PermuteBackward0": "dims=dims",
    "PowBackward0": "self=x exponent=y",
    "PowBackward1": "self=x exponent=y result=ans",
    "ProdBackward0": "self=x result=ans",
    "SelectBackward0": "self_sym_sizes=x.shape",
    "SliceBackward0": "self_sym_sizes=x.shape",
    "SoftmaxBackward0": "dim=dim result=ans",
    "SoftplusBackward0": "self=x beta=beta threshold=threshold",
    "StackBackward0": "dim=dim",
    "StdBackward0": "self=x dim=dims keepdim=keepdim result=ans",
    "SubBackward0": "alpha=alpha",
    "SumBackward0": "self_sym_sizes=x.shape",
    "SumBackward1": "dim=dims keepdim=keepdim self_sym_sizes=x.shape",
    "TransposeBackward0": "dim0=a dim1=b",
    "VarBackward0": "self=x dim=dims keepdim=keepdim",
    "ViewBackward0": "self_sym_sizes=x.shape",
    "WhereBackward0": "condition=condition",
}  # fmt: skip
_USUAL = {"self": "x", "other": "y", "result": "ans"}
_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}
_MISSING = object()


@functools.cache
def _sources(name: str) -> dict[str, str]:
    """PyTorch's names for a node called ``name``, with where the values are."""
    return dict(part.split("=") for part in _TABLE[name].split()) if name in _TABLE else _USUAL


def _as_recorded(node: Node) -> Node:
    """``node`` as its operation was recorded: with what hooks packed unpacked."""
    primitive = node.primitive
    while isinstance(primitive, Wrapped):
        if hasattr(primitive, "_whole"):
            return _as_recorded(primitive._whole(node))
        primitive = primitive.primitive
    return node


def _argument(node: Node, name: str) -> Any:
    """The argument ``name`` of the operation, and its place; the value is missing where there is none of that name."""
    inputs = node.primitive.inputs
    if name in inputs:
        i = inputs.index(name)
        if i < len(node.args):
            return node.args[i], i
    if node.kwargs and name in node.kwargs:
        return node.kwargs[name], -1
    return (1 if name == "alpha" else _MISSING), -1


def _geometry(node: Node, source: str) -> Any:
    """What ``source``, such as ``"x.shape"``, says of an input."""
    name, what = source.split(".")
    value, i = _argument(node, name)
    at = value if hasattr(value, "shape") else node.edges[i] if 0 <= i < len(node.edges) else None
    if at is None:
        return _MISSING
    shape = tuple(at.shape)
    return shape if what == "shape" else shape[0] if what == "rows" else int(np.prod(shape, dtype=np.int64))


def _shown(node: Node, name: str, value: Any, i: int) -> Any:
    """``value``, argument ``i`` of ``node``, as PyTorch's node shows what it calls ``name``."""
    if value.__class__ in TENSORS:
        array_of(node, i, value)
        return value.t() if name == "mat2" and node.name() == "AddmmBackward0" else value
    if isinstance(value, (Leaf, Output, Node)):
        return _MISSING
    if backend.is_array(value):
        return Tensor._wrap(value, None)
    if name == "reduction":
        return _REDUCTIONS[value]
    if name == "approximate":
        return "tanh" if value else "none"
    if name == "other" and isinstance(value, (int, float)):  # PyTorch makes a tensor of the number
        return Tensor._wrap(np.asarray(value), None)
    return value


def _found(node: Node, name: str) -> Any:
    """The saved value that PyTorch calls ``name``, or the mark of a missing one."""
    source = _sources(node.name()).get(name)
    if source is None:
        return _MISSING
    if node.args is None:
        raise freed()
    node = _as_recorded(node)
    if "." in source:
        return _geometry(node, source)
    if source == "ans":
        if node.ans is None or node.ans.__class__ is tuple:
            return _MISSING
        if node.cell is not None and node.cell.version != node.cell_version:
            raise stale(node, node.ans, node.cell.version, node.cell_version, True)
        return Tensor._wrap(node.ans, node)
    value, i = _argument(node, source)
    if value is None:
        return None if node.name() in _TABLE else _MISSING
    return value if value is _MISSING else _shown(node, name, value, i)


def _read(name: str, node: Node) -> Any:
    found = _found(node, name)
    if found is _MISSING:
        raise AttributeError(f"'{node.name()}' object has no attribute '_saved_{name}'")
    return found


def _has(node: Node, name: str) -> bool:
    """Whether ``node`` has a saved value of that name, or had one before it was freed."""
    try:
        return _found(node, name) is not _MISSING
    except RuntimeError:
        return True


def _dir(node: Node) -> Iterable[str]:
    """The names of ``node``, without those of what others save."""
    return [n for n in object.__dir__(node) if not n.startswith("_saved_") or _has(node, n[7:])]


for _name in sorted(set(_USUAL).union(*[_sources(node) for node in _TABLE])):
    setattr(
        Node, f"_saved_{_name}",
        property(functools.partial(_read, _name), doc=f"What the operation saved that PyTorch calls ``{_name}``."),
    )  # fmt: skip
Node.__dir__ = _dir  # type: ignore[method-assign,assignment]
