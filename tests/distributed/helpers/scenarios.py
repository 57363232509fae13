"""What users do to a model that ranks share, on ranks that are threads; each scenario ends with its parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim, registry
from distgrad.nn.parallel import DistributedDataParallel

Threads: Any = registry.get("communicator", "threads")


class Training:
    """Three layers on this rank's share of made-up data: ``more`` samples more for each further rank."""

    def __init__(
        self, make: Callable[[Any], Any], before: bool = False, dtype: Any = dg.float32, more: int = 1
    ) -> None:
        rank = dist.get_rank()
        rng = np.random.default_rng(rank)
        first, second, last = (nn.Linear(*sizes, dtype=dtype) for sizes in ((7, 40), (40, 30), (30, 2)))
        self.bare = nn.Sequential(first, nn.Tanh(), second, last)
        with dg.no_grad():
            for p in self.bare.parameters():
                p.copy_(dg.tensor(rng.standard_normal(p.shape) * 0.3))
        self.optimizer = make(self.bare) if before else None
        self.model = DistributedDataParallel(self.bare, weighting="samples")
        self.optimizer = self.optimizer or make(self.bare)
        self.x = dg.tensor(rng.standard_normal((4 + more * rank, 7)), dtype=dtype)
        self.y = dg.tensor(rng.standard_normal((4 + more * rank, 2)), dtype=dtype)

    def backward(self) -> Any:
        loss = ((self.model(self.x) - self.y) ** 2).mean()
        loss.backward()
        return loss

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.backward()
        self.optimizer.step()

    def bits(self) -> list[bytes]:
        return [p.detach().numpy().tobytes() for p in self.bare.parameters()]


def adam(model: nn.Module) -> Any:
    return optim.Adam(model.parameters(), lr=0.01)


def plain(t: Training) -> None:
    for _ in range(4):
        t.step()


def reading_alone(t: Training) -> None:
    """One rank prints a gradient, before and behind the step; nobody else does."""
    for _ in range(3):
        t.optimizer.zero_grad()
        t.backward()
        if dist.get_rank() == 1:
            assert float(t.bare[0].weight.grad.norm()) > 0
        t.optimizer.step()
        if dist.get_rank() == 0:
            assert float(t.bare[2].bias.grad.norm()) > 0


def clipped(t: Training) -> None:
    for _ in range(3):
        t.optimizer.zero_grad()
        t.backward()
        for p in t.bare.parameters():
            p.grad.clamp_(-0.01, 0.01)
        t.optimizer.step()


def norm_clipped(t: Training) -> None:
    for _ in range(3):
        t.optimizer.zero_grad()
        t.backward()
        nn.utils.clip_grad_norm_(t.bare.parameters(), 0.1)
        t.optimizer.step()


def gradients_replaced(t: Training) -> None:
    for _ in range(3):
        t.optimizer.zero_grad()
        t.backward()
        t.bare[0].weight.grad = t.bare[0].weight.grad * 2
        t.bare[2].weight.grad = None
        t.optimizer.step()


def written_in_place(t: Training) -> None:
    """By tensor, by data, by a NumPy view and through an alias made before."""
    alias = t.bare[2].bias.detach()
    for _ in range(3):
        t.step()
        with dg.no_grad():
            t.bare[0].weight.mul_(0.9)
            t.bare[0].bias.data.add_(0.1)
        t.bare[2].weight.detach().numpy()[3] *= 2
        alias += 0.5
        t.step()


def data_reassigned(t: Training) -> None:
    for _ in range(2):
        t.step()
        t.bare[2].weight.data = t.bare[2].weight.data * 0.5
        t.step()


def loaded(t: Training) -> None:
    saved = {k: v.clone() for k, v in t.bare.state_dict().items()}
    plain(t)
    t.bare.load_state_dict(saved)
    plain(t)


def accumulated(t: Training) -> None:
    """Under no_sync, and without forgetting the last mean."""
    for _ in range(3):
        t.optimizer.zero_grad()
        with t.model.no_sync():
            t.backward()
            t.backward()
        t.backward()
        t.optimizer.step()
        t.backward()
        t.optimizer.step()


def zeroed_in_place(t: Training) -> None:
    for _ in range(3):
        t.optimizer.zero_grad(set_to_none=False)
        t.backward()
        t.optimizer.step()


def frozen_and_thawed(t: Training) -> None:
    t.step()
    t.bare[0].weight.requires_grad_(False)
    t.bare[0].weight.grad = None
    t.step()
    t.bare[0].weight.requires_grad_(True)
    t.step()


def updated_by_hand(t: Training) -> None:
    for _ in range(3):
        t.bare.zero_grad()
        t.backward()
        with dg.no_grad():
            for p in t.bare.parameters():
                p -= 0.1 * p.grad
    t.step()


def alone_for_a_while(t: Training) -> None:
    """One rank evaluates, with a backward pass of its own."""
    for _ in range(3):
        t.step()
        if dist.get_rank() == 0:
            x = dg.ones(2, 7, dtype=t.x.dtype, requires_grad=True)
            t.bare.eval()
            (dg.autograd.grad(t.bare(x).sum(), x)[0]).sum()
            t.bare.train()


def copied(t: Training) -> None:
    """A copy of the model and one of a gradient are nobody else's."""
    t.step()
    kept, gradient = copy.deepcopy(t.bare), copy.deepcopy(t.bare[0].weight.grad)
    t.step()
    assert float((gradient - t.bare[0].weight.grad).abs().max()) > 0
    plain(t)
    assert float((kept[0].weight - t.bare[0].weight).abs().max()) > 0


def kept_gradients(t: Training) -> None:
    """What somebody keeps of an earlier step stays as it was."""
    t.step()
    kept = t.bare[0].weight.grad
    values = kept.clone()
    for _ in range(3):
        t.step()
        assert float(t.bare[0].weight.grad.sum()) != float(values.sum())
    assert bool((kept == values).all())


def learning_rate_changed(t: Training) -> None:
    plain(t)
    t.optimizer.param_groups[0]["lr"] = 0.5
    plain(t)


SCENARIOS = [
    plain, reading_alone, clipped, norm_clipped, gradients_replaced, written_in_place, data_reassigned, loaded,
    accumulated, zeroed_in_place, frozen_and_thawed, updated_by_hand, alone_for_a_while, copied,
    kept_gradients, learning_rate_changed,
]  # fmt: skip


def outcome(size: int, shared: bool, body: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setattr(Threads, "shares_memory", shared)

    def main() -> Any:
        dist.init_process_group("threads")
        return body()

    results: list[Any] = Threads.run(size, main)
    return results
