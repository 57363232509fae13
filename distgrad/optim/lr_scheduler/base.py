"""What every schedule shares: counting steps, writing learning rates into the groups, state."""

from __future__ import annotations

import functools
import math
import types
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..._arguments import integer, kind_of, number
from ...autograd import Tensor
from ..optimizer import Optimizer

__all__ = [
    "EPOCH_DEPRECATION_WARNING", "LRScheduler", "Rate", "anneal_cos", "anneal_linear", "copied", "each_group",
    "iterated", "listed", "must_be_optimizer", "own_state", "restored", "write",
]  # fmt: skip

Rate = Any  # a float or, where the optimizer's lr is one, a tensor

EPOCH_DEPRECATION_WARNING = (
    "`scheduler.step(epoch)` is deprecated: call `scheduler.step()`, which counts by itself. With an epoch, the closed "
    "form of the schedule is used where it has one."
)


def copied(value: Any) -> Any:
    """``value``; a tensor as one of its own, since those of groups are written in place."""
    return value.clone() if isinstance(value, Tensor) else value


def listed(optimizer: Optimizer, key: str) -> list[Any]:
    """What the groups hold under ``key``, copied."""
    return [copied(group[key]) for group in optimizer.param_groups]


def write(group: dict[str, Any], key: str, value: Any) -> None:
    """Put a number into a group; into the tensor that stands there, if one does."""
    if isinstance(group[key], Tensor):
        group[key].fill_(value.squeeze() if isinstance(value, Tensor) else value)
    else:
        group[key] = value


def iterated(values: Any) -> list[Any]:
    """``values`` as a list; TypeError for what cannot be iterated, and for text."""
    try:
        if isinstance(values, str | bytes):
            raise TypeError
        return list(values)
    except TypeError:
        raise TypeError(f"milestones must be a list of integers, not {kind_of(values)} ({values!r})") from None


def each_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """``value`` for every group: a list as it is, anything else repeated; ValueError for a list of another length."""
    n = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        value = [value] * n
    elif len(value) != n:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups: it has {len(value)} values for {n} groups"
        )
    for v in value:
        number("scheduler", name, v, 0)
    return [copied(v) for v in value]


def anneal_cos(start: Any, end: Any, t: float) -> Any:
    """From ``start`` at t = 0 to ``end`` at t = 1 along half a cosine."""
    return end + (start - end) / 2.0 * (1 + math.cos(math.pi * t))


def anneal_linear(start: Any, end: Any, t: float) -> Any:
    """From ``start`` at t = 0 to ``end`` at t = 1 along a line."""
    return (end - start) * t + start


def own_state(function: Any) -> dict[str, Any] | None:
    """What of a user's function is saved: the attributes of an object that can be called; nothing of a function."""
    return None if function is None or isinstance(function, types.FunctionType) else vars(function).copy()


def restored(function: Any, state: dict[str, Any] | None) -> None:
    """Put back what :func:`own_state` gave."""
    if state is not None:
        vars(function).update(state)


def must_be_optimizer(optimizer: Any) -> None:
    """TypeError if it is none."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def _note_steps(optimizer: Optimizer) -> None:
    """Let ``optimizer.step`` leave a note that it was called, once however many schedulers there are."""
    if hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        return
    step: Callable[..., Any] = optimizer.step.__func__  # type: ignore[attr-defined]
    itself = weakref.ref(optimizer)  # no cycle: an optimizer's arrays must go when it does

    @functools.wraps(step)
    def noting(*args: Any, **kwargs: Any) -> Any:
        owner: Any = itself()
        owner._opt_called = True
        return step(owner, *args, **kwargs)

    noting._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    optimizer.step = noting  # type: ignore[method-assign]


class LRScheduler:
    """Sets the learning rates of an optimizer's groups, step by step.

    A subclass sets its own attributes, calls ``super().__init__(optimizer, last_epoch)``, which makes step 0, and
    defines :meth:`get_lr`; with ``_get_closed_form_lr()`` as well, ``step(epoch)`` uses that.  A rate that is a tensor
    is written in place.

    Args:
        optimizer: whose groups' ``"lr"`` is set; each group remembers its first one as ``"initial_lr"``.
        last_epoch: the number of steps made already; -1 starts anew.  Otherwise the groups must have ``"initial_lr"``,
            as those of a loaded optimizer do.

    Attributes:
        base_lrs: the initial rate of each group.
        last_epoch: the number of the last step; 0 after construction.

    Raises:
        TypeError: no optimizer.
        KeyError: ``last_epoch`` is given and a group has no ``"initial_lr"``.

    >>> optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> isinstance(scheduler, optim.lr_scheduler.LRScheduler), scheduler.get_last_lr()
    (True, [1.0])
    """

    optimizer: Optimizer
    base_lrs: list[Rate]
    last_epoch: int
    _last_lr: list[Rate]
    _step_count: int
    _get_lr_called_within_step: bool = False
    _is_initial: bool = False
    _unsaved: tuple[str, ...] = ("optimizer",)  # attributes that are no part of the state

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        must_be_optimizer(optimizer)
        integer(type(self).__name__, "last_epoch", last_epoch, -1)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming with last_epoch = "
                    f"{last_epoch}; load the optimizer's state first, or start anew with last_epoch = -1"
                )
        self.base_lrs = listed(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        _note_steps(optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        """Step 0, which sets the first rates; it counts as no step of the training."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    # --- state ------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Every attribute but the optimizer.  Functions that the user gave are not saved."""
        return {key: value for key, value in vars(self).items() if key not in self._unsaved}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; the optimizer's own state is loaded by itself."""
        vars(self).update(state_dict)

    # --- rates ------------------------------------------------------------------------------------------------------

    def get_last_lr(self) -> list[Rate]:
        """The rates that the last step set, one a group."""
        return self._last_lr

    def get_lr(self) -> list[Rate]:
        """The rates of step ``last_epoch``, computed from the groups' or from ``base_lrs``; for a subclass to define.

        ``step()`` calls it.  Users ask ``get_last_lr()``: most schedules compute a step from the one before.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define get_lr()")

    def step(self, epoch: int | None = None) -> None:
        """Set the next rates; call it after ``optimizer.step()``.

        Args:
            epoch: deprecated: the number of the step to go to.
        """
        if self._step_count == 1:
            self._check_order()
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_DEPRECATION_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _check_order(self) -> None:
        """Warn at the first step of the training if the optimizer has made none."""
        if not hasattr(self.optimizer.step, "_wrapped_by_lr_sched"):
            warnings.warn(
                "Seems like `optimizer.step()` has been overridden after learning rate scheduler initialization; "
                "whether it is called before `lr_scheduler.step()`, as it should be, cannot be seen.",
                UserWarning,
                stacklevel=3,
            )
        elif not getattr(self.optimizer, "_opt_called", False):
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`: the first learning rate of the "
                "schedule is skipped. Call them in the opposite order.",
                UserWarning,
                stacklevel=3,
            )

    def _update_lr(self, epoch: int | None = None) -> None:
        """Go to the next step, or to ``epoch``, and set its rates."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        closed_form = getattr(self, "_get_closed_form_lr", None)
        with self._stepping():
            self._set(self.get_lr() if epoch is None or closed_form is None else closed_form())

    @contextmanager
    def _stepping(self) -> Iterator[None]:
        """Within, ``get_lr()`` gives no warning."""
        self._get_lr_called_within_step = True
        try:
            yield
        finally:
            self._get_lr_called_within_step = False

    def _set(self, rates: Sequence[Rate]) -> None:
        groups = self.optimizer.param_groups
        if len(rates) != len(groups):
            raise ValueError(
                f"{type(self).__name__} has learning rates for {len(rates)} param groups, the optimizer has "
                f"{len(groups)}; make the scheduler after the last group is added"
            )
        for group, rate in zip(groups, rates, strict=True):
            write(group, "lr", rate)
        self._last_lr = listed(self.optimizer, "lr")

    # --- what get_lr() is made of -----------------------------------------------------------------------------------

    def _remind(self, stacklevel: int = 3) -> None:
        """Warn who calls ``get_lr()`` from outside of a step."""
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use `get_last_lr()`.",
                UserWarning,
                stacklevel=stacklevel,
            )

    def _scaled(self, factor: float | None) -> list[Rate]:
        """The groups' present rates times ``factor``, or as they are if that is None.

        So schedules can be chained: what another one did to the rates stays.
        """
        self._remind(4)
        if factor is None:
            return listed(self.optimizer, "lr")
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def _of_base(self, factor: float) -> list[Rate]:
        """The initial rates times ``factor``."""
        return [base * factor for base in self.base_lrs]


class _LRScheduler(LRScheduler):
    """The base class's name of old, for ``isinstance`` and subclasses of then."""
