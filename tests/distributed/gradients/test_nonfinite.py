"""F8: a gradient that is not finite on one rank is refused by all alike, and no weight moves."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.distributed.algorithms.ddp_comm_hooks.topk_hook import TopKState, topk_hook
from distgrad.distributed.gradients import nonfinite
from distgrad.distributed.gradients.nonfinite import all_finite
from distgrad.nn.parallel import DistributedDataParallel
from tests.distributed.helpers.ranks_as_threads import (
    AS_PROGRAM,
    AS_TRAINING,
    WAYS,
    backends_and_sizes,
    on_ranks,
    over_mpi,
    pretend_nodes,
    set_parameters,
)
from tests.helpers.crew import run_together
from tests.helpers.ranks import run_ranks

BAD = {"nan": float("nan"), "inf": float("inf")}


class Training:
    """Three steps, in the second of which one rank's gradient of ``0.weight`` has one element that is not finite."""

    def __init__(self, check: str | None, hook: bool = False, dtype: Any = dg.float32) -> None:
        self.bare = nn.Sequential(nn.Linear(4, 3, dtype=dtype), nn.Linear(3, 2, dtype=dtype))
        set_parameters(self.bare)
        self.model = DistributedDataParallel(self.bare, check_finite=check)
        if hook:
            self.model.register_comm_hook(TopKState(ratio=0.5), topk_hook)
        self.optimizer = optim.Adam(self.model.parameters(), lr=0.1)
        self.x = dg.full((2, 4), 1.0 + dist.get_rank()).to(dtype)

    def step(self, bad: float | None = None, where: int = 1) -> None:
        self.optimizer.zero_grad()
        handle = None
        if bad is not None and dist.get_rank() == where:

            def spoil(gradient: Any) -> Any:
                spoilt = gradient.clone()
                spoilt[1, 2] = bad
                return spoilt

            handle = self.bare[0].weight.register_hook(spoil)
        try:
            self.model(self.x).square().mean().backward()
            self.optimizer.step()
        finally:
            if handle is not None:
                handle.remove()

    def bits(self) -> bytes:
        return b"".join(p.detach().float().numpy().tobytes() for p in self.bare.parameters())


def raising(bad: float, dtype: Any = dg.float32) -> tuple[str, bytes]:
    t = Training("raise", dtype=dtype)
    t.step()
    before = t.bits()
    with pytest.raises(RuntimeError, match="is not finite") as caught:
        t.step(bad)
    assert t.bits() == before
    t.step()  # whoever catches it may go on
    assert t.bits() != before
    return str(caught.value), t.bits()


def skipping(bad: float | None, hook: bool = False) -> bytes:
    t = Training("skip", hook)
    t.step()
    if bad is not None:
        before = t.bits()
        t.step(bad)
        assert t.bits() == before
        assert all(p.grad is None for p in t.bare.parameters())
    t.step()
    return t.bits()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [dg.float32, dg.float64, dg.bfloat16, dg.float16])
@pytest.mark.parametrize("bad", BAD)
def test_all_ranks_raise_and_name_rank_and_parameter(bad: str, dtype: Any, way: str) -> None:
    results = on_ranks(3, lambda: raising(BAD[bad], dtype), way)
    for rank, (text, weights) in enumerate(results):
        assert text.startswith(f"rank {rank}: on rank 1 the gradient of parameter '0.weight' is not finite. No rank")
        assert weights == results[0][1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bad", BAD)
def test_all_ranks_skip_and_go_on(bad: str, way: str) -> None:
    results = on_ranks(3, lambda: skipping(BAD[bad]), way)
    assert set(results) == set(on_ranks(3, lambda: skipping(None), way))


def test_memory_of_a_hook_stays_finite() -> None:
    results = on_ranks(2, lambda: skipping(BAD["nan"], hook=True))
    assert results[0] == results[1]
    assert np.isfinite(np.frombuffer(results[0], np.float32)).all()


@pytest.mark.parametrize("way", WAYS)
def test_without_the_guard_it_spreads(way: str) -> None:
    def main() -> bool:
        t = Training(None)
        t.step(BAD["nan"])
        return bool(np.isnan(np.frombuffer(t.bits(), np.float32)).any())

    assert on_ranks(2, main, way) == [True, True]


@pytest.mark.parametrize("way", WAYS)
def test_several_ranks_and_parameters_are_counted(way: str) -> None:
    def main() -> str:
        t = Training("raise")
        x = dg.full((2, 4), float("nan"))

        def step() -> None:
            t.model(x).mean().backward()
            t.optimizer.step()

        with pytest.raises(RuntimeError, match="not finite") as caught:
            step()
        return str(caught.value)

    text = on_ranks(2, main, way)[0]
    assert "on rank 0 the gradient of parameter '" in text
    assert "more is not finite; some are not finite on rank(s) 1 either" in text


@pytest.mark.parametrize("way", WAYS)
def test_a_look_at_a_gradient_finds_it_too(way: str) -> None:
    """One rank alone looks, the others come to step(): all forget the gradients, or raise."""

    def main(check: str) -> list[Any]:
        t = Training(check)
        found: list[Any] = []
        t.model(dg.full((2, 4), float("nan") if dist.get_rank() == 1 else 1.0)).mean().backward()
        if dist.get_rank() == 0:
            found.append(t.bare[0].weight.grad)
        before = t.bits()
        t.optimizer.step()
        assert t.bits() == before
        t.step()
        assert t.bits() != before
        return found

    assert on_ranks(3, lambda: main("skip"), way)[0] == [None]
    if way == "shared":
        with pytest.raises(RuntimeError, match="rank 0: on rank 1 the gradient of parameter '0.weight' and 1 more"):
            on_ranks(3, lambda: main("raise"), way)


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every gradient counts as a large one, which is looked at when it has just been made."""
    monkeypatch.setattr(nonfinite, "LARGE", 1)


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("dtype", [dg.float32, dg.float64, dg.bfloat16])
@pytest.mark.parametrize("bad", BAD)
def test_large_gradients_are_contained(bad: str, dtype: Any) -> None:
    results = on_ranks(3, lambda: raising(BAD[bad], dtype), "shared")
    assert all(
        text.startswith(f"rank {r}: on rank 1 the gradient of parameter '0") for r, (text, _) in enumerate(results)
    )
    assert len({weights for _, weights in results}) == 1
    if dtype is dg.float32:
        assert set(on_ranks(3, lambda: skipping(BAD[bad]), "shared")) == set(
            on_ranks(3, lambda: skipping(None), "shared")
        )


class Spoilt:
    """Two linear layers of which a gradient is not finite on rank 1, brought about in several ways."""

    def __init__(self, dtype: Any = dg.float32) -> None:
        self.first, self.second = nn.Linear(64, 64, dtype=dtype), nn.Linear(64, 64, dtype=dtype)
        bare = nn.Sequential(self.first, self.second)
        set_parameters(bare, 0.1)
        self.model = DistributedDataParallel(bare)
        self.x = dg.tensor(np.random.default_rng(1).standard_normal((2, 64)), dtype=dtype)
        self.here = dist.get_rank() == 1
        self.bad = self.x * (float("nan") if self.here else 1.0)

    def backward(self, x: Any) -> None:
        self.model(x).square().sum().backward()

    def by_input(self) -> None:
        self.backward(self.bad)

    def by_overflow(self) -> None:
        scale = 1e20 if self.here else 1.0  # the factors are finite, their products are not
        (self.model(self.x * scale) * scale).sum().backward()

    def by_an_earlier_pass(self) -> None:
        with self.model.no_sync():
            self.backward(self.bad)
        self.backward(self.x)

    def by_addition_to_an_earlier_pass(self) -> None:
        with self.model.no_sync():
            self.backward(self.x)
        self.by_overflow()

    def by_addition_to_the_mean(self) -> None:
        self.backward(self.x)
        self.by_overflow()

    def by_a_later_hook(self) -> None:
        """Behind the wrapper's, through NumPy: no version tells of it."""

        def spoil(p: Any) -> None:
            if self.here:
                p.grad.numpy()[3, 5] = np.inf

        self.second.weight.register_post_accumulate_grad_hook(spoil)
        self.backward(self.x)

    def by_a_hook_of_another(self) -> None:
        """When the first layer's gradient comes, the second's is complete and was looked at."""

        def spoil(_: Any) -> None:
            if self.here:
                self.second.weight.grad.mul_(float("nan"))

        self.first.weight.register_post_accumulate_grad_hook(spoil)
        self.backward(self.x)

    def by_replacement(self) -> None:
        def spoil(_: Any) -> None:
            if self.here:
                self.second.weight.grad = dg.full((64, 64), float("inf"))

        self.first.weight.register_post_accumulate_grad_hook(spoil)
        self.backward(self.x)


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("way", [name[3:] for name in vars(Spoilt) if name.startswith("by_")])
def test_it_is_found_however_it_came_about(way: str) -> None:
    def main() -> None:
        t = Spoilt()
        optimizer = optim.SGD(t.model.parameters(), lr=0.1)
        t.backward(t.x)
        optimizer.step()
        optimizer.zero_grad()
        getattr(t, f"by_{way}")()
        before = t.second.weight.detach().clone()
        with pytest.raises(RuntimeError, match="on rank 1 the gradient of parameter '"):
            optimizer.step()
        assert bool((t.second.weight == before).all())

    on_ranks(2, main, "shared")


class Twice(nn.Module):
    """One layer, gone through once or twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64, bias=False)  # whose gradient would be not finite too
        set_parameters(self, 0.1)

    def forward(self, x: Any, twice: bool = False) -> Any:
        return self.layer(self.layer(x)) if twice else self.layer(x)


@pytest.mark.usefixtures("all_large")
def test_a_pass_that_failed_leaves_no_bound() -> None:
    """The next one's gradient is a sum of two, which no operation writes to its slot."""

    def stop(_: Any) -> None:
        raise InterruptedError

    def main() -> None:
        model = DistributedDataParallel(Twice())
        x = dg.tensor(np.random.default_rng(1).standard_normal((2, 64)), dtype=dg.float32)
        for _ in range(2):
            model(x).square().sum().backward()
            model.zero_grad()
        leaf = x.clone().requires_grad_()
        leaf.register_post_accumulate_grad_hook(stop)  # behind the product, ahead of the wrapper's hook
        with pytest.raises(InterruptedError):
            model(leaf).square().sum().backward()
        bad = x * (float("nan") if dist.get_rank() == 1 else 1.0)
        model(bad, twice=True).square().sum().backward()
        with pytest.raises(RuntimeError, match="on rank 1 the gradient of parameter '"):
            model.module.layer.weight.grad  # noqa: B018 - looking finds it

    on_ranks(2, main, "shared")


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("dtype", [dg.float64, dg.float16, dg.bfloat16])
def test_it_is_found_in_other_dtypes(dtype: Any) -> None:
    def main() -> None:
        t = Spoilt(dtype)
        for _ in range(2):
            t.backward(t.x)
            t.model.zero_grad()
        t.by_input()
        with pytest.raises(RuntimeError, match="on rank 1 the gradient of parameter '"):
            t.first.weight.grad  # noqa: B018 - looking finds it

    on_ranks(2, main, "shared")


@pytest.mark.usefixtures("all_large")
def test_a_product_whose_factors_bound_it_is_not_read() -> None:
    def main() -> list[int]:
        t = Spoilt()
        search = t.model._gradients.reducer.updates[0].search
        weight = next(i for i, slot in enumerate(search._slots) if slot.ndim == 2)
        read, plain = [], search._large[weight]

        def reads() -> bool:
            read.append(weight)
            return bool(plain())

        search._large[weight] = reads
        counts = []
        for forget in (True, True, False, True, True):
            t.backward(t.x)
            counts.append(len(read))
            if forget:
                t.model.zero_grad()
        return counts

    # The first pass is not asked yet for a bound; the fourth adds to what the third has left.
    assert on_ranks(2, main, "shared") == [[1, 1, 1, 2, 2]] * 2


def test_large_but_finite_is_finite() -> None:
    assert all_finite(np.full(8, 1e30, np.float32))
    assert not all_finite(np.array([1e30, np.nan], np.float32))
    assert not all_finite(np.array([[1.0, -np.inf]]))
    assert all_finite(np.zeros(0, np.float32))


def test_an_unknown_action_is_refused() -> None:
    def main() -> None:
        with pytest.raises(ValueError, match="check_finite must be 'raise', 'skip' or None, got 'warn'"):
            DistributedDataParallel(nn.Linear(1, 1), check_finite="warn")

    on_ranks(1, main)


@pytest.mark.mpi
@backends_and_sizes(2, 3, 4)
def test_over_mpi(backend: str, size: int) -> None:
    over_mpi(size, Path(__file__)).check(**{f"contained with {backend}": size})


@pytest.mark.mpi
@pytest.mark.parametrize("per_node", ["1", "2"])
def test_over_nodes(per_node: str) -> None:
    env = AS_TRAINING if per_node == "2" else AS_PROGRAM
    run_together(4, Path(__file__), "shared", per_node, env=env).check(contained=4)


@pytest.mark.mpi
@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("backend", ["mpi", "shared"])
def test_an_uncaught_one_ends_the_job(backend: str, size: int) -> None:
    program = f"""
import distgrad as dg, distgrad.distributed as dist
from distgrad import nn, optim
dist.init_process_group("{backend}")
model = nn.parallel.DistributedDataParallel(nn.Linear(2, 1))
optimizer = optim.SGD(model.parameters(), lr=0.1)
model(dg.full((1, 2), float("nan") if dist.get_rank() == 1 else 1.0)).sum().backward()
optimizer.step()
"""
    job = run_ranks(size, program)
    assert job.returncode != 0, job
    what = r"on rank 1 the gradient of parameter 'weight'( and .*)? is not finite"
    said = rf"\[rank(\d)\]: [\w.]*NonFiniteError: rank \1: {what}"
    assert re.search(said, job.stderr), job


if __name__ == "__main__":
    pretend_nodes(*sys.argv[2:])
    for backend in sys.argv[1].split(","):
        dist.init_process_group(backend)
        text, weights = raising(BAD["nan"])
        assert text.startswith(f"rank {dist.get_rank()}: on rank 1 the gradient of parameter '0.weight' is not finite")
        everyone = [dg.zeros(len(weights) // 4) for _ in range(dist.get_world_size())]
        dist.all_gather(everyone, dg.tensor(np.frombuffer(weights, np.float32).copy()))
        assert all(bool((w == everyone[0]).all()) for w in everyone)
        assert skipping(BAD["inf"]) == skipping(None)
        sys.stdout.write(f"contained with {backend}\n")
        dist.destroy_process_group()
