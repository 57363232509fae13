"""What optimizers of strangers need of the contract: sharded, beside methods of their own, with any shape of state."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad
import distgrad.distributed as dist
from distgrad import nn, registry
from distgrad.distributed.process_groups.default_group import get_group
from distgrad.nn.parallel import DistributedDataParallel
from distgrad.optim import Optimizer
from distgrad.testing import check_optimizer
from tests.helpers.crew import run_together
from tests.optim.strangers import ALL, Prodigy, ScheduleFree, Shampoo, Sophia
from tests.optim.strangers_training import START, batch, network, same, train

pytestmark = pytest.mark.slow

_run: Any = registry.get("communicator", "threads").run  # type: ignore[attr-defined]


def on_ranks(size: int, function: Callable[[int, int], Any], share: bool = True) -> list[Any]:
    """What ``function(rank, size)`` returns on ranks that share memory."""

    def body() -> Any:
        dist.init_process_group("threads")
        get_group().comm.shares_memory = share
        found = function(dist.get_rank(), size)
        dist.barrier()
        dist.destroy_process_group()
        return found

    found: list[Any] = _run(size, body)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_it_conforms(name: str) -> None:
    report = check_optimizer(ALL[name][0])
    assert report.ok, str(report)
    if ALL[name][1]:
        assert "methods" in [r.check for r in report.results if r.outcome == "passed"]


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("name", ALL)
def test_ranks_train_as_one_process(name: str, size: int, share: bool) -> None:
    alone = train(name)
    for found in on_ranks(size, lambda rank, n: train(name, rank, n, DistributedDataParallel), share):
        for part in ("parameters", "state", "numbers", "seen"):
            same(alone[part], found[part])


@pytest.mark.parametrize("name", ["shampoo", "prodigy", "ademamix"])
def test_shards_with_copies_of_their_own_train_as_one_process(name: str) -> None:
    alone = train(name)
    first, *others = on_ranks(3, lambda rank, n: train(name, rank, n, DistributedDataParallel, zero=True), share=False)
    for part in ("parameters", "state", "numbers"):
        same(alone[part], first[part])
    for other in others:
        same(alone["parameters"], other["parameters"])


@pytest.mark.mpi
@pytest.mark.parametrize("size", [2, 3])
def test_processes_train_as_one(size: int) -> None:
    program = """
import distgrad.distributed as dist
from distgrad.nn.parallel import DistributedDataParallel
from tests.optim import strangers
from tests.optim.strangers_training import same, train

dist.init_process_group("shared")
for name in strangers.ALL:
    found = train(name, dist.get_rank(), dist.get_world_size(), DistributedDataParallel)
    alone = train(name)
    for part in ("parameters", "state", "numbers", "seen"):
        same(alone[part], found[part])
    dist.barrier()
print("as one")
dist.destroy_process_group()
"""
    run_together(size, program).check(**{"as one": size})


# --- the mathematics, written out once more -------------------------------------------------------------------------


def gradients(values: list[np.ndarray], k: int) -> list[np.ndarray]:
    """Of Σ (p − k)² / 2 over all parameters, with one of them turned round."""
    return [v - k if i else k - v for i, v in enumerate(values)]


def stepped(cls: type[Optimizer], steps: int, **options: Any) -> tuple[list[np.ndarray], Any]:
    params = [distgrad.tensor(values).requires_grad_() for values in START]
    optimizer: Any = cls(params, **options)
    for k in range(steps):
        for p, g in zip(params, gradients([p.detach().numpy() for p in params], k), strict=True):
            p.grad = distgrad.tensor(g)
        optimizer.step()
    return [p.detach().numpy() for p in params], optimizer


def test_prodigy_is_its_paper() -> None:
    x = [v.copy() for v in START]
    x0 = [v.copy() for v in START]
    m, v, s = ([np.zeros_like(a) for a in START] for _ in range(3))
    d, r, root = 1e-3, 0.0, 0.999**0.5
    for k in range(6):
        g = gradients(x, k)
        r = root * r + (1 - root) * d * d * sum((a * (b - c)).sum() for a, b, c in zip(g, x0, x, strict=True))
        for i in range(4):
            s[i] = root * s[i] + (1 - root) * d * d * g[i]
            m[i] = 0.9 * m[i] + 0.1 * d * g[i]
            v[i] = 0.999 * v[i] + 0.001 * d * d * g[i] ** 2
            x[i] = x[i] - d * m[i] / (np.sqrt(v[i]) + d * 1e-8)
        d = max(d, r / sum(np.abs(a).sum() for a in s))
    found, optimizer = stepped(Prodigy, 6, d0=1e-3)
    for a, b in zip(x, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    group = optimizer.param_groups[0]
    np.testing.assert_allclose([d, r], [group["d"], group["r"]], rtol=1e-12)
    assert d > 1e-3


def test_shampoo_is_its_paper() -> None:
    x = START[0].copy()
    left, right = 1e-4 * np.eye(7), 1e-4 * np.eye(5)

    def root(a: np.ndarray) -> np.ndarray:
        u, values, _ = np.linalg.svd(a)
        return u @ np.diag(values**-0.25) @ u.T

    for k in range(3):
        g = k - x
        left, right = left + g @ g.T, right + g.T @ g
        x = x - 0.1 * root(left) @ g @ root(right)
    found, optimizer = stepped(Shampoo, 3)
    np.testing.assert_allclose(x, found[0], rtol=1e-6)
    state = optimizer.state[optimizer.param_groups[0]["params"][0]]
    assert (tuple(state["left"].shape), tuple(state["right"].shape)) == ((7, 7), (5, 5))
    np.testing.assert_allclose(state["left"].numpy(), left, rtol=1e-9)


def test_schedule_free_is_its_paper() -> None:
    z, x = START[1].copy(), START[1].copy()
    for k in range(5):
        y = 0.1 * z + 0.9 * x
        z = z - 0.1 * (y - k)
        x = (1 - 1 / (k + 1)) * x + z / (k + 1)
    found, optimizer = stepped(ScheduleFree, 5)
    np.testing.assert_allclose(found[1], 0.1 * z + 0.9 * x, rtol=1e-12)
    optimizer.eval()
    np.testing.assert_allclose(found[1], x, rtol=1e-12)
    optimizer.train()
    np.testing.assert_allclose(found[1], 0.1 * z + 0.9 * x, rtol=1e-12)


# --- state that ranks share, for whoever asks -----------------------------------------------------------------------


def _two_steps(rank: int, size: int, between: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    net = network()
    model = DistributedDataParallel(net)
    optimizer = Sophia(net.parameters())
    found = None
    for k in range(4):
        optimizer.zero_grad()
        x, y = batch(k, rank, size)
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
        if k == 1:
            found = between(optimizer, net)
    return found, [p.tolist() for p in net.parameters()]


def _doubled(optimizer: Any, net: Any) -> None:
    for p in net.parameters():
        optimizer.state[p]["exp_avg"].mul_(2)


def _replaced(optimizer: Any, net: Any) -> None:
    for p in net.parameters():
        optimizer.state[p]["exp_avg"] = optimizer.state[p]["exp_avg"] * 2


def _through_numpy(optimizer: Any, net: Any) -> None:
    for p in net.parameters():
        optimizer.state[p]["exp_avg"].numpy()[...] *= 2


def _new_entries(optimizer: Any, net: Any) -> None:
    for p in net.parameters():
        optimizer.state[p] = {name: v * 2 if name == "exp_avg" else v for name, v in optimizer.state[p].items()}


def _new_memory(optimizer: Any, net: Any) -> None:
    for p in net.parameters():
        optimizer.state[p]["exp_avg"].data = optimizer.state[p]["exp_avg"] * 2


@pytest.mark.parametrize("how", [_doubled, _replaced, _through_numpy, _new_entries, _new_memory])
def test_what_a_user_writes_to_shared_state_counts(how: Callable[[Any, Any], None]) -> None:
    ((_, alone),) = on_ranks(1, lambda rank, size: _two_steps(rank, size, _doubled))
    for size in (2, 3):
        for _, found in on_ranks(size, lambda rank, n: _two_steps(rank, n, how)):
            same(alone, found)


def test_what_a_user_wrote_is_in_the_state_dict() -> None:
    def between(optimizer: Any, net: Any) -> Any:
        before = {i: e["exp_avg"].tolist() for i, e in optimizer.state_dict()["state"].items()}
        _doubled(optimizer, net)
        return before, {i: e["exp_avg"].tolist() for i, e in optimizer.state_dict()["state"].items()}

    for (before, after), _ in on_ranks(3, lambda rank, n: _two_steps(rank, n, between)):
        for i in before:
            np.testing.assert_array_equal(np.array(before[i]) * 2, after[i])


def test_state_that_a_user_holds_follows_the_steps() -> None:
    def between(optimizer: Any, net: Any) -> Any:
        return [optimizer.state[p]["exp_avg"] for p in net.parameters()], optimizer, net

    def on_rank(rank: int, size: int) -> Any:
        (held, optimizer, net), _ = _two_steps(rank, size, between)
        assert all(optimizer.state[p]["exp_avg"] is h for p, h in zip(net.parameters(), held, strict=True))
        return [h.tolist() for h in held], held, optimizer, net

    ((alone, *_),) = on_ranks(1, on_rank)
    for found, *_ in on_ranks(3, on_rank):
        same(alone, found)


def test_what_one_rank_alone_looks_at_disturbs_nobody() -> None:
    def look(optimizer: Any, net: Any) -> Any:
        if dist.get_rank() == 1:
            return [float(optimizer.state[p]["hessian"].abs().max()) for p in net.parameters()]
        return None

    ((_, alone),) = on_ranks(1, lambda rank, size: _two_steps(rank, size, lambda *_: None))
    for _, found in on_ranks(3, lambda rank, n: _two_steps(rank, n, look)):
        same(alone, found)


def test_ranks_that_go_their_own_ways_take_all_state_along() -> None:
    def on_rank(rank: int, size: int) -> Any:
        net = network()
        model = DistributedDataParallel(net)
        optimizer = Shampoo(net.parameters())
        for k in range(2):
            optimizer.zero_grad()
            x, y = batch(k, rank, size)
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
        with model.no_sync():
            for k in range(2, 4):  # each with the whole batch
                optimizer.zero_grad()
                nn.functional.mse_loss(model(batch(k)[0]), batch(k)[1]).backward()
                optimizer.step()
        state = [{n: v.tolist() for n, v in optimizer.state[p].items()} for p in net.parameters()]
        return [p.tolist() for p in net.parameters()], state, optimizer, model

    ((values, state, *_),) = on_ranks(1, on_rank)
    for found, theirs, *_ in on_ranks(3, on_rank):
        same(values, found)
        same(state, theirs)


# --- what a class declares ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [distgrad.float32, distgrad.float64, distgrad.bfloat16])
def test_numbers_are_exact(dtype: Any) -> None:
    class Counting(Optimizer):
        defaults = dict(lr=0.1)
        numbers = {"rate": "lr", "total": 0.1}
        seen: list[tuple[float, float]] = []

        def advance(self, *, rate, total):  # type: ignore[no-untyped-def]
            self.seen.append((rate, total))
            return {"total": total + 0.1}

        def update(self, xp, p, g, *, lr):  # type: ignore[no-untyped-def, override]
            p -= lr * g

    p = distgrad.ones(3, dtype=dtype).requires_grad_()
    optimizer = Counting([p])
    for _ in range(3):
        p.grad = distgrad.ones_like(p)
        optimizer.step()
    assert Counting.seen == [(0.1, 0.1), (0.1, 0.2), (0.1, 0.2 + 0.1)]
    assert all(type(x) is float for pair in Counting.seen for x in pair)
    again = Counting([p])
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert again.state[p]["total"].item() == 0.2 + 0.1 + 0.1


def declares(**attributes: Any) -> type[Optimizer]:
    def update(self, xp, p, g, *state, lr):  # type: ignore[no-untyped-def]
        p -= lr * g

    return type("Declares", (Optimizer,), {"defaults": dict(lr=0.1, eps=1e-8), "update": update, **attributes})


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        (dict(state=("step",)), "declares 'step', which is the number of steps"),
        (dict(state=("count",), counter="count"), "declares 'count', which is the number of steps"),
        (dict(numbers={"step": 0.0}), "declares 'step'"),
        (dict(numbers={"eps": 0.0}), "declares 'eps' in numbers, which is a hyperparameter too"),
        (dict(state=("m",), numbers={"m": 0.0}), "declares 'm' in numbers, which is another of its names too"),
        (dict(sums=("norm",)), r"sums, measure\(\) and conclude\(\) go together; there is sums"),
        (dict(common={"d": 1.0}), "common numbers are changed by conclude"),
        (dict(state={"m": lambda xp, p, *, speed: p}), "asks for speed"),
    ],
)
def test_a_declaration_that_means_two_things_is_refused(attributes: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        declares(**attributes)([distgrad.ones(2).requires_grad_()])


def test_elementwise_state_of_another_shape_is_refused() -> None:
    p = distgrad.ones(2, 3).requires_grad_()
    p.grad = distgrad.ones_like(p)
    with pytest.raises(TypeError, match=r"'left' begins with shape \[2, 2\].*elementwise = False"):
        declares(state={"left": lambda xp, p: xp.eye(2)})([p]).step()


def test_state_of_another_shape_goes_on_from_a_state_dict() -> None:
    _, first = stepped(Shampoo, 2)
    saved = copy.deepcopy(first.state_dict())
    _, second = stepped(Shampoo, 1)
    second.load_state_dict(saved)
    for a, b in zip(first.state.values(), second.state.values(), strict=True):
        assert all(x.tolist() == y.tolist() for x, y in zip(a.values(), b.values(), strict=True))
    saved["state"][0]["left"] = distgrad.ones(7, 5)
    with pytest.raises(ValueError, match=r"'left' has shape \[7, 5\], its optimizer's \[7, 7\]"):
        second.load_state_dict(saved)


def test_measure_sees_no_gap_between_parameters() -> None:
    class Counts(Optimizer):
        defaults = dict(lr=0.0)
        common = {"elements": 0.0}
        sums = ("n",)

        def measure(self, xp, p, g):  # type: ignore[no-untyped-def]
            return (xp.sum(xp.ones_like(p)),)

        def conclude(self, *, n):  # type: ignore[no-untyped-def]
            return {"elements": n}

        def update(self, xp, p, g, *, lr):  # type: ignore[no-untyped-def, override]
            p -= lr * g

    _, optimizer = stepped(Counts, 1)
    assert optimizer.param_groups[0]["elements"] == sum(v.size for v in START)
