"""A hook for the gradients of several tensors together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from .engine import queue_callback
from .grad_mode import recording
from .graph import RemovableHandle
from .tensor import TENSORS, Tensor

__all__ = ["increment_version", "register_multi_grad_hook"]


class _Handles(RemovableHandle):
    """Several as one."""

    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        self._handles = handles

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[..., Any], *, mode: str = "all"
) -> RemovableHandle:
    """Call ``fn`` once in each backward pass that reaches some of ``tensors``.

    Args:
        tensors: they require grad.
        fn: with ``mode="all"`` it is given the list of their gradients, None for those that the pass does not reach,
            when all have arrived, or at the end of the pass; with ``mode="any"`` the first gradient, when it arrives.

    Raises:
        ValueError: another mode.

    >>> x, y = (torch.tensor([1.0], requires_grad=True) for _ in range(2))
    >>> handle = torch.autograd.graph.register_multi_grad_hook((x, y), print)
    >>> (2 * x + 3 * y).sum().backward()
    [tensor([2.]), tensor([3.])]
    >>> handle.remove()
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    passes = threading.local()  # of each thread: the pass that is running, or that failed, and its gradients so far

    def ends() -> None:
        grads, passes.running = passes.grads, None
        if mode == "all" and any(g is not _CALLED for g in grads):
            fn(grads)

    def hook_of(i: int) -> Callable[[Tensor], None]:
        def hook(grad: Tensor) -> None:
            if getattr(passes, "running", None) is not recording.callbacks:
                passes.running, passes.grads = recording.callbacks, [None] * len(tensors)
                queue_callback(ends)
                if mode == "any":
                    fn(grad)
            if mode == "all":
                grads = passes.grads
                grads[i] = grad
                if all(g is not None for g in grads):
                    found, grads[:] = list(grads), [_CALLED] * len(grads)
                    fn(found)

        return hook

    return _Handles([t.register_hook(hook_of(i)) for i, t in enumerate(tensors)])


_CALLED: Any = object()  # in a gradient's place: the hook was called


def increment_version(tensor: Tensor | Sequence[Tensor]) -> None:
    """Note a write to ``tensor``, or to each of several, that was made otherwise: who saved it is told.

    >>> x = torch.ones(2)
    >>> torch.autograd.graph.increment_version(x)
    >>> x._version
    1
    """
    several: Any = (tensor,) if tensor.__class__ in TENSORS else tensor
    for t in several:
        t._bump()
