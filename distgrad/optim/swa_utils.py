"""Averages of a model's parameters over its training (the standard: ``torch.optim.swa_utils``).

Stochastic weight averaging (Izmailov et al. 2018, arXiv:1803.05407) takes the mean of the parameters at several steps;
an exponential average (Polyak averaging) forgets the older ones.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

from ..autograd import Tensor, no_grad
from ..nn import Module
from ..nn.modules.batchnorm import _BatchNorm
from ..ops import creation
from .lr_scheduler import LRScheduler
from .lr_scheduler.base import Rate, each_group
from .optimizer import Optimizer

__all__ = [
    "AveragedModel", "SWALR", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn",
    "update_bn",
]  # fmt: skip

# (average, new value, how many the average is of) -> new average; and the same over lists, written in place
AverageOne = Callable[[Tensor, Tensor, Any], Tensor]
AverageMany = Callable[[list[Tensor], list[Tensor], Any], None]


def _checked(decay: float) -> float:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")
    return decay


def get_ema_avg_fn(decay: float = 0.999) -> AverageOne:
    """The exponential average, ``decay * average + (1 - decay) * new``; ValueError for a decay out of [0, 1].

    >>> average = optim.swa_utils.get_ema_avg_fn(0.9)
    >>> average(torch.tensor(0.0), torch.tensor(1.0), 1).item() < 0.11
    True
    """
    _checked(decay)

    @no_grad()
    def average(averaged: Tensor, new: Tensor, num_averaged: Any) -> Tensor:
        return averaged * decay + new * (1 - decay)

    return average


def get_swa_avg_fn() -> AverageOne:
    """The mean of all: ``average + (new - average) / (num_averaged + 1)``.

    >>> average = optim.swa_utils.get_swa_avg_fn()
    >>> average(torch.tensor(0.0), torch.tensor(4.0), 1)
    tensor(2.)
    """

    @no_grad()
    def average(averaged: Tensor, new: Tensor, num_averaged: Any) -> Tensor:
        return averaged + (new - averaged) / (num_averaged + 1)

    return average


def get_ema_multi_avg_fn(decay: float = 0.999) -> AverageMany:
    """:func:`get_ema_avg_fn` over lists, in place.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> averaged = optim.swa_utils.AveragedModel(model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.5))
    >>> for value in [0.0, 4.0]:
    ...     _ = nn.init.constant_(model.weight, value)
    ...     averaged.update_parameters(model)
    ...
    >>> averaged.module.weight.item()
    2.0
    """
    one = get_ema_avg_fn(decay)

    @no_grad()
    def average(averaged: list[Tensor], new: list[Tensor], num_averaged: Any) -> None:
        _move(averaged, new, 1 - decay, lambda a, b: one(a, b, num_averaged))

    return average


def get_swa_multi_avg_fn() -> AverageMany:
    """:func:`get_swa_avg_fn` over lists, in place.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> averaged = optim.swa_utils.AveragedModel(model, multi_avg_fn=optim.swa_utils.get_swa_multi_avg_fn())
    >>> for value in [0.0, 4.0]:
    ...     _ = nn.init.constant_(model.weight, value)
    ...     averaged.update_parameters(model)
    ...
    >>> averaged.module.weight.item()
    2.0
    """
    one = get_swa_avg_fn()

    @no_grad()
    def average(averaged: list[Tensor], new: list[Tensor], num_averaged: Any) -> None:
        _move(averaged, new, 1 / (float(num_averaged) + 1), lambda a, b: one(a, b, num_averaged))

    return average


def _move(averaged: list[Tensor], new: list[Tensor], weight: float, otherwise: Callable[..., Tensor]) -> None:
    """Each of ``averaged`` by ``weight`` of the way to the new value; ``otherwise`` for integers, cut to whole ones."""
    for a, b in zip(averaged, new, strict=True):
        if a.is_floating_point() or a.is_complex():
            a.copy_(a + (b - a) * weight if weight < 0.5 else b - (b - a) * (1 - weight))  # exact at both ends
        else:
            a.copy_(otherwise(a, b))


class AveragedModel(Module):
    """A copy of a model that holds the average of its parameters; called, it computes with those.

    The first update copies; by default those after it make the mean of all (:func:`get_swa_avg_fn`).

    Args:
        model: what is copied, with its buffers.
        device: where the copy goes; by default where the model is.
        avg_fn: another average, of ``(average, new, num_averaged)``.
        multi_avg_fn: another average, writing to lists of tensors of one device and dtype.
        use_buffers: average the buffers as well; else each update copies them.

    Attributes:
        module: the copy.  n_averaged: how many updates there were, an int64 buffer.

    Raises:
        AssertionError: both functions are given.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> averaged = optim.swa_utils.AveragedModel(model)
    >>> for value in [1.0, 3.0]:
    ...     _ = nn.init.constant_(model.weight, value)
    ...     averaged.update_parameters(model)
    ...
    >>> averaged.module.weight.item()
    2.0
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: AverageOne | None = None,
        multi_avg_fn: AverageMany | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", creation.tensor(0, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take the present parameters of ``model`` into the average."""
        averaged: list[Tensor] = list(self.module.parameters())
        new: list[Tensor] = list(model.parameters())
        ours, theirs = list(self.module.buffers()), list(model.buffers())
        if self.use_buffers:
            averaged, new = averaged + ours, new + theirs
        pairs = [(a.detach(), b.detach().to(a.device)) for a, b in zip(averaged, new, strict=True)]
        if not bool(self.n_averaged > 0):
            for a, b in pairs:
                a.copy_(b)
        elif self.multi_avg_fn is not None:
            kinds: dict[Any, list[tuple[Tensor, Tensor]]] = {}
            for pair in pairs:
                kinds.setdefault((str(pair[0].device), pair[0].dtype), []).append(pair)
            for group in kinds.values():
                several, values = [a for a, _ in group], [b for _, b in group]
                self.multi_avg_fn(several, values, self.n_averaged.to(several[0].device))
        else:
            average = self.avg_fn or get_swa_avg_fn()
            for a, b in pairs:
                a.copy_(average(a, b, self.n_averaged.to(a.device)))
        if not self.use_buffers:
            for a, b in zip(ours, theirs, strict=True):
                a.detach().copy_(b.detach().to(a.device))
        self.n_averaged += 1


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Set the running statistics of a model's batch normalizations to the means over ``loader``.

    Those of an averaged model were computed with other parameters.  The model runs in training mode and is then as it
    was; one without batch normalization is left alone.

    Args:
        loader: batches; of a list or tuple, the first element is the input.
        device: where inputs go before they are given to the model.

    >>> model = nn.Sequential(nn.BatchNorm1d(1))
    >>> optim.swa_utils.update_bn([torch.tensor([[1.0], [3.0]])], model)
    >>> model[0].running_mean
    tensor([2.])
    """
    momenta = {module: module.momentum for module in model.modules() if isinstance(module, _BatchNorm)}
    if not momenta:
        return
    was_training = model.training
    model.train()
    for module in momenta:
        module.reset_running_stats()
        module.momentum = None  # the mean of all batches
    try:
        for batch in loader:
            x = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(x if device is None else x.to(device))
    finally:
        for module, momentum in momenta.items():
            module.momentum = momentum
        model.train(was_training)


class SWALR(LRScheduler):
    """From the present rate to ``swa_lr`` in ``anneal_epochs`` steps, and stays there.

    lr_t = a swa_lr + (1 - a) lr, where a goes from 0 to 1.

    Args:
        swa_lr: the last rate; one for all groups, or a list.
        anneal_epochs: how many steps; 0 sets it at once.
        anneal_strategy: ``"cos"``, a = (1 - cos(π t / T)) / 2, or ``"linear"``, a = t / T.

    Raises:
        ValueError: an unknown strategy, a number that is negative or not whole, or another number of rates than groups.

    >>> optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = optim.swa_utils.SWALR(optimizer, swa_lr=0.1, anneal_epochs=2, anneal_strategy="linear")
    >>> for epoch in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    ...
    >>> [round(rate, 6) for rate in scheduler.get_last_lr()]
    [0.1]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        last_epoch: int = -1,
    ) -> None:
        rates = each_group("swa_lr", optimizer, swa_lr)
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["swa_lr"] = rate
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How far on the way step ``step`` is."""
        t = max(0, min(1, step / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[Rate]:
        self._remind()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        return [_further(group["lr"], group["swa_lr"], before, now) for group in self.optimizer.param_groups]


def _further(rate: Any, end: Any, before: float, now: float) -> Any:
    """The rate at share ``now`` of the way to ``end``, from that at share ``before``; so changes of it are kept."""
    start = end if before == 1 else (rate - before * end) / (1 - before)
    return end * now + start * (1 - now)
