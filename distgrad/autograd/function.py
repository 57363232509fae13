"""Operations whose forward and backward the user writes on Tensors."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend
from .errors import freed
from .grad_mode import recording
from .graph import Cell, Leaf, Node, output_of
from .recording import record
from .tensor import TENSORS, Tensor
from .views import check_writable, follow, rebase, share, wants_grad


class FunctionCtx:
    """What a Function's forward leaves for its backward.

    >>> class Twice(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.factor = 2.0                   # ctx keeps what backward needs
    ...         return ctx.factor * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return ctx.factor * g
    ...
    >>> x = torch.tensor([3.0], requires_grad=True)
    >>> Twice.apply(x).backward()
    >>> x.grad
    tensor([2.])
    """

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] | None = ()
        self._versions: tuple[int, ...] = ()
        self._dirty: tuple[Any, ...] = ()
        self._fixed: tuple[Any, ...] = ()
        self._materialize = True
        self._saved_outputs: dict[int, int] = {}  # which of the saved are outputs, and their numbers
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (inputs, outputs or others; None allowed) for :attr:`saved_tensors`."""
        for t in tensors:
            if t is not None and t.__class__ not in TENSORS:
                raise TypeError(
                    f"save_for_backward can only save variables, but argument is of type {type(t).__name__}"
                )
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What :meth:`save_for_backward` was given; an error once freed or if it was written to since."""
        if self._saved is None:
            raise freed()
        for i, (t, version) in enumerate(zip(self._saved, self._versions, strict=True)):
            if t is not None and t._version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: "
                    f"saved tensor {i} ({t.dtype}, {list(t.shape)}) is at version {t._version}; expected version "
                    f"{version} instead."
                )
        return self._saved

    def mark_dirty(self, *tensors: Any) -> None:
        """Declare inputs that forward wrote to in place."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Declare outputs that have no gradient."""
        self._fixed = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether undefined gradients of outputs reach backward as zeros (the default) or as None."""
        self._materialize = value


class _FunctionPrimitive:
    """The node side of a Function."""

    name = "function"
    any_out = always_saves = False
    materialize = False

    def __init__(self, cls: type[Function], ctx: Any, single: bool) -> None:
        self.cls, self.ctx, self.single = cls, ctx, single

    def node_name(self, node: Node) -> str:
        return f"{self.cls.__name__}Backward"

    def forget_versions(self) -> None:
        """What was saved is kept in another form, which nobody writes to."""
        self.ctx._versions = (0,) * len(self.ctx._versions)

    def pull(self, node: Node, g: Any, wanted: Any, outs: Any = None) -> list[Any]:
        def wrap(a: Any) -> Any:
            return None if a is None else Tensor._wrap(np.asarray(a) if isinstance(a, np.generic) else a, None)

        tensors = wrap(g) if self.single else [wrap(a) for a in g]
        return [None if t is None else t._data for t in self.pull_tensors(node, tensors, wanted)]

    def pull_tensors(self, node: Node, g: Any, wanted: Any) -> list[Any]:
        if node.args is None:
            raise freed()
        ctx = self.ctx
        grads = [g] if self.single else list(g)
        if ctx._materialize and not self.single:
            xp = backend.array_module(next(p._data for p in grads if p is not None))
            for i, p in enumerate(grads):
                if p is None:
                    grads[i] = Tensor._wrap(xp.zeros(node.shape[i], node.dtype[i]), None)
        ctx._saved = self._unpacked(node)
        try:
            found = self.cls.backward(ctx, *grads)
        finally:
            ctx._saved = None
        found = found if isinstance(found, (tuple, list)) else (found,)
        n = len(node.edges)
        if len(found) > n and all(f is None for f in found[n:]):
            found = found[:n]
        if len(found) != n:
            raise RuntimeError(
                f"function {self.cls.__name__}Backward returned an incorrect number of gradients (expected {n}, got "
                f"{len(found)})"
            )
        for f in found:
            if f is not None and f.__class__ not in TENSORS:
                raise TypeError(f"{self.cls.__name__}.backward must return Tensors or None, got {type(f).__name__}")
        return [f if w is not None else None for f, w in zip(found, wanted, strict=True)]


    def _unpacked(self, node: Node) -> tuple[Any, ...]:
        """The saved tensors; of saved outputs, which the node must not own, new ones that are this node's outputs."""
        saved = list(node.args)
        for k, nr in self.ctx._saved_outputs.items():
            data, cell = saved[k]._data, saved[k]._vc
            saved[k] = Tensor._wrap(data, node if self.single else output_of(node, nr, data))
            saved[k]._vc = cell
        return tuple(saved)


class Function:
    """A differentiable operation of one's own: subclass, write ``forward(ctx, *args)`` and ``backward(ctx, *grads)`` as
    static methods (or ``forward(*args)`` and ``setup_context(ctx, inputs, output)``), call
    ``MyFunction.apply(...)``.

    >>> class Square(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return 2 * x * g
    ...
    >>> x = torch.tensor([3.0], requires_grad=True)
    >>> Square.apply(x).backward()
    >>> x.grad
    tensor([6.])
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward, unrecorded inside, and record the whole as one operation."""
        for a in args:
            if a.__class__ in TENSORS:
                a._fresh()
        edges = tuple([a._node if a.__class__ in TENSORS else None for a in args])
        ctx = FunctionCtx()
        ctx.needs_input_grad = tuple(e is not None for e in edges)
        before, recording.enabled = recording.enabled, False
        try:
            if cls.setup_context is Function.setup_context:
                out = cls.forward(ctx, *args)
            else:
                out = cls.forward(*args)
                cls.setup_context(ctx, args, out)
        finally:
            recording.enabled = before
        bare = not isinstance(out, (tuple, list))
        outputs = (out,) if bare else tuple(out)
        recorded = recording.enabled and any(e is not None for e in edges)
        given = {id(a) for a in args if a.__class__ in TENSORS}
        dirty = {id(t) for t in ctx._dirty}
        if not dirty <= {id(t) for t in outputs}:
            raise RuntimeError(
                "Some elements marked as dirty during the forward method were not returned as output. The inputs that "
                "are modified inplace must all be outputs of the Function."
            )
        results: list[Any] = []
        for t in outputs:
            # never the forward's own object: it may be saved, or an input
            if t.__class__ in TENSORS and (id(t) not in dirty or not recorded):
                results.append(_output(t, id(t) in given, id(t) in dirty, recorded, len(outputs)))
            else:
                results.append(t)
        for t in ctx._dirty:
            t._bump()
        if recorded:
            single = bare or (len(outputs) == 1 and outputs[0].__class__ in TENSORS)
            _record(cls, ctx, args, edges, outputs, results, single)
        return results[0] if bare else tuple(results)


def _record(
    cls: type[Function],
    ctx: FunctionCtx,
    args: tuple[Any, ...],
    edges: tuple[Any, ...],
    outputs: tuple[Any, ...],
    results: list[Any],
    single: bool,
) -> None:
    """Make ``results``, over the memory of what forward returned (``outputs``), those of one node; ``single``: it has
    one output, not a tuple of them."""
    given = {id(a) for a in args if a.__class__ in TENSORS}
    dirty = {id(t) for t in ctx._dirty}
    tensors = [t if t.__class__ in TENSORS else None for t in results]
    node = record(_FunctionPrimitive(cls, ctx, single), np.zeros(()), (), edges, None, False)
    if single:
        if tensors[0] is None:
            raise TypeError(f"{cls.__name__}.forward must return Tensors, got {type(outputs[0]).__name__}")
        node.shape, node.dtype = tensors[0]._data.shape, tensors[0]._data.dtype
    else:
        node.shape = [None if t is None else t._data.shape for t in tensors]
        node.dtype = [None if t is None else t._data.dtype for t in tensors]
    fixed = {id(t) for t in ctx._fixed}
    written = {}
    for i, (made, t) in enumerate(zip(outputs, tensors, strict=True)):
        if t is None or id(made) in fixed or t.dtype.category < 2:
            continue
        if id(t) in dirty:
            _check_dirty(t, id(t) in given, len(outputs))
            written[i] = t
        else:
            t._node = node if single else output_of(node, i, t._data)
    node.args, ctx._saved = _packed(ctx, outputs, results, written), None
    if recording.pairs and node.args:
        recording.pairs[-1]._pack(node)
    for i, t in written.items():
        at = next((k for k, a in enumerate(args) if a is t), None)
        if t._view is None or at is None:
            rebase(t, node if single else output_of(node, i, t._data))
        else:
            follow(t, node, at)


def _output(t: Any, given: bool, dirty: bool, recorded: bool, n: int) -> Any:
    """A tensor over the memory of ``t``, one of ``n`` that forward returned; where that is an input, or a view of one,
    a view that may not be written in place, because the history of that is the Function's own."""
    if given and not recorded and wants_grad(t):
        return t.detach()
    if dirty:
        return t
    made = "several" if n > 1 and recorded else "function"
    if not given and not recorded:
        if t._view is not None:
            t._view.made = made
        return t
    out = Tensor._wrap(t._data, None)
    if given or t._view is not None:
        share(out, t, made)
    else:
        out._vc = t._vc
    return out


def _check_dirty(t: Any, given: bool, n: int) -> None:
    """Raise where forward may not have written to ``t``, one of ``n`` outputs; ``given``: an input."""
    if type(t._node) is Leaf:
        raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation.")
    if not given:
        warnings.warn(
            "Only input Tensors should be given to ctx.mark_dirty(). If a Tensor is not an input, there is no need to "
            "pass it to mark_dirty().",
            stacklevel=4,
        )
    if t._view is not None:
        if n > 1:
            raise RuntimeError(
                "If your Function modifies inplace an input that is a view of another Tensor, your Function cannot "
                "return more than one Tensor. This is not supported by the current autograd engine. You should either "
                "make sure the input is not a view (using .clone() for example) or make your Function only return one "
                "Tensor (potentially splitting it into two Functions: one doing the inplace that returns a single "
                "Tensor and a second one that does the other operations)."
            )
        check_writable(t)


def _packed(
    ctx: FunctionCtx, outputs: tuple[Any, ...], results: list[Any], written: dict[int, Any]
) -> tuple[Any, ...]:
    """What the node keeps of the tensors that forward saved: an output without its history, sharing its version."""
    number = {id(t): i for i, t in enumerate(outputs) if t.__class__ in TENSORS}
    kept = []
    for k, t in enumerate(ctx._saved or ()):
        nr = number.get(id(t))
        if nr is not None and (
            nr in written or (results[nr]._node is not None and type(results[nr]._node) is not Leaf)
        ):
            result = results[nr]
            if result._vc is None:
                result._vc = Cell()
            ctx._saved_outputs[k] = nr
            t = Tensor._wrap(result._data, None)
            t._vc = result._vc
        kept.append(t)
    ctx._versions = tuple([0 if t is None else t._version for t in kept])
    return tuple(kept)


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a Function's backward that must not be differentiated itself: doing so raises.

    >>> class Square(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...     @staticmethod
    ...     @torch.autograd.function.once_differentiable
    ...     def backward(ctx, g):
    ...         return 2 * ctx.saved_tensors[0] * g
    ...
    >>> x = torch.tensor([3.0], requires_grad=True)
    >>> Square.apply(x).backward()
    >>> x.grad
    tensor([6.])
    """

    @functools.wraps(backward)
    def wrapped(ctx: Any, *grads: Any) -> Any:
        before, recording.enabled = recording.enabled, False
        try:
            found = backward(ctx, *grads)
        finally:
            recording.enabled = before
        if not before or not any(g is not None and g.requires_grad for g in grads):
            return found
        several = isinstance(found, (tuple, list))
        refused = [
            None if f is None else _Refuse.apply(f.detach().requires_grad_()) for f in (found if several else (found,))
        ]
        return tuple(refused) if several else refused[0]

    return wrapped


class _Refuse(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


__all__ = ["Function", "FunctionCtx", "once_differentiable"]
