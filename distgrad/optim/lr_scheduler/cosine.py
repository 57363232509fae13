"""Schedules along a cosine, with and without restarts (Loshchilov and Hutter 2017, arXiv:1608.03983)."""

from __future__ import annotations

import math

from ..._arguments import number
from ..optimizer import Optimizer
from .base import LRScheduler, Rate

__all__ = ["CosineAnnealingLR", "CosineAnnealingWarmRestarts"]


class CosineAnnealingLR(LRScheduler):
    """Along half a cosine from the initial rate to ``eta_min`` in ``T_max`` steps, and back, and so on.

    lr_t = η_min + (lr_0 - η_min) (1 + cos(π t / T_max)) / 2, by Loshchilov and Hutter's equation 5, without restarts;
    each step is computed from the rate before, so that it can be chained with other schedules.  ValueError unless
    ``T_max`` is positive and ``eta_min`` a finite number.

    >>> optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
    >>> rates = []
    >>> for epoch in range(5):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    ...
    >>> [round(rate, 4) for rate in rates]
    [1.0, 0.8536, 0.5, 0.1464, 0.0]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = number("CosineAnnealingLR", "T_max", T_max, 0, above=True)
        self.eta_min = number("CosineAnnealingLR", "eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Rate]:
        if self._is_initial:
            return self._scaled(None)
        self._remind()
        t, half, low = self.last_epoch, self.T_max, self.eta_min
        groups = self.optimizer.param_groups
        if self._step_count == 1 and t > 0:  # nothing to start from
            return self._get_closed_form_lr()
        if (t - 1 - half) % (2 * half) == 0:  # from the lowest point, where the factor below is 0 / 0
            up = (1 - math.cos(math.pi / half)) / 2
            return [group["lr"] + (base - low) * up for base, group in zip(self.base_lrs, groups, strict=True)]
        factor = (1 + math.cos(math.pi * t / half)) / (1 + math.cos(math.pi * (t - 1) / half))
        return [factor * (group["lr"] - low) + low for group in groups]

    def _get_closed_form_lr(self) -> list[Rate]:
        height = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        return [self.eta_min + (base - self.eta_min) * height / 2 for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Along half a cosine from the initial rate to ``eta_min``, then again from the top (SGDR).

    lr = η_min + (lr_0 - η_min) (1 + cos(π T_cur / T_i)) / 2, where T_cur counts since the last restart.

    Args:
        T_0: steps to the first restart; ValueError unless a positive integer.
        T_mult: how many times longer each period is than the one before; ValueError unless an integer >= 1.
        eta_min: the lowest rate; ValueError unless a number.

    >>> optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2)
    >>> rates = []
    >>> for epoch in range(4):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    ...
    >>> [round(rate, 4) for rate in rates]
    [1.0, 0.5, 1.0, 0.5]
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if not isinstance(T_0, int) or T_0 <= 0:
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if not isinstance(T_mult, int) or T_mult < 1:
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        if not isinstance(eta_min, (float, int)):
            raise ValueError(f"Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}")
        number("CosineAnnealingWarmRestarts", "eta_min", eta_min)
        self.T_0 = self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Rate]:
        self._remind()
        height = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return [self.eta_min + (base - self.eta_min) * height / 2 for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Set the next rates.

        Args:
            epoch: where to go instead, also between whole numbers: ``epoch + batch / batches`` in a loop over batches.
        """
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is not None:
            number("CosineAnnealingWarmRestarts", "epoch", epoch)
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        elif epoch < 0:
            raise ValueError(f"Expected non-negative epoch, but got {epoch}")
        else:
            self._go_to(epoch)
        self.last_epoch = math.floor(epoch)
        with self._stepping():
            self._set(self.get_lr())

    def _go_to(self, epoch: float) -> None:
        """Period and place in it: n periods before take T_0 (T_mult^n - 1) / (T_mult - 1) steps."""
        first, times = self.T_0, self.T_mult
        if epoch < first:
            self.T_cur, self.T_i = epoch, first
        elif times == 1:
            self.T_cur = epoch % first
        else:
            n = int(math.log(epoch / first * (times - 1) + 1, times))
            self.T_cur = epoch - first * (times**n - 1) / (times - 1)
            self.T_i = first * times**n
