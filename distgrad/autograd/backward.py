"""Where a backward pass begins: ``Tensor.backward``, ``backward`` and ``grad``, with what they may be given."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from .. import backend
from .anomaly_mode import is_anomaly_enabled, trace_rest
from .engine import _deliver, _run, _run_plain, ndarray
from .grad_mode import recording
from .gradient_edges import GradientEdge, _edges_at, _Placed, _placed
from .graph import Leaf
from .sparse import tensor_of
from .tensor import TENSORS, Tensor


def backward_scalar(t: Tensor, keep: bool) -> None:
    """:func:`backward` of one number from gradient 1, by the shortest way."""
    if t._view is not None:
        t._fresh()
    root, data = t._node, t._data
    if root is None or data.__class__ is not ndarray or data.ndim or data.dtype.kind == "c":
        backward(t, None, keep)
        return
    _guarded((root,), (data.dtype.type(1),), keep, False)  # a NumPy scalar: quicker than an array of no dimensions


def _sequence(value: Any) -> tuple[Any, ...]:
    if value.__class__ in TENSORS:
        return (value,)
    return tuple([_placed(v) for v in ((value,) if value.__class__ is GradientEdge else value)])


def _root_grads(outputs: Sequence[Any], grads: Any, create_graph: bool) -> list[Any]:
    given = (None,) * len(outputs) if grads is None else (grads,) if grads.__class__ in TENSORS else tuple(grads)
    if len(given) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(given)} gradients")
    result = []
    for t, g in zip(outputs, given, strict=True):
        data = t._data
        if g is None:
            if data.size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if data.dtype.kind == "c":
                raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {t.dtype}")
            if t.__class__ is _Placed:
                g = t.ones()
            else:
                with backend.where_it_lies(data):
                    g = Tensor._wrap(backend.array_module(data).ones(data.shape, data.dtype), None)
        elif g.__class__ not in TENSORS:
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
        elif g._data.shape != data.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output has a shape of torch.Size({list(g._data.shape)}) and output has a "
                f"shape of torch.Size({list(data.shape)})."
            )
        elif g._data.dtype != data.dtype:
            g = g.to(t.dtype)
        result.append(g if create_graph else g._data)
    return result


def _roots(tensors: Sequence[Any]) -> list[Any]:
    roots = []
    for t in tensors:
        if t.__class__ in TENSORS:
            t._fresh()
        elif t.__class__ is not _Placed:
            raise TypeError(f"expected Tensors to differentiate, got {type(t).__name__}")
        if t._node is None:
            raise RuntimeError("element 0 of tensors does not require grad and does not have a grad_fn")
        roots.append(t._node)
    return roots


def _guarded(
    roots: Sequence[Any], grads: Sequence[Any], keep: bool, create_graph: bool, targets: Any = None
) -> dict[Any, Any]:
    """:func:`_run` with the thread's recording flag set, and its callbacks run at the end."""
    mine = recording.__dict__  # this thread's: one look-up instead of six
    outer, before = mine.get("callbacks"), mine.get("enabled", True)
    if is_anomaly_enabled():
        trace_rest(roots)
    callbacks: list[Callable[[], None]] = []
    mine["callbacks"], mine["enabled"] = callbacks, create_graph
    try:
        captured: dict[Any, Any] = {}
        if backend.several_devices():
            with backend.switched() as switch:
                captured = _run(roots, grads, keep, create_graph, targets, switch)
        elif create_graph or targets is not None:
            captured = _run(roots, grads, keep, create_graph, targets)
        else:
            _run_plain(roots, grads, keep)
        while callbacks:
            callbacks.pop(0)()
        return captured
    finally:
        mine["callbacks"], mine["enabled"] = outer, before


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of ``tensors`` with respect to the leaves of their graphs to the leaves' ``.grad``.

    Args:
        tensors: one Tensor or several.
        grad_tensors: for each the gradient to start from, of its shape; None for a tensor of one element: 1.
        retain_graph: keep saved values for another backward; default ``create_graph``.
        create_graph: record the backward pass.
        inputs: accumulate into these tensors only; default every leaf.

    Raises:
        RuntimeError: nothing requires grad, a non-scalar without a gradient, or the graph was freed.

    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> torch.autograd.backward([(x * x).sum(), x.sum()])
    >>> x.grad
    tensor([3., 5.])
    """
    tensors = _sequence(tensors)
    roots = _roots(tensors)
    keep = create_graph if retain_graph is None else retain_graph
    start = _root_grads(tensors, grad_tensors, create_graph)
    if inputs is None:
        _guarded(roots, start, keep, create_graph)
        return
    wanted = _sequence(inputs)
    if not wanted:
        raise RuntimeError("'inputs' argument to backward() cannot be empty.")
    edges = set(_roots(wanted))
    once = {id(t): t for t in wanted}.values()
    for edge, g in _guarded(roots, start, keep, create_graph, edges).items():  # as they were complete, not as asked for
        if g is None:
            continue
        if type(edge) is Leaf:
            _deliver(edge, g, create_graph)
            continue
        g = g if create_graph else tensor_of(g)
        for t in once:
            if t._node is edge:
                t._grad = g.clone() if t._grad is None else t._grad + g  # its own memory


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of ``outputs``' sum (weighted by ``grad_outputs``) with respect to ``inputs``, as a tuple.

    Nothing is added to any ``.grad``.  With ``is_grads_batched`` the ``grad_outputs`` hold several along a first
    dimension, and so does what is returned.  An input that the outputs do not depend on is an error unless
    ``allow_unused`` (its gradient is None) or ``materialize_grads`` (zeros).

    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> (first,) = torch.autograd.grad(x**3, x, create_graph=True)
    >>> (second,) = torch.autograd.grad(first, x)
    >>> first.item(), second.item()
    (27.0, 18.0)
    """
    if not only_inputs:
        warnings.warn(
            "only_inputs argument is deprecated and is ignored (it is always true): use backward() to add to the other "
            "leaves' gradients.",
            FutureWarning,
            stacklevel=2,
        )
    if is_grads_batched:
        return _batched(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads)
    for name, flag in (("retain_graph", retain_graph), ("create_graph", create_graph), ("allow_unused", allow_unused)):
        if flag is not None and not hasattr(flag, "__index__"):
            raise TypeError(f"grad(): argument '{name}' must be bool, not {type(flag).__name__}")
    outputs, wanted = _sequence(outputs), _sequence(inputs)
    if not wanted:
        raise ValueError("grad requires non-empty inputs.")
    if allow_unused is None:
        allow_unused = materialize_grads
    elif materialize_grads and not allow_unused:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    for t in wanted:
        if (t.__class__ not in TENSORS and t.__class__ is not _Placed) or not t.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    keep = create_graph if retain_graph is None else retain_graph
    roots = _roots(outputs)
    places = [_edges_at(t._node, roots) for t in wanted if t.__class__ is _Placed]
    targets = {t._node for t in wanted}.union(*places)
    captured = _guarded(roots, _root_grads(outputs, grad_outputs, create_graph), keep, create_graph, targets)
    result = []
    for t in wanted:
        g = t.total(captured, places.pop(0)) if t.__class__ is _Placed else captured.get(t._node)
        if g is None and not allow_unused:
            raise RuntimeError(
                "One of the differentiated Tensors appears to not have been used in the graph. Set allow_unused=True "
                "if this is the desired behavior."
            )
        if g is None:
            if materialize_grads and t.__class__ is _Placed:
                g = t.ones() * 0
            elif materialize_grads:
                with backend.where_it_lies(t._data):
                    g = Tensor._wrap(backend.array_module(t._data).zeros_like(t._data), None)
            result.append(g)
        elif create_graph:
            result.append(g)
        else:
            result.append(tensor_of(g))
    return tuple(result)


def _batched(
    outputs: Any, inputs: Any, grad_outputs: Any, retain_graph: bool | None, create_graph: bool, *options: Any
) -> tuple[Any, ...]:
    """:func:`grad` for each of the gradients that ``grad_outputs`` hold along their first dimension, stacked."""
    weights: Any = _sequence(grad_outputs)
    count = next(len(w) for w in weights if w is not None)
    keep = create_graph if retain_graph is None else retain_graph
    rows = [
        grad(outputs, inputs, [None if w is None else w[i] for w in weights], keep or i < count - 1, create_graph,
             allow_unused=options[0], materialize_grads=options[1])
        for i in range(count)
    ]  # fmt: skip
    found: list[Any] = []
    for parts in zip(*rows, strict=True):
        if parts[0] is None:
            found.append(None)
            continue
        whole: Any = parts[0].new_zeros((count, *parts[0].shape))
        for i, part in enumerate(parts):
            whole[i] = part
        found.append(whole)
    return tuple(found)


def _backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradient of this tensor with respect to the leaves of its graph to their ``.grad``.

    Args:
        gradient: of the same shape; may be left out for a tensor of one element, where it is 1.
        retain_graph: keep the saved values so that backward can run again; default ``create_graph``.
        create_graph: record the backward pass itself, so that gradients can be differentiated.
        inputs: the tensors to accumulate into; default all leaves.
    """
    if gradient is None and inputs is None and not create_graph:
        backward_scalar(self, bool(retain_graph))
    else:
        backward(self, gradient, retain_graph, create_graph, inputs=inputs)


_backward.__name__, _backward.__qualname__ = "backward", "Tensor.backward"
Tensor.backward = _backward  # type: ignore[method-assign]
