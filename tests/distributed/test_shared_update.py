"""Sharing memory changes no bit: whatever users do ends as with an all-reduce of private copies."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import compiled, nn, optim, registry
from distgrad.distributed import node_memory
from distgrad.distributed.shared_reducer import SharedReducer
from distgrad.distributed.shared_update import SharedUpdate
from distgrad.nn.parallel import DistributedDataParallel
from tests.distributed.training import OPTIMIZERS, run_all

Threads: Any = registry.get("communicator", "threads")
pytestmark = pytest.mark.skipif(node_memory.why_not() is not None, reason=str(node_memory.why_not()))
Step = Callable[[Any, nn.Module, Any], None]


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
        self.model = DistributedDataParallel(self.bare)
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


def compare(size: int, body: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits on all ranks, shared or not."""
    want = outcome(size, False, body, monkeypatch)
    got = outcome(size, True, body, monkeypatch)
    assert got == want
    assert all(one == got[0] for one in got)


@pytest.mark.parametrize("more", [0, 1], ids=["equal shares", "unequal shares"])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda f: f.__name__)
def test_sharing_changes_no_bit(scenario: Any, size: int, more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> Any:
        t = Training(adam, more=more)
        scenario(t)
        return t.bits()

    compare(size, body, monkeypatch)


@pytest.mark.skipif(not compiled.available(), reason="numba is not installed")
@pytest.mark.parametrize(
    ("scenario", "more", "kind"),
    [(plain, 0, compiled.Mean), (norm_clipped, 0, np.ndarray), (plain, 1, None), (gradients_replaced, 0, None)],
    ids=["a mean", "one that was asked for", "a weighted mean", "partly somebody's own"],
)
def test_a_compiled_update_adds_up_what_it_reads(
    scenario: Any, more: int, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mean is made nowhere; what is more than that is made in blocks."""
    made: list[tuple[Any, int]] = []
    operand, gradient = SharedUpdate.operand, SharedUpdate.gradient

    def asked(self: SharedUpdate, lo: int, hi: int) -> Any:
        found = operand(self, lo, hi)
        made.append((None if found is None else type(found), hi - lo))
        return found

    def block(self: SharedUpdate, lo: int, hi: int) -> Any:
        made.append((gradient, hi - lo))
        return gradient(self, lo, hi)

    monkeypatch.setattr(SharedUpdate, "operand", asked)
    monkeypatch.setattr(SharedUpdate, "gradient", block)
    monkeypatch.setattr("distgrad.optim.engine.SUM_BYTES", 1024)
    outcome(2, True, lambda: scenario(Training(adam, more=more)), monkeypatch)
    assert {found for found, _ in made if found is not gradient} == {kind}
    blocks = [n for found, n in made if found is gradient]
    assert bool(blocks) == (kind is None)
    assert max(blocks, default=0) <= 256


def test_more_ranks_than_one_loop_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("shared_update", "reduction"):
        monkeypatch.setattr(f"distgrad.distributed.{module}.MOST_PARTS", 2)

    def body() -> Any:
        t = Training(adam, more=0)
        plain(t)
        return t.bits()

    compare(3, body, monkeypatch)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n not in ("muon", "lbfgs")])
def test_every_optimizer(name: str, before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> Any:
        t = Training(lambda model: optim.get(name)(model.parameters(), lr=0.01), before)
        plain(t)
        norm_clipped(t)
        plain(t)
        return t.bits()

    compare(2, body, monkeypatch)


def test_muon_for_matrices_beside_adamw(monkeypatch: pytest.MonkeyPatch) -> None:
    class Both:
        def __init__(self, model: nn.Module) -> None:
            params = list(model.parameters())
            matrices, others = ([p for p in params if (p.ndim == 2) is flat] for flat in (True, False))
            self.all = [optim.get("muon")(matrices), optim.AdamW(others)]

        def zero_grad(self) -> None:
            for o in self.all:
                o.zero_grad()

        def step(self) -> None:
            for o in self.all:
                o.step()

    def body() -> Any:
        t = Training(Both)
        plain(t)
        return t.bits()

    compare(3, body, monkeypatch)


@pytest.mark.parametrize("dtype", [dg.float64, dg.float16, dg.bfloat16])
def test_other_dtypes(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> Any:
        t = Training(adam, dtype=dtype)
        plain(t)
        return [p.detach().double().numpy().tobytes() for p in t.bare.parameters()]

    compare(2, body, monkeypatch)


def test_two_models_and_several_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> Any:
        a, b = Training(adam), Training(adam, dtype=dg.float64)
        for _ in range(3):
            for t in (a, b):
                t.optimizer.zero_grad()
            loss = (a.model(a.x).double() - b.model(b.x)).pow(2).mean()
            loss.backward()
            a.optimizer.step()
            b.step()
        return a.bits() + b.bits()

    compare(2, body, monkeypatch)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_ends_with_the_parameters_of_one_rank(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Threads, "shares_memory", True)
    assert len(Threads.run(size, lambda: list(run_all("threads")))[-1]) == len(OPTIMIZERS)


def test_state_is_whole_on_the_rank_that_asks_and_loads_on_another_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def first() -> Any:
        t = Training(adam)
        plain(t)
        state = t.optimizer.state_dict() if dist.get_rank() == 0 else None  # the others take no part
        return t.bits(), state, {k: v.clone() for k, v in t.bare.state_dict().items()}

    bits, state, parameters = outcome(3, True, first, monkeypatch)[0]
    want, want_state, _ = outcome(3, False, first, monkeypatch)[0]
    assert bits == want
    for i, entry in want_state["state"].items():
        for name, value in entry.items():
            assert value.numpy().tobytes() == state["state"][i][name].numpy().tobytes(), (i, name)

    def second() -> Any:
        t = Training(adam)
        t.bare.load_state_dict(parameters)
        t.optimizer.load_state_dict(state)
        plain(t)
        return t.bits()

    compare(2, second, monkeypatch)


def test_memory_a_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters once, gradients whole, Adam's two moments by share: at two ranks 5/8 of one rank's."""

    for name in ("flat.BLOCK_BYTES", "engine.SUM_BYTES"):
        monkeypatch.setattr(f"distgrad.optim.{name}", 1024)

    def body() -> Any:
        t = Training(adam)
        plain(t)
        update = t.model._gradients.reducer.updates[0]
        state = sum(v.nbytes for s in t.optimizer._segments[0] for v in s.state.values())
        assert update._scratch.nbytes <= 1024  # blocks, not this rank's part
        return update._region.nbytes, update._rows[0].nbytes, state

    (parameters, gradients, first), (_, _, second) = outcome(2, True, body, monkeypatch)
    assert first + second == 2 * parameters
    assert (parameters / 2 + gradients + (first + second) / 2) / (4 * parameters) <= 0.65


def test_what_cannot_be_shared_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> Any:
        complex_one = nn.Linear(2, 2, dtype=dg.complex64)
        return SharedReducer.can_serve(dist.process_group.get_group().comm, list(complex_one.parameters()))

    assert outcome(2, True, body, monkeypatch) == [False, False]


def test_moving_a_model_after_wrapping_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> Any:
        t = Training(adam)
        t.step()
        t.bare.double()
        t.x, t.y = t.x.double(), t.y.double()
        with pytest.raises(RuntimeError, match="before wrapping"):
            t.step()

    outcome(2, True, body, monkeypatch)
