"""Gradients kept as factors: what users see and where training ends is as with whole ones, to rounding."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import jit as compiled, nn, optim
from distgrad.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from distgrad.distributed.gradients import nonfinite
from distgrad.distributed.node_update import sufficient_factors
from distgrad.distributed.node_update.sufficient_factors import Factors
from distgrad.distributed.shared_memory import region
from distgrad.nn.parallel import DistributedDataParallel
from distgrad.ops.nn import linear
from tests.distributed.helpers.ranks_as_threads import compiled_on, set_parameters
from tests.distributed.helpers.scenarios import (
    SCENARIOS,
    Training,
    adam,
    learning_rate_changed,
    norm_clipped,
    outcome,
    plain,
    reading_alone,
)
from tests.distributed.helpers.training import OPTIMIZERS
from tests.helpers.crew import run_together

pytestmark = pytest.mark.skipif(region.why_not() is not None, reason=str(region.why_not()))

ROUNDING: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11}  # of float64, some steps of Adam later


class Kept:
    """How often ranks kept factors, and how often not."""

    def __init__(self) -> None:
        self.yes = self.no = 0


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """Factors of layers of any size, however many samples there are."""
    monkeypatch.setattr(sufficient_factors, "LEAST", 1)
    monkeypatch.setattr(sufficient_factors, "ROOM", 32)
    monkeypatch.setattr(nonfinite, "LARGE", 1)
    monkeypatch.setattr(linear, "_SMALL", 32)
    count, keep, lock = Kept(), Factors.keep, threading.Lock()

    def counted(self: Factors, *given: Any) -> bool:
        answer = keep(self, *given)
        with lock:
            count.yes, count.no = count.yes + answer, count.no + (not answer)
        return answer

    monkeypatch.setattr(Factors, "keep", counted)
    return count


def values(t: Training) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for p in t.bare.parameters()]


def compare(size: int, body: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As with private copies; the same bits on all ranks."""
    want = outcome(size, False, body, monkeypatch)
    got = outcome(size, True, body, monkeypatch)
    for one in got:
        for x, y, same in zip(one, want[0], got[0], strict=True):
            np.testing.assert_allclose(x, y, **ROUNDING)
            assert x.tobytes() == same.tobytes()


@pytest.mark.parametrize("more", [0, 1], ids=["equal shares", "unequal shares"])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda f: f.__name__)
def test_whatever_users_do(scenario: Any, size: int, more: int, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> Any:
        t = Training(adam, dtype=dg.float64, more=more)
        scenario(t)
        scenario(t)
        return values(t)

    compare(size, body, monkeypatch)
    looks = scenario.__name__ in ("accumulated", "zeroed_in_place")  # at each gradient
    assert bool(kept.yes) == (more == 0 and not looks) or scenario.__name__ == "accumulated"


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n not in ("muon", "lbfgs")])
def test_every_optimizer(name: str, jit: bool, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one pass, in blocks of which several come of one product, and by whole parameters."""
    if not jit:
        if not compiled.available():
            pytest.skip("numba is not installed, so that is what the other case did")
        monkeypatch.setattr(compiled, "available", lambda: False)
        monkeypatch.setattr("distgrad.optim.update.pieces.BLOCK_BYTES", 1024)
    monkeypatch.setattr(sufficient_factors, "CHUNK_BYTES", 3000)

    def body() -> Any:
        t = Training(lambda model: optim.get(name)(model.parameters(), lr=0.01), dtype=dg.float64, more=0)
        plain(t)
        return values(t)

    compare(2, body, monkeypatch)
    assert bool(kept.yes) == (name != "adafactor")  # which looks at gradients


def test_the_first_pass_and_other_numbers_of_samples_are_whole(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks expect what they had in the last step; one that has more or fewer makes its gradients."""

    def body() -> Any:
        t = Training(adam, dtype=dg.float64, more=0)
        kept.yes = kept.no = 0
        counts = []
        for n in (4, 4, 3 if dist.get_rank() else 4, 4, 4, 4):
            dist.barrier()
            before = kept.yes
            dist.barrier()
            x, t.x, y, t.y = t.x, t.x[:n], t.y, t.y[:n]
            t.step()
            t.x, t.y = x, y
            dist.barrier()
            counts.append(kept.yes - before)
        return [*values(t), np.array(counts)]

    want = outcome(2, False, body, monkeypatch)[0][:-1]
    *got, counts = outcome(2, True, body, monkeypatch)[0]
    assert counts.tolist() == [0, 6, 3, 0, 6, 6]  # three layers on two ranks; in the third step rank 0 alone
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, **ROUNDING)


def test_ranks_agree_also_where_one_looked_before_all_forgot(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that is refused changes what ranks expect on all of them, whether they hear of it at step() or before."""

    def body() -> Any:
        t = Training(adam, dtype=dg.float64, more=0)
        t.model._gradients.reducer.finite.action = "skip"
        plain(t)
        x, y = t.x, t.y
        bad = t.y[:3].clone()
        bad[0, 0] = np.nan
        t.x, t.y = x[:3], bad
        t.optimizer.zero_grad()
        t.backward()
        if dist.get_rank() == 1:
            assert t.bare[0].weight.grad is None
        t.optimizer.step()
        update = t.model._gradients.reducer.updates[0]
        assert update.factors._agreed == [3, 3, 3]
        t.x, t.y = (x[:3], y[:3]) if dist.get_rank() else (x, y)
        t.step()
        return values(t)

    outcome(2, True, body, monkeypatch)


def test_ranks_that_did_not_agree_are_an_error(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their factors may lie over each other."""

    def body() -> None:
        t = Training(adam, dtype=dg.float64, more=1)
        update = t.model._gradients.reducer.updates[0]
        update.factors._agreed = [len(t.x)] * 3
        t.backward()
        with pytest.raises(RuntimeError, match=r"of different numbers of samples, \[4, 5\]"):
            t.optimizer.step()

    outcome(2, True, body, monkeypatch)


def test_who_asks_gets_the_mean_and_from_then_on_gradients_are_whole(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body() -> Any:
        t = Training(adam, dtype=dg.float64, more=0)
        plain(t)
        t.optimizer.zero_grad()
        t.backward()
        dist.barrier()
        before = kept.yes
        found = [p.grad.numpy().copy() for p in t.bare.parameters()] if dist.get_rank() == 1 else []
        t.optimizer.step()
        dist.barrier()
        plain(t)
        dist.barrier()
        assert kept.yes == before
        return found

    want = outcome(2, False, body, monkeypatch)[1]
    assert kept.yes == 0
    got = outcome(2, True, body, monkeypatch)[1]
    assert kept.yes == 4 * 2 * 3
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, **ROUNDING)


def test_only_what_was_asked_for_is_whole(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> Any:
        t = Training(adam, dtype=dg.float64, more=0)
        plain(t)
        t.optimizer.zero_grad()
        t.backward()
        t.bare[0].weight.grad.sum()
        t.optimizer.step()
        dist.barrier()
        before = kept.yes
        dist.barrier()
        t.step()
        dist.barrier()
        return [np.array(kept.yes - before)]

    assert outcome(2, True, body, monkeypatch)[0][0] == 2 * 2


def test_ranks_of_different_weight(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a layer are not always samples: products of each rank's factors are then weighed one by one."""

    class Tagged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(7, 40, dtype=dg.float64)

        def forward(self, samples: Any, x: Any) -> Any:
            return self.layer(x)

    def body() -> Any:
        rank = dist.get_rank()
        layer = Tagged()
        set_parameters(layer, 0.3)
        model = DistributedDataParallel(layer)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        x = dg.tensor(np.random.default_rng(rank).standard_normal((5, 7)))
        for _ in range(4):
            optimizer.zero_grad()
            model(dg.zeros(1 + 2 * rank), x).square().mean().backward()
            if rank == 2:
                assert float(model.module.layer.bias.grad.abs().sum()) > 0
            optimizer.step()
        return [p.detach().numpy().copy() for p in model.parameters()]

    compare(3, body, monkeypatch)
    assert kept.yes == 3 * 3


def test_a_parameter_that_one_rank_does_not_use(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> Any:
        t = Training(adam, dtype=dg.float64, more=0)
        plain(t)
        for uses in (True, dist.get_rank() == 0, False, True, True):
            t.optimizer.zero_grad()
            hidden = t.model(t.x) if uses else t.model.module[0](t.x)
            if not uses:
                t.model._gradients.reducer.forward(True, len(t.x), True)
            hidden.square().mean().backward()
            t.optimizer.step()
        return values(t)

    compare(2, body, monkeypatch)
    assert kept.yes


def test_a_look_while_backward_runs_finds_this_ranks_own(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a hook of the user's on the parameter finds a gradient, whole."""

    def body() -> Any:
        t = Training(adam, dtype=dg.float64, more=0)
        plain(t)
        seen: list[np.ndarray] = []
        last, first = t.bare[3].weight, t.bare[0].weight
        first.register_hook(lambda g: seen.append(last.grad.numpy().copy()))
        middle = t.bare[2].weight
        middle.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.numpy().copy()))
        t.step()
        t.step()
        own = dg.autograd.grad(((t.bare(t.x) - t.y) ** 2).mean(), [middle, last])
        t.optimizer.zero_grad()
        seen.clear()
        t.backward()
        for x, y in zip(seen, own, strict=True):
            np.testing.assert_allclose(x, y.numpy(), **ROUNDING)
        t.optimizer.step()
        return values(t)

    compare(2, body, monkeypatch)
    assert kept.yes


def test_a_pass_that_is_interrupted_leaves_nothing_behind(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """It kept a gradient and told nobody; in the next pass that gradient is no product, so nobody is asked."""

    def body() -> Any:
        t = Training(adam, dtype=dg.float64, more=0)
        plain(t)
        t.optimizer.zero_grad()
        if t.model._gradients.shares_memory:
            update = t.model._gradients.reducer.updates[0]
            update.announced.expecting = True  # as a forward pass says
            update.gate()
            x = np.ones((4, 30))
            last = next(i for i, p in enumerate(update.storage.params) if p is t.bare[3].weight)
            t.bare[3].weight._node.bound = 60.0  # as its operation finds it
            assert update.factors.keep(last, x[:, :2], x)
        t.model(t.x)
        (t.bare[3].weight * 2).sum().backward()
        t.optimizer.step()
        return values(t)

    compare(2, body, monkeypatch)


@pytest.mark.parametrize("new", [None, 2.0], ids=["none", "another"])
def test_a_gradient_replaced_while_backward_runs(
    new: float | None, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body() -> Any:
        t = Training(adam, dtype=dg.float64, more=0)
        plain(t)
        last = t.bare[3].weight

        def replaced(_: Any) -> None:
            if dist.get_rank() == 1:
                last.grad = None if new is None else dg.full_like(last, new)

        t.bare[0].weight.register_hook(replaced)
        for _ in range(2):
            t.step()
        return values(t)

    compare(2, body, monkeypatch)
    assert kept.yes


def test_messages_need_gradients(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a hook a model leaves shared memory; nothing is kept there any more."""

    def body() -> Any:
        t = Training(adam, dtype=dg.float64, more=0)
        plain(t)
        t.optimizer.zero_grad()  # else moving out would ask for gradients
        t.model.register_comm_hook(None, allreduce_hook)
        dist.barrier()
        before = kept.yes
        plain(t)
        assert kept.yes == before
        return values(t)

    compare(2, body, monkeypatch)
    assert kept.yes


def test_no_sync_makes_gradients(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> Any:
        t = Training(adam, dtype=dg.float64, more=0)
        plain(t)
        dist.barrier()
        before = kept.yes
        dist.barrier()
        t.optimizer.zero_grad()
        with t.model.no_sync():
            t.backward()
        t.backward()
        t.optimizer.step()
        dist.barrier()
        assert kept.yes == before
        return values(t)

    compare(2, body, monkeypatch)
    assert kept.yes


def test_a_static_graph_makes_gradients(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it watches parameters by are hooks."""

    def body() -> Any:
        layer = nn.Linear(7, 40, dtype=dg.float64)
        set_parameters(layer, 0.3)
        model = DistributedDataParallel(layer, static_graph=True)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            model(dg.ones(5, 7, dtype=dg.float64)).square().mean().backward()
            optimizer.step()
        return [p.detach().numpy().copy() for p in model.parameters()]

    compare(2, body, monkeypatch)
    assert (kept.yes, kept.no) == (0, 2 * 3)


@pytest.mark.parametrize(
    ("where", "bad"),
    [("input", np.nan), ("input", np.inf), ("target", np.nan), ("target", np.inf), ("target", 1e102)],
)
def test_what_is_not_finite_is_found(bad: float, where: str, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> Any:
        t = Training(adam, dtype=dg.float64, more=0)
        plain(t)
        with dg.no_grad():
            t.bare[2].weight.mul_(1e4)
        t.step()
        before = values(t)
        t.optimizer.zero_grad()
        with np.errstate(all="ignore"):
            if dist.get_rank() == 1:  # 1e102: factors of 5e305 and 1e4
                (t.x if where == "input" else t.y)[2, 1] = bad
            loss = (t.model(t.x) - t.y).square().square().mean()
            loss.backward()
            with pytest.raises(RuntimeError, match="on rank 1 the gradient of parameter .* is not finite"):
                t.optimizer.step()
        assert all(x.tobytes() == y.tobytes() for x, y in zip(values(t), before, strict=True))

    outcome(2, True, body, monkeypatch)
    assert kept.yes


def test_what_lies_in_a_slot_is_not_taken_for_the_gradient_kept(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot may hold what was not finite in an earlier pass; only the parameter that is not now is named."""

    def body() -> Any:
        t = Training(adam, dtype=dg.float64, more=0)
        plain(t)
        nonfinite = t.model._gradients.reducer.finite
        y, nonfinite.action = t.y.clone(), "skip"
        t.y[0, 0] = np.inf
        with np.errstate(all="ignore"):
            t.step()
        assert nonfinite.skipped == 1
        t.y, nonfinite.action = y, "raise"
        seen: list[Any] = []
        t.bare[2].weight.register_post_accumulate_grad_hook(seen.append)
        t.step()
        t.bare[0].bias.register_hook(lambda g: g * np.inf)
        t.optimizer.zero_grad()
        before = kept.yes
        t.backward()
        assert kept.yes > before
        assert len(seen) == 2
        with pytest.raises(RuntimeError, match="gradient of parameter '0.bias' is not finite"):
            t.optimizer.step()

    outcome(2, True, body, monkeypatch)


@pytest.mark.parametrize("scenario", [plain, norm_clipped, reading_alone, learning_rate_changed])
def test_without_the_check(scenario: Any, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> Any:
        t = Training(adam, dtype=dg.float64, more=0)
        if t.model._gradients is not None:
            t.model._gradients.reducer.finite = None
        scenario(t)
        return values(t)

    compare(2, body, monkeypatch)
    assert kept.yes


def test_small_layers_many_samples_and_other_dtypes_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the limits that there are."""

    def serves(width: int, n: int, dtype: Any) -> int:
        def body() -> Any:
            model = DistributedDataParallel(nn.Linear(width, width, bias=False, dtype=dtype))
            optimizer = optim.SGD(model.parameters(), lr=0.1)
            for _ in range(2):
                optimizer.zero_grad()
                model(dg.ones(n, width, dtype=dtype)).sum().backward()
                update = model._gradients.reducer.updates[0]
                found = update.factors is not None and update.factors.kept(0)
                optimizer.step()
            return found

        return sum(outcome(2, True, body, monkeypatch))

    assert serves(512, 8, dg.float64) == 2  # 2 MiB
    assert serves(511, 8, dg.float64) == 0
    assert serves(512, 64, dg.float64) == 2  # 2 · 64 · 1024 numbers: half as many as the gradient's
    assert serves(512, 65, dg.float64) == 0
    assert serves(1024, 8, dg.float32) == 2
    assert serves(1024, 8, dg.bfloat16) == 0


def test_memory_of_gradients_is_given_back_and_taken_again(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot whose gradient is kept as factors is empty; whole gradients are written there as ever."""

    def body() -> Any:
        rng = np.random.default_rng(dist.get_rank())
        model = DistributedDataParallel(nn.Linear(2048, 1024, bias=False, dtype=dg.float64))
        with dg.no_grad():
            model.module.weight.fill_(1e-3)
        optimizer = optim.SGD(model.parameters(), lr=1e-3)
        x = dg.tensor(rng.standard_normal((4, 2048)))
        found = []
        for n in (4, 4, 3, 3, 3):
            optimizer.zero_grad()
            model(x[:n]).square().mean().backward()
            if model._gradients.shares_memory:
                update = model._gradients.reducer.updates[0]
                found.append((update.factors.kept(0), bool(update.storage.slots[0][2:-2].any())))
            optimizer.step()
        assert found in ([], [(False, True), (True, False), (False, True), (True, False), (True, False)])
        return [p.detach().numpy().copy() for p in model.parameters()]

    compare(2, body, monkeypatch)
    assert kept.yes == 2 * 3


ON_RANKS = """
import numpy as np
import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim

dist.init_process_group()
rank, size = dist.get_rank(), dist.get_world_size()

def made():
    dg.manual_seed(0)
    layers = [nn.Linear(512, 512, dtype=dg.float64) for _ in range(2)]
    return nn.Sequential(layers[0], nn.ReLU(), layers[1])

def train(model, x, y):
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()

rng = np.random.default_rng(0)
x, y = (dg.tensor(rng.standard_normal((8 * size, 512))) for _ in range(2))
alone, shared = made(), made()
train(alone, x, y)
model = nn.parallel.DistributedDataParallel(shared)
mine = slice(8 * rank, 8 * (rank + 1))
train(model, x[mine], y[mine])
update = model._gradients.reducer.updates[0]
assert [update.factors.kept(i) for i in update.factors.which] == [True, True]
for p, q in zip(alone.parameters(), shared.parameters()):
    np.testing.assert_allclose(q.detach().numpy(), p.detach().numpy(), rtol=1e-9, atol=1e-12)
print("equal")
"""


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_processes_end_as_one_with_the_whole_batch(ranks: int) -> None:
    run_together(ranks, ON_RANKS, env=compiled_on(ranks)).check(equal=ranks)
