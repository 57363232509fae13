"""A timeline of training: forward, backward, each bucket's reduction and the optimizer's update, rank by rank.

``DISTGRAD_TRACE=trace.json mpirun -n 4 python train.py`` records the whole program, :func:`trace` a block.  Open the
file in chrome://tracing or ui.perfetto.dev.  While nothing is recorded nothing is attached, and nothing is paid.  A
rank that ends the job, by an exception or because it has waited too long, writes what all ranks have recorded so far.

What is attached, for as long as a timeline is recorded, replaces functions of whole classes.  These are all of them:
those of :data:`REPLACED`, and ``Iallreduce`` of the class of each communicator that is recorded
(:meth:`Timeline.attach`); tests/distributed/timeline/test_profiler.py sees that each is put back.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from distgrad import autograd
from distgrad.autograd import Tensor
from distgrad.distributed.launching.environment import is_launched
from distgrad.distributed.process_groups import default_group
from distgrad.distributed.timeline import across_ranks
from distgrad.distributed.timeline.across_ranks import Timeline
from distgrad.nn.base.module import Module
from distgrad.optim import hooks

__all__ = ["start_from_environment", "trace"]

_undo: list[Callable[[], None]] = []
_depth = threading.local()


@contextlib.contextmanager
def trace(path: str | os.PathLike[str]) -> Iterator[Timeline]:
    """Record the block and write its timeline to ``path`` (rank 0, of all ranks).  Every rank enters and leaves it.

    An exception in the block writes what there is: in one process at once, on ranks where it ends the job.

    Raises:
        RuntimeError: a timeline is being recorded already.

    >>> from distgrad import profiler
    >>> with profiler.trace("trace.json"):
    ...     nn.Linear(2, 1)(torch.ones(3, 2)).sum().backward()
    ...
    """
    if across_ranks.current is not None:
        raise RuntimeError(f"a timeline is being recorded already, for {across_ranks.current.path}")
    made = Timeline(path)
    if default_group.is_initialized():
        comm = default_group.get_group().comm
        made.join(comm, None if comm.per_thread or comm.size == 1 else comm.Dup())
    _attach(made)
    across_ranks.interrupted = None
    try:
        yield made
    except BaseException:
        if made.alone:
            made.write()
        else:
            across_ranks.interrupted = made  # other ranks may never come here; if the error ends the job, it is written
        raise
    finally:
        _detach()
    made.write()


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        sys.stderr.write(f"distgrad: {error}\n")


def start_from_environment(path: str) -> None:
    """Record until the process group is left or, without one, the process ends; called where DISTGRAD_TRACE is set."""
    made = Timeline(path)
    _attach(made)
    if not is_launched():  # where ranks join, init_process_group() finds that out, on the one that writes
        with _telling():
            made.check_path()

    def end() -> None:
        if made.alone:
            with _telling():
                made.write()

    atexit.register(end)


def _attach(made: Timeline) -> None:
    across_ranks.current = made
    for owner, name, wrapped in REPLACED:
        _replace(owner, name, wrapped(made))
    started: dict[int, int] = {}

    def before(optimizer: Any, args: Any, kwargs: Any) -> None:
        started[threading.get_ident()] = time.perf_counter_ns()

    def after(optimizer: Any, args: Any, kwargs: Any) -> None:
        made.add(f"update {type(optimizer).__name__}", "update", started.pop(threading.get_ident()))

    handles = [hooks.register_optimizer_step_pre_hook(before), hooks.register_optimizer_step_post_hook(after)]
    _undo.extend(handle.remove for handle in handles)
    _undo.append(made.detach)


def _detach() -> None:
    across_ranks.current = None
    while _undo:
        _undo.pop()()


def _replace(owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    plain = vars(owner)[name]
    setattr(owner, name, functools.wraps(plain)(wrap(plain)))
    _undo.append(functools.partial(setattr, owner, name, plain))


def _outermost(made: Timeline) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A module called by another is part of that one's span."""

    def wrap(plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Module, *args: Any, **kwargs: Any) -> Any:
            if getattr(_depth, "inside", False):
                return plain(self, *args, **kwargs)
            _depth.inside = True
            try:
                with made.span(f"forward {type(self).__name__}", "forward"):
                    return plain(self, *args, **kwargs)
            finally:
                _depth.inside = False

        return call

    return wrap


def _backward(made: Timeline) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrap(plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with made.backward():
                return plain(*args, **kwargs)

        return call

    return wrap


_Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]

# Whose functions are replaced while a timeline is recorded, and what makes the new of a timeline and the plain.
REPLACED: tuple[tuple[Any, str, Callable[[Timeline], _Wrapper]], ...] = (
    (Module, "__call__", _outermost),
    (Tensor, "backward", _backward),
    (autograd, "backward", _backward),
)
