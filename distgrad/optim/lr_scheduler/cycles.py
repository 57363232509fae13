"""Schedules that move rate and momentum against each other (Smith 2015, 2018)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from ..._arguments import kind_of, number
from ..optimizer import Optimizer
from .base import (
    LRScheduler,
    Rate,
    anneal_cos,
    anneal_linear,
    each_group,
    must_be_optimizer,
    own_state,
    restored,
    write,
)

__all__ = ["CyclicLR", "OneCycleLR"]


class _WithMomentum(LRScheduler):
    """Moves ``"momentum"`` or the first of ``"betas"``, whichever the optimizer has."""

    cycle_momentum: bool
    use_beta1: bool

    def _start_momentum(self, low: Any, high: Any, anew: bool) -> tuple[list[Any], list[Any]]:
        """The lowest and highest momentum of each group; ``anew`` puts them into the groups and starts at the highest.

        ValueError if the optimizer has no momentum.
        """
        defaults = self.optimizer.defaults
        if "momentum" not in defaults and "betas" not in defaults:
            raise ValueError(
                "optimizer must support momentum or beta1 with `cycle_momentum` option enabled; "
                f"{type(self.optimizer).__name__} has neither"
            )
        self.use_beta1 = "betas" in defaults
        lows, highs = each_group("base_momentum", self.optimizer, low), each_group("max_momentum", self.optimizer, high)
        if anew:
            for group, base, top in zip(self.optimizer.param_groups, lows, highs, strict=True):
                self._set_momentum(group, top)
                group["max_momentum"] = top
                group["base_momentum"] = base
        return lows, highs

    def _set_momentum(self, group: dict[str, Any], value: Any) -> None:
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value


class CyclicLR(_WithMomentum):
    """The rate goes up from ``base_lr`` to ``max_lr`` and down again, over and over (Smith 2015, arXiv:1506.01186).

    Args:
        base_lr, max_lr: the bounds; one for all groups, or a list.
        step_size_up, step_size_down: steps of the rising and of the falling half; the second as the first by default.
        mode: the height of the cycles: ``"triangular"`` the same, ``"triangular2"`` halved from cycle to cycle,
            ``"exp_range"`` times gamma^step.
        gamma: of ``"exp_range"``.
        scale_fn: the height instead, as a function of the cycle (from 1) or of the step, by ``scale_mode``.
        scale_mode: ``"cycle"`` or ``"iterations"``.
        cycle_momentum: also move the momentum, or the first of betas, from ``max_momentum`` down and up again.
        base_momentum, max_momentum: its bounds; one for all groups, or a list.

    Raises:
        TypeError: no optimizer.
        ValueError: an unknown mode without ``scale_fn``, or ``cycle_momentum`` of an optimizer that has none.

    >>> optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    >>> scheduler = optim.lr_scheduler.CyclicLR(optimizer, base_lr=0.0, max_lr=1.0, step_size_up=2)
    >>> rates = []
    >>> for batch in range(5):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    ...
    >>> rates
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    _unsaved = ("optimizer", "_scale_fn_custom")

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        must_be_optimizer(optimizer)
        self.optimizer = optimizer
        base_lrs = each_group("base_lr", optimizer, base_lr)
        self.max_lrs = each_group("max_lr", optimizer, max_lr)
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(
                f"mode is invalid and scale_fn is None: {mode!r} is none of triangular, triangular2, exp_range"
            )
        if last_epoch == -1:
            for group, rate in zip(optimizer.param_groups, base_lrs, strict=True):
                write(group, "lr", rate)
        number("CyclicLR", "gamma", gamma, 0)
        number("CyclicLR", "step_size_up", step_size_up, 0, above=True)
        if step_size_down is not None:
            number("CyclicLR", "step_size_down", step_size_down, 0, above=True)
        if scale_fn is not None and not callable(scale_fn):
            raise TypeError(f"CyclicLR: scale_fn must be a function, not {kind_of(scale_fn)}")
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(f"CyclicLR: scale_mode must be 'cycle' or 'iterations', but got {scale_mode!r}")
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            bounds = self._start_momentum(base_momentum, max_momentum, last_epoch == -1)
            self.base_momentums, self.max_momentums = bounds
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """The height of the cycle, or at the step, ``x``."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "exp_range":
            return self.gamma**x
        return 1 / 2.0 ** (x - 1) if self.mode == "triangular2" else 1.0

    def get_lr(self) -> list[Rate]:
        """The rates of step ``last_epoch``; sets the momentum as well."""
        self._remind()
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        ratio = self.step_ratio
        part = x / ratio if x <= ratio else (x - 1) / (ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        groups = self.optimizer.param_groups
        if self.cycle_momentum:
            for group, low, high in zip(groups, self.base_momentums, self.max_momentums, strict=True):
                self._set_momentum(group, high - (high - low) * part * scale)
        return [low + (high - low) * part * scale for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Every attribute but the optimizer; of ``scale_fn`` only the attributes of one that is an object."""
        return {**super().state_dict(), "_scale_fn_custom": own_state(self._scale_fn_custom)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_scale_fn_custom"})
        restored(self._scale_fn_custom, state_dict["_scale_fn_custom"])


class OneCycleLR(_WithMomentum):
    """One rise to ``max_lr`` and one fall far below the start (Smith and Topin 2018, arXiv:1708.07120).

    Args:
        max_lr: the highest rate; one for all groups, or a list.
        total_steps: the length; else ``epochs`` times ``steps_per_epoch``.
        pct_start: the share of the steps in which the rate rises.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        cycle_momentum: also move the momentum, or the first of betas, from ``max_momentum`` down and up again.
        base_momentum, max_momentum: its bounds; one for all groups, or a list.
        div_factor: the first rate is ``max_lr / div_factor``.
        final_div_factor: the last rate is the first over this.
        three_phase: fall to the first rate as steeply as it rose, and to the last one in the steps that remain; else
            fall at once.

    Raises:
        TypeError: no optimizer.
        ValueError: no length, a number out of bounds, an unknown strategy, ``cycle_momentum`` of an optimizer that has
            none; by ``step()``, more steps than ``total_steps``.

    >>> optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    >>> scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    >>> rates = []
    >>> for batch in range(9):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    ...
    >>> rates.index(max(rates))
    2
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        must_be_optimizer(optimizer)
        self.optimizer = optimizer
        if total_steps is not None:
            self.total_steps = _positive("total_steps", total_steps)
        elif epochs is not None and steps_per_epoch is not None:
            self.total_steps = _positive("epochs", epochs) * _positive("steps_per_epoch", steps_per_epoch)
        else:
            raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._schedule_phases = _phases(pct_start * self.total_steps, self.total_steps, three_phase)
        self._anneal_func_type = anneal_strategy
        highest = each_group("max_lr", optimizer, max_lr)
        number("OneCycleLR", "div_factor", div_factor, 0, above=True)
        number("OneCycleLR", "final_div_factor", final_div_factor, 0, above=True)
        if last_epoch == -1:
            for group, high in zip(optimizer.param_groups, highest, strict=True):
                group["initial_lr"] = high / div_factor
                group["max_lr"] = high
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._start_momentum(base_momentum, max_momentum, last_epoch == -1)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Rate]:
        """The rates of step ``last_epoch``; sets the momentum as well."""
        self._remind()
        t = self.last_epoch
        if t > self.total_steps:
            raise ValueError(f"Tried to step {t} times. The specified number of total steps is {self.total_steps}")
        last = len(self._schedule_phases) - 1
        i = next((i for i, phase in enumerate(self._schedule_phases) if t <= phase["end_step"]), last)
        phase = self._schedule_phases[i]
        begin = self._schedule_phases[i - 1]["end_step"] if i else 0.0
        share = (t - begin) / (phase["end_step"] - begin)
        anneal = anneal_cos if self._anneal_func_type == "cos" else anneal_linear
        groups = self.optimizer.param_groups
        if self.cycle_momentum:
            for group in groups:
                value = anneal(group[phase["start_momentum"]], group[phase["end_momentum"]], share)
                self._set_momentum(group, value)
        return [anneal(group[phase["start_lr"]], group[phase["end_lr"]], share) for group in groups]


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, int) or value <= 0:
        raise ValueError(f"Expected positive integer {name}, but got {value}")
    return value


def _phases(rise: float, total: int, three: bool) -> list[dict[str, Any]]:
    """Where each phase ends, and between which options of a group it moves rate and momentum."""
    rows = [(float(rise) - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")]
    if three:
        rows.append((float(2 * rise) - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"))
        rows.append((total - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"))
    else:
        rows.append((total - 1, "max_lr", "min_lr", "base_momentum", "max_momentum"))
    keys = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
    return [dict(zip(keys, row, strict=True)) for row in rows]
