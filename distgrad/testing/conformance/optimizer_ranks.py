"""Optimizers on several ranks: what the conformance kit compares with one process."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import distgrad
import distgrad.distributed as dist
from distgrad import Tensor, nn, registry
from distgrad.distributed.process_groups.default_group import ProcessGroup, get_group
from distgrad.distributed.shared_memory import region
from distgrad.nn.parallel import DistributedDataParallel

from .optimizer_trial import Trial
from .report import NotApplicable, check, demand, same_bits


class _Distances(nn.Module):
    """For each sample, a row of numbers, its squared distance from the parameters."""

    def __init__(self, shapes: tuple[tuple[int, ...], ...], seed: int) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.rows = nn.ParameterList([nn.Parameter(distgrad.tensor(rng.standard_normal(s))) for s in shapes])

    def forward(self, x: Tensor) -> Tensor:
        total, lo = distgrad.zeros(len(x), dtype=x.dtype), 0
        for p in self.rows:
            off = p.reshape(-1) - x[:, lo : lo + p.numel()]
            total, lo = total + (off * off).sum(1) * 0.5, lo + p.numel()
        return total


@check("optimizer")
def ranks(trial: Trial) -> None:
    """On 2 and 3 ranks all end with the same bits, and as one rank with the whole batch (to 1e-12)."""
    _compare_ranks(trial, share=False)


@check("optimizer")
def shared_memory(trial: Trial) -> None:
    """So they do where they share memory, in which each updates a part of the parameters."""
    why_not = region.why_not()
    if why_not is not None:
        raise NotApplicable(f"ranks cannot share memory here: {why_not}")
    _compare_ranks(trial, share=True)


def _shapes(trial: Trial) -> tuple[tuple[int, ...], ...]:
    if trial.sparse:
        raise NotApplicable("it takes sparse gradients, of which ranks exchange none")
    return ((3, 4), (6, 2)) if trial.way == "matrices" else ((3, 4), (5,), ())


def _batches(shapes: tuple[tuple[int, ...], ...]) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((4, 10, sum(map(math.prod, shapes))))


def _compare_ranks(trial: Trial, share: bool, methods: Sequence[str] = ()) -> None:
    shapes = _shapes(trial)
    x = _batches(shapes)
    run: Callable[..., list[Any]] = registry.get("communicator", "threads").run  # type: ignore[attr-defined]
    alone = _trained(trial, shapes, x, 0, 1, lambda module: module, methods)
    for size in (2, 3):
        found = run(size, lambda: _on_rank(trial, shapes, x, share, methods))
        for rank, values in enumerate(found):
            demand(
                same_bits(found[0], values),
                f"of {size} ranks with the same gradients, rank {rank} ends elsewhere than rank 0: nothing in update() "
                "may depend on the rank, the process or the time",
            )
        worst = max(float(np.abs(a - b).max()) for a, b in zip(alone, found[0], strict=True))
        demand(worst < 1e-12, f"{size} ranks end up to {worst:.1g} from one rank with the whole batch")


def _on_rank(trial: Trial, shapes: Any, x: np.ndarray, share: bool, methods: Sequence[str]) -> list[np.ndarray]:
    communicator: Any = None
    if dist.is_initialized():  # the check is made within a job of ranks: this thread's group stands beside its own
        communicator = registry.get("communicator", "threads")()
        group = ProcessGroup(communicator, "threads")
        rank, size = communicator.rank, communicator.size
    else:
        dist.init_process_group("threads")
        group, rank, size = get_group(), dist.get_rank(), dist.get_world_size()
    group.comm.shares_memory = share
    with np.errstate(all="ignore"):
        options: Any = dict(process_group=group, weighting="samples")
        values = _trained(trial, shapes, x, rank, size, lambda m: DistributedDataParallel(m, **options), methods)
    if communicator is None:
        dist.destroy_process_group()
    return values


def _trained(
    trial: Trial,
    shapes: Any,
    x: np.ndarray,
    rank: int,
    size: int,
    wrap: Callable[[nn.Module], Any],
    methods: Sequence[str],
) -> list[np.ndarray]:
    bare = _Distances(shapes, seed=rank)  # wrapping gives all ranks those of rank 0
    model = wrap(bare)
    optimizer = trial.cls(list(bare.parameters()), **trial.options)
    for batch in x:
        mine = batch[rank::size]

        def evaluate(mine: np.ndarray = mine, whole: int = len(batch)) -> Tensor:
            optimizer.zero_grad()
            loss = model(distgrad.tensor(mine)).mean()
            loss.backward()
            value = loss.detach() * (len(mine) / whole)
            if size > 1:
                dist.all_reduce(value, group=getattr(model, "process_group", None))
            return value

        if not trial.needs_closure:
            evaluate()
        for name in methods:
            getattr(optimizer, name)()
        optimizer.step(*([evaluate] if trial.needs_closure else []))
    return [p._data.copy() for p in bare.parameters()]
