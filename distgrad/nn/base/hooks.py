"""Functions that run around a module's forward and backward.  A module without them pays one look at ``_hooks``."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ...autograd import Function, RemovableHandle, Tensor

if TYPE_CHECKING:
    from .module import Module

_key = itertools.count()
_BOTH = (
    "Cannot use both regular backward hooks and full backward hooks on a single Module. Please use only one of them."
)


class Hooks:
    """The hooks of one module, each kind in the order they run: ``{key: (hook, wants keyword arguments)}``."""

    __slots__ = ("always", "backward", "backward_pre", "forward", "forward_pre", "node")

    def __init__(self) -> None:
        self.always: set[int] = set()  # which of ``forward`` run even where forward raises
        self.forward_pre: dict[int, tuple[Any, bool]] = {}
        self.forward: dict[int, tuple[Any, bool]] = {}
        self.backward_pre: dict[int, tuple[Any, bool]] = {}
        self.backward: dict[int, tuple[Any, bool]] = {}
        self.node: dict[int, tuple[Any, bool]] = {}  # of the operation that the output came from


# Hooks of all modules: ``{key: (kind, hook, wants keyword arguments, runs even where forward raises)}``.
EVERYWHERE: dict[int, tuple[str, Any, bool, bool]] = {}
# What is told of parameters, buffers and modules that any module is given: ``{key: (kind, hook)}``.
REGISTRATIONS: dict[int, tuple[str, Any]] = {}


def add_everywhere(
    kind: str, hook: Callable[..., Any], with_kwargs: bool = False, always: bool = False
) -> RemovableHandle:
    """Register ``hook`` under ``kind`` for all modules."""
    key = next(_key)
    EVERYWHERE[key] = (kind, hook, with_kwargs, always)
    return RemovableHandle(EVERYWHERE, key)


def add_registration(kind: str, hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, what)`` whenever a module is given a ``kind``: "parameter", "buffer" or "module"."""
    key = next(_key)
    REGISTRATIONS[key] = (kind, hook)
    return RemovableHandle(REGISTRATIONS, key)


def registered(kind: str, module: Any, name: str, what: Any) -> Any:
    """``what``, or what the hooks have put in its place."""
    for wanted, hook in tuple(REGISTRATIONS.values()):
        if wanted == kind:
            found = hook(module, name, what)
            if found is not None:
                what = found
    return what


def _of(hooks: Hooks | None, kind: str) -> list[tuple[Any, bool, bool]]:
    """All hooks of a kind in the order they run, those of all modules first: (hook, wants keywords, always)."""
    found = [(hook, w, a) for k, hook, w, a in tuple(EVERYWHERE.values()) if k == kind] if EVERYWHERE else []
    if hooks is not None:
        always = hooks.always if kind == "forward" else ()
        found += [(hook, w, key in always) for key, (hook, w) in getattr(hooks, kind).items()]
    return found


def _add(module: Any, kind: str, hook: Callable[..., Any], with_kwargs: bool, prepend: bool) -> RemovableHandle:
    """Register ``hook`` under ``kind``, an attribute of :class:`Hooks`, last or first."""
    if not callable(hook):
        raise TypeError(f"a hook must be callable, got {type(hook).__name__}")
    if module._hooks is None:
        module._hooks = Hooks()
    hooks = getattr(module._hooks, kind)
    key = next(_key)
    if prepend:
        later = dict(hooks)
        hooks.clear()
        hooks[key] = (hook, with_kwargs)
        hooks.update(later)
    else:
        hooks[key] = (hook, with_kwargs)
    return RemovableHandle(hooks, key)


def _listed(module: Any, kind: str) -> Mapping[int, Callable[..., Any]]:
    """The hooks of one kind, to look at: they are taken away by their handles."""
    held = {} if module._hooks is None else getattr(module._hooks, kind)
    return MappingProxyType({key: hook for key, (hook, _) in held.items()})


def forward_pre_hooks(module: Any) -> Mapping[int, Callable[..., Any]]:
    """The module's hooks before forward, by the keys under which ``module._hooks.forward_pre`` has them."""
    return _listed(module, "forward_pre")


class Hookable:
    """The part of :class:`Module` that registers hooks."""

    _hooks: Hooks | None

    @property
    def _forward_pre_hooks(self) -> Mapping[int, Callable[..., Any]]:
        return _listed(self, "forward_pre")

    @property
    def _forward_hooks(self) -> Mapping[int, Callable[..., Any]]:
        return _listed(self, "forward")

    @property
    def _backward_pre_hooks(self) -> Mapping[int, Callable[..., Any]]:
        return _listed(self, "backward_pre")

    @property
    def _backward_hooks(self) -> Mapping[int, Callable[..., Any]]:
        return _listed(self, "backward") or _listed(self, "node")

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before forward; what it returns, if not None, replaces the arguments."""
        return _add(self, "forward_pre", hook, with_kwargs, prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after forward; what it returns, if not None, replaces the output.

        Args:
            prepend: before the hooks that there are.
            with_kwargs: ``hook(module, args, kwargs, output)``.
            always_call: even where forward raises; ``output`` is None then.
        """
        handle = _add(self, "forward", hook, with_kwargs, prepend)
        if always_call:
            self._hooks.always.add(handle._hook)  # type: ignore[union-attr]
        return handle

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` before the module's backward; its result, if not None, replaces them."""
        return _add(self, "backward_pre", hook, False, prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the gradients of the inputs are complete.

        Both are tuples, None for what is no tensor or has no gradient.  A result, if not None, replaces ``grad_input``.
        RuntimeError beside hooks of :meth:`register_backward_hook`.
        """
        if _listed(self, "node"):
            raise RuntimeError(_BOTH)
        return _add(self, "backward", hook, False, prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` in the backward pass of the operation that the output came
        from: ``grad_input`` are the gradients of that operation's inputs, which may not be the module's.

        For that, :meth:`register_full_backward_hook` takes its place; RuntimeError beside hooks of that.
        """
        if _listed(self, "backward"):
            raise RuntimeError(_BOTH)
        return _add(self, "node", hook, False, False)


def call(module: Module, hooks: Hooks | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``module.forward(*args, **kwargs)`` with the hooks around it."""
    done: set[int] = set()
    try:
        return _called(module, hooks, args, kwargs, done)
    except Exception:
        for hook, with_kwargs, always in _of(hooks, "forward"):
            if always and id(hook) not in done:
                try:
                    hook(module, args, kwargs, None) if with_kwargs else hook(module, args, None)
                except Exception as error:
                    warnings.warn(
                        "module forward hook with ``always_call=True`` raised an exception that was silenced as "
                        f"another error was raised in forward: {error}",
                        stacklevel=2,
                    )
        raise


def _called(module: Module, hooks: Hooks | None, args: tuple[Any, ...], kwargs: dict[str, Any], done: set[int]) -> Any:
    for hook, with_kwargs, _ in _of(hooks, "forward_pre"):
        if with_kwargs:
            found = hook(module, args, kwargs)
            if found is not None:
                if not (isinstance(found, tuple) and len(found) == 2):
                    raise RuntimeError(
                        "forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got "
                        f"{type(found).__name__}"
                    )
                args, kwargs = found
        else:
            found = hook(module, args)
            if found is not None:
                args = found if isinstance(found, tuple) else (found,)
    before, after = _of(hooks, "backward_pre"), _of(hooks, "backward")
    watch = _Watch(module, before, after) if before or after else None
    if watch is not None:
        args = watch.inputs(args)
    out = module.forward(*args, **kwargs)
    for hook, with_kwargs, _ in _of(hooks, "forward"):
        done.add(id(hook))
        found = hook(module, args, kwargs, out) if with_kwargs else hook(module, args, out)
        if found is not None:
            out = found
    for hook, *_ in _of(hooks, "node"):
        _at_node(module, hook, out)
    return out if watch is None else watch.outputs(out)


def _at_node(module: Module, hook: Callable[..., Any], out: Any) -> None:
    """Hang ``hook`` on the node of the first tensor in ``out``, if it has one."""
    while not isinstance(out, Tensor):
        if isinstance(out, dict):
            out = next((value for value in out.values() if isinstance(value, Tensor)), None)
        elif isinstance(out, (tuple, list)) and out:
            out = out[0]
        else:
            return
    if out.grad_fn is not None:
        out.grad_fn.register_hook(functools.partial(hook, module))


class _Watch:
    """One call of a module with backward hooks: an identity at its outputs, which takes their gradients together, and
    one at its inputs, which hands both to the hooks."""

    def __init__(self, module: Module, before: list[Any], after: list[Any]) -> None:
        self.module, self.before, self.after = module, before, after
        self.grad_output: tuple[Any, ...] | None = None
        self.watched: list[int] = []  # which arguments the inputs' identity passes on
        self.n_inputs = 0

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.n_inputs = len(args)
        self.watched = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
        if not self.watched:
            return args
        passed = list(args)
        for i, t in zip(self.watched, _AtInputs.apply(self, *[args[i] for i in self.watched]), strict=True):
            passed[i] = t
        return tuple(passed)

    def outputs(self, out: Any) -> Any:
        several = isinstance(out, (tuple, list))
        outs = list(out) if several else [out]
        recorded = [i for i, o in enumerate(outs) if isinstance(o, Tensor) and o.requires_grad]
        if not recorded:
            return out
        passed = _AtOutputs.apply(self, len(outs), recorded, *[outs[i] for i in recorded])
        for i, t in zip(recorded, passed, strict=True):
            outs[i] = t
        if not several:
            return outs[0]
        return type(out)(*outs) if hasattr(out, "_fields") else type(out)(outs)

    def at_outputs(self, grads: tuple[Any, ...], n: int, recorded: list[int]) -> tuple[Any, ...]:
        whole: list[Any] = [None] * n
        for i, g in zip(recorded, grads, strict=True):
            whole[i] = g
        self.grad_output = tuple(whole)
        for hook, *_ in self.before:
            found = hook(self.module, self.grad_output)
            if found is not None:
                self.grad_output = _same_number(found, n, "full backward pre-hook")
        if not self.watched:  # nothing below asks for a gradient: the hooks run here, as in PyTorch
            self._run((None,) * self.n_inputs)
        return tuple(self.grad_output[i] for i in recorded)

    def at_inputs(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        whole: list[Any] = [None] * self.n_inputs
        for i, g in zip(self.watched, grads, strict=True):
            whole[i] = g
        found = self._run(tuple(whole))
        return tuple(found[i] for i in self.watched)

    def _run(self, grad_input: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook, *_ in self.after:
            found = hook(self.module, grad_input, self.grad_output)
            if found is not None:
                grad_input = _same_number(found, self.n_inputs, "full backward hook")
        return grad_input


def _same_number(found: Any, n: int, name: str) -> tuple[Any, ...]:
    found = found if isinstance(found, tuple) else (found,)
    if len(found) != n:
        raise RuntimeError(f"{name} returned an incorrect number of gradients: {len(found)}, but it was given {n}")
    return found


class _AtInputs(Function):
    @staticmethod
    def forward(ctx: Any, watch: _Watch, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.watch = watch
        return tensors

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return (None, *ctx.watch.at_inputs(grads))


class _AtOutputs(Function):
    @staticmethod
    def forward(ctx: Any, watch: _Watch, n: int, recorded: list[int], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.watch, ctx.n, ctx.recorded = watch, n, recorded
        return tensors

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return (None, None, None, *ctx.watch.at_outputs(grads, ctx.n, ctx.recorded))
