"""Sharing memory changes no bit: whatever users do ends as with an all-reduce of private copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import jit, nn, optim
from distgrad.distributed.data_parallel.shared_memory_reducer import SharedReducer
from distgrad.distributed.node_update.single_node import SharedUpdate
from distgrad.distributed.shared_memory import region
from tests.distributed.helpers.scenarios import (
    SCENARIOS,
    Threads,
    Training,
    adam,
    gradients_replaced,
    norm_clipped,
    outcome,
    plain,
)
from tests.distributed.helpers.training import OPTIMIZERS, run_all

pytestmark = pytest.mark.skipif(region.why_not() is not None, reason=str(region.why_not()))


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


@pytest.mark.skipif(not jit.available(), reason="numba is not installed")
@pytest.mark.parametrize(
    ("scenario", "more", "kind"),
    [(plain, 0, jit.Mean), (norm_clipped, 0, np.ndarray), (plain, 1, None), (gradients_replaced, 0, None)],
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
    monkeypatch.setattr("distgrad.optim.update.calling.SUM_BYTES", 1024)
    outcome(2, True, lambda: scenario(Training(adam, more=more)), monkeypatch)
    assert {found for found, _ in made if found is not gradient} == {kind}
    blocks = [n for found, n in made if found is gradient]
    assert bool(blocks) == (kind is None)
    assert max(blocks, default=0) <= 256


def test_more_ranks_than_one_loop_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("node_update.single_node", "communication.reduction"):
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


@pytest.mark.slow
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

    for name in ("pieces.BLOCK_BYTES", "calling.SUM_BYTES"):
        monkeypatch.setattr(f"distgrad.optim.update.{name}", 1024)

    def body() -> Any:
        t = Training(adam)
        plain(t)
        update = t.model._gradients.reducer.updates[0]
        state = sum(v.nbytes for s in t.optimizer._segments[0] for v in s.state.values())
        assert update._scratch.nbytes <= 1024  # blocks, not this rank's part
        return update.parameters.common.nbytes, update._rows[0].nbytes, state

    (parameters, gradients, first), (_, _, second) = outcome(2, True, body, monkeypatch)
    assert first + second == 2 * parameters
    assert (parameters / 2 + gradients + (first + second) / 2) / (4 * parameters) <= 0.65


def test_what_cannot_be_shared_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> Any:
        complex_one = nn.Linear(2, 2, dtype=dg.complex64)
        return SharedReducer.can_serve(dist.process_groups.get_group().comm, list(complex_one.parameters()))

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


def by(kind: Any, **options: Any) -> Callable[[nn.Module], Any]:
    return lambda model: kind(model.parameters(), **options)


def in_two_groups(model: nn.Module) -> Any:
    first, *rest = model.parameters()
    return optim.Adam([{"params": rest}, {"params": [first]}], lr=0.25)


def without_the_first(model: nn.Module) -> Any:
    return optim.Adam(list(model.parameters())[1:], lr=0.01)


def another_rate_for_one(model: nn.Module) -> Any:
    first, *rest = model.parameters()
    return optim.Adam([{"params": rest}, {"params": [first], "lr": 0.02}], lr=0.01)


@pytest.mark.parametrize(
    "make", [by(optim.Adam, lr=0.02), by(optim.AdamW, lr=0.01, weight_decay=0), without_the_first, another_rate_for_one]
)
def test_ranks_that_update_otherwise_are_refused(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else parameters would be a mixture of several trainings, alike on all ranks."""

    def body() -> Any:
        rank = dist.get_rank()
        t = Training(make if rank == 1 else by(optim.Adam, lr=0.01))
        for number in (1, 2):  # the second too, though nothing has changed since
            others = "0, 2" if rank == 1 else "1"
            said = rf"rank {rank}: step\(\) number {number} was not the same .* rank\(s\) {others} updated .* by Adam"
            with pytest.raises(RuntimeError, match=said):
                t.step()
        t.optimizer = by(optim.Adam, lr=0.01)(t.bare)
        t.step()
        return t.bits()

    found = outcome(3, True, body, monkeypatch)
    assert found[0] == found[1] == found[2]


def test_a_schedule_that_goes_by_each_ranks_own_loss_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> Any:
        t = Training(adam)
        plan = optim.lr_scheduler.ReduceLROnPlateau(t.optimizer, patience=0)
        t.step()
        for loss in (1.0, 2.0 if dist.get_rank() else 0.5):
            plan.step(loss)
        rate = r"0\.001" if dist.get_rank() else r"0\.01"
        with pytest.raises(RuntimeError, match=f"by Adam.lr={rate}, .* a loss must go by one that all ranks have"):
            t.step()

    outcome(2, True, body, monkeypatch)


@pytest.mark.parametrize(
    "make", [in_two_groups, by(optim.Adam, lr=0.25, foreach=True), lambda m: by(optim.Adam, lr=dg.tensor(0.25))(m)]
)
def test_what_makes_no_difference_is_not(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> Any:
        t = Training(make if dist.get_rank() else by(optim.Adam, lr=0.25))
        plan = optim.lr_scheduler.ExponentialLR(t.optimizer, 0.5)
        for _ in range(3):
            t.step()
            plan.step()
        return t.bits()

    found = outcome(2, True, body, monkeypatch)
    assert found[0] == found[1]


def test_two_optimizers_of_one_model_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one rank the other way round in the end, which is refused."""

    def body() -> Any:
        t = Training(adam)
        both = [optim.SGD(t.bare[0].parameters(), lr=0.1), optim.Adam(t.bare[2].parameters(), lr=0.01)]
        for _ in range(3):
            t.optimizer.zero_grad()
            t.backward()
            for one in both:
                one.step()
        if dist.get_rank():
            both.reverse()
        with pytest.raises(RuntimeError, match="was not the same on all ranks"):
            both[0].step()

    outcome(2, True, body, monkeypatch)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (dict(lr=0.5, betas=(0.9, 0.99)), dict(lr=np.float64(0.5), betas=[0.9, 0.99]), True),
        (dict(lr=0.5, betas=(0.9, 0.99)), dict(lr=0.5, betas=(0.9, 0.999)), False),
        (dict(lr=0.5, amsgrad=True), dict(lr=0.5), False),
    ],
)
def test_hyperparameters_are_compared_by_value(
    one: dict[str, Any], other: dict[str, Any], same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body() -> Any:
        t = Training(by(optim.Adam, **(other if dist.get_rank() else one)))
        if same:
            return t.step()
        with pytest.raises(RuntimeError, match="was not the same on all ranks"):
            t.step()

    outcome(2, True, body, monkeypatch)
