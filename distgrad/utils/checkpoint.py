"""Parts of a forward pass that save nothing and are computed once more in the backward pass: memory for time.

What operations save inside goes through hooks (:mod:`distgrad.autograd.saved_tensors`) that keep a number in its place.
When the backward pass asks for the first of it, the part runs again, with the random numbers that it drew before, and
what it saves then is given out by these numbers.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .. import random
from ..autograd import Tensor, enable_grad, is_grad_enabled
from ..autograd.grad_mode import recording
from ..autograd.saved_tensors import saved_tensors_hooks
from ..autograd.tensor import TENSORS

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential", "noop_context_fn", "set_checkpoint_early_stop"]


class CheckpointError(RuntimeError):
    """A part of a forward pass did not do the same when it was run again.

    >>> issubclass(torch.utils.checkpoint.CheckpointError, RuntimeError)
    True
    """


def noop_context_fn() -> tuple[Any, Any]:
    """Two contexts that do nothing: for the forward pass and for when it runs again.

    >>> first, again = torch.utils.checkpoint.noop_context_fn()
    """
    return contextlib.nullcontext(), contextlib.nullcontext()


_early_stop: list[bool] = []


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Inside, whether parts that run again end as soon as all that was saved is there; by default as each was told.

    >>> with torch.utils.checkpoint.set_checkpoint_early_stop(False):
    ...     pass
    """
    _early_stop.append(enable)
    try:
        yield
    finally:
        _early_stop.pop()


class _Enough(Exception):
    """All that was saved is there."""


class _Part:
    """A part of a forward pass: how many tensors it saved, of which shapes and types, and how to run it again."""

    def __init__(self, run: Callable[[], Any], early: bool, check: bool) -> None:
        self.run, self.early, self.check = run, early, check
        self.saved: list[tuple[Any, Any]] = []
        self.running: Any = None  # the backward pass that it was run again for
        self.found: list[Tensor] = []

    def pack(self, t: Tensor) -> int:
        self.saved.append((tuple(t.shape), t.dtype))
        return len(self.saved) - 1

    def unpack(self, number: int) -> Tensor:
        if recording.callbacks is None or self.running is not recording.callbacks:
            self.found, self.running = self._again(), recording.callbacks
            if recording.callbacks is not None:
                recording.callbacks.append(self._forget)
        found = self.found
        if number >= len(found):
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {len(self.saved)}\nNumber of tensors saved "
                f"during recomputation: {len(found)}."
            )
        t = found[number]
        if self.check and (tuple(t.shape), t.dtype) != self.saved[number]:
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than "
                f"during the forward pass.\ntensor at position {number}:\nsaved metadata: {self.saved[number]}\n"
                f"recomputed metadata: {(tuple(t.shape), t.dtype)}"
            )
        return t

    def _forget(self) -> None:
        self.found, self.running = [], None

    def _again(self) -> list[Tensor]:
        found: list[Tensor] = []

        def keep(t: Tensor) -> Tensor:
            found.append(t.detach())
            if self.early and len(found) == len(self.saved):
                raise _Enough
            return t

        before, recording.callbacks = recording.callbacks, None  # it is no part of the backward pass
        try:
            with enable_grad(), saved_tensors_hooks(keep, lambda t: t), contextlib.suppress(_Enough):
                self.run()
        finally:
            recording.callbacks = before
        return found


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, of which nothing is kept for the backward pass: there it is called once more.

    Args:
        function: does the same each time.
        use_reentrant: PyTorch's; both ways are one here, the one that PyTorch recommends (False).
        context_fn: makes two contexts, for the call now and for the later one.
        determinism_check: ``"default"``: shapes and dtypes of what is saved must be the same; ``"none"``.
        early_stop: the later call ends as soon as all that was saved is there.
        preserve_rng_state: the later call draws the same random numbers.

    Raises:
        CheckpointError: in the backward pass, where the later call did not save the same.
        ValueError: another ``determinism_check``.

    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> y = torch.utils.checkpoint.checkpoint(lambda x: (x * 2).exp(), x, use_reentrant=False)
    >>> y.backward()
    >>> x.grad
    tensor([14.7781])
    """
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'] but got {determinism_check}")
    if use_reentrant and (context_fn is not noop_context_fn or debug):
        raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
    if use_reentrant and kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    now, later = context_fn()
    if not is_grad_enabled():
        with now:
            return function(*args, **kwargs)
    if use_reentrant and not any(a.__class__ in TENSORS and a.requires_grad for a in args):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)
    state = random.default_generator.get_state() if preserve_rng_state else None

    def again() -> None:
        with contextlib.ExitStack() as stack:
            if state is not None:
                stack.enter_context(random.fork_rng())
                random.default_generator.set_state(state)
            stack.enter_context(later)
            function(*args, **kwargs)

    part = _Part(again, _early_stop[-1] if _early_stop else early_stop, determinism_check == "default")
    with now, saved_tensors_hooks(part.pack, part.unpack):
        return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """``functions``, a Sequential or a list, one after the other, in ``segments`` parts that are each checkpointed, but
    for the last.

    >>> layers = nn.Sequential(*[nn.Linear(2, 2) for _ in range(4)])
    >>> x = torch.ones(1, 2, requires_grad=True)
    >>> torch.utils.checkpoint.checkpoint_sequential(layers, 2, x, use_reentrant=False).shape
    torch.Size([1, 2])
    """
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    functions = [*functions.children()] if hasattr(functions, "children") else [*functions]
    size = len(functions) // segments
    for i in range(segments - 1):
        run = _in_turn(functions[i * size : (i + 1) * size])
        input = checkpoint(run, input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return _in_turn(functions[size * (segments - 1) :])(input)


def _in_turn(functions: Sequence[Callable[..., Any]]) -> Callable[[Any], Any]:
    def run(value: Any) -> Any:
        for function in functions:
            value = function(value)
        return value

    return run
