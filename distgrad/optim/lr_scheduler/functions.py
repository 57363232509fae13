"""Schedules by functions of the user's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler, Rate, listed, must_be_optimizer, own_state, restored

__all__ = ["LambdaLR", "MultiplicativeLR"]

Factor = Callable[[int], float]


class _ByFunction(LRScheduler):
    """One function a group; of one that is an object, its attributes are saved."""

    _unsaved = ("optimizer", "lr_lambdas")

    def __init__(self, optimizer: Optimizer, lr_lambda: Factor | list[Factor], last_epoch: int = -1) -> None:
        must_be_optimizer(optimizer)
        self.optimizer = optimizer
        n = len(optimizer.param_groups)
        if not isinstance(lr_lambda, (list, tuple)):
            lr_lambda = [lr_lambda] * n
        elif len(lr_lambda) != n:
            raise ValueError(f"Expected {n} lr_lambdas, but got {len(lr_lambda)}")
        self.lr_lambdas = list(lr_lambda)
        for function in self.lr_lambdas:
            if not callable(function):
                raise TypeError(f"lr_lambda should be a function, but got {type(function).__name__}")
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Every attribute but the optimizer; of functions only the attributes of those that are objects."""
        return {**super().state_dict(), "lr_lambdas": [own_state(function) for function in self.lr_lambdas]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "lr_lambdas"})
        for i, state in enumerate(state_dict["lr_lambdas"]):
            restored(self.lr_lambdas[i] if state is not None else None, state)

    def _factors(self, groups: list[Any]) -> list[float]:
        if len(groups) != len(self.lr_lambdas):
            raise ValueError(
                f"{type(self).__name__} has {len(self.lr_lambdas)} lr_lambdas for {len(groups)} param groups; make it "
                "after the last group is added"
            )
        return [function(self.last_epoch) for function in self.lr_lambdas]


class LambdaLR(_ByFunction):
    """The initial rate times a function of the step: lr_t = lr_0 λ(t).

    Args:
        lr_lambda: the function, or a list of one for each group; ValueError for another number.

    >>> optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def get_lr(self) -> list[Rate]:
        self._remind()
        factors = self._factors(self.optimizer.param_groups)
        return [base * factor for base, factor in zip(self.base_lrs, factors, strict=True)]


class MultiplicativeLR(_ByFunction):
    """The rate times a function of the step, at every step: lr_t = lr_(t-1) λ(t).

    Args:
        lr_lambda: the function, or a list of one for each group; ValueError for another number, TypeError for one that
            cannot be called.

    >>> optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.lr_scheduler.MultiplicativeLR(optimizer, lambda epoch: 0.5)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def get_lr(self) -> list[Rate]:
        self._remind()
        if self._is_initial:
            return listed(self.optimizer, "lr")
        groups = self.optimizer.param_groups
        return [group["lr"] * factor for group, factor in zip(groups, self._factors(groups), strict=True)]
