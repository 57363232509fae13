"""The schedule that looks at how training goes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Literal, SupportsFloat

from ..._arguments import kind_of, number
from ..optimizer import Optimizer
from .base import EPOCH_DEPRECATION_WARNING, LRScheduler, listed, must_be_optimizer, write

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(LRScheduler):
    """The rate times ``factor`` when a metric has not become better for more than ``patience`` steps.

    Args:
        mode: whether ``"min"``, lower, or ``"max"``, higher, is better.
        factor: less than 1; ValueError otherwise.
        patience: how many steps without improvement are allowed.
        threshold, threshold_mode: what is better than the best so far: by a share of it (``"rel"``) or by an amount
            (``"abs"``).
        cooldown: how many steps after a reduction count as good.
        min_lr: no rate goes lower; one for all groups, or a list.
        eps: a reduction that is not larger is left out.

    Raises:
        TypeError: no optimizer.
        ValueError: an unknown mode, or another number of ``min_lr`` than there are groups.

    >>> optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in [3.0, 2.0, 2.0, 2.0]:
    ...     scheduler.step(loss)
    ...
    >>> scheduler.get_last_lr()
    [0.5]
    """

    _better: ClassVar[dict[tuple[str, str], Callable[[float, float, float], bool]]] = {
        ("min", "rel"): lambda a, best, by: a < best * (1.0 - by),
        ("min", "abs"): lambda a, best, by: a < best - by,
        ("max", "rel"): lambda a, best, by: a > best * (by + 1.0),
        ("max", "abs"): lambda a, best, by: a > best + by,
    }

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: list[float] | float = 0,
        eps: float = 1e-8,
    ) -> None:
        number("ReduceLROnPlateau", "factor", factor)
        if factor >= 1.0:
            raise ValueError(f"Factor should be < 1.0, but got {factor}")
        must_be_optimizer(optimizer)
        if not isinstance(mode, str) or mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown! It can be min or max")
        if not isinstance(threshold_mode, str) or threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold mode {threshold_mode} is unknown! It can be rel or abs")
        self.factor = number("ReduceLROnPlateau", "factor", factor, 0)
        number("ReduceLROnPlateau", "patience", patience, 0)
        number("ReduceLROnPlateau", "cooldown", cooldown, 0)
        number("ReduceLROnPlateau", "threshold", threshold)
        number("ReduceLROnPlateau", "eps", eps, 0)
        self.optimizer = optimizer
        n = len(optimizer.param_groups)
        each = isinstance(min_lr, (list, tuple))
        self.default_min_lr: Any = None if each else min_lr
        self.min_lrs: list[Any] = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * n
        if len(self.min_lrs) != n:
            raise ValueError(f"expected {n} min_lrs, got {len(self.min_lrs)}")
        for low in self.min_lrs:
            number("ReduceLROnPlateau", "min_lr", low, 0)
        self.patience = patience
        self.cooldown = cooldown
        self.eps = eps
        self.last_epoch = 0
        self._last_lr = listed(optimizer, "lr")
        self.mode = mode
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self._reset()

    def _reset(self) -> None:
        """Forget the metrics seen."""
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    @property
    def in_cooldown(self) -> bool:
        """Whether a reduction was so recently that nothing counts as bad."""
        return self.cooldown_counter > 0

    def _is_better(self, a: float, best: float) -> bool:
        return self._better[self.mode, self.threshold_mode](a, best, self.threshold)

    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:  # type: ignore[override]
        """Take the metric of this epoch and reduce the rates if it is time.

        Args:
            metrics: a number, or a tensor of one element.
            epoch: deprecated: its number.
        """
        try:
            current = float(metrics)
        except (TypeError, ValueError, RuntimeError):
            found = f"{kind_of(metrics)} ({metrics!r})"
            raise TypeError(f"ReduceLROnPlateau: metrics must be a number, not {found}") from None
        if epoch is not None:
            warnings.warn(EPOCH_DEPRECATION_WARNING, UserWarning, stacklevel=2)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(current, self.best):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = listed(self.optimizer, "lr")

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            if self.default_min_lr is None:
                raise RuntimeError(
                    f"the optimizer has {len(groups)} param groups, and there are {len(self.min_lrs)} min_lrs, as many "
                    "as there were groups; extend the field `min_lrs`"
                )
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, lowest in zip(groups, self.min_lrs, strict=True):
            old = float(group["lr"])
            new = max(old * self.factor, lowest)
            if old - new > self.eps:
                write(group, "lr", new)
