"""DistributedDataParallel: PyTorch's behaviour, and the same parameters on any number of ranks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, registry
from distgrad.nn.parallel import DistributedDataParallel
from tests.distributed.helpers.ranks_as_threads import backends_and_sizes, over_mpi
from tests.distributed.helpers.training import OPTIMIZERS, run_all

HERE = Path(__file__).parents[1] / "helpers"
Threads: Any = registry.get("communicator", "threads")


def on_ranks(size: int, main: Callable[[], Any]) -> list[Any]:
    def body() -> Any:
        dist.init_process_group("threads")
        return main()

    results: list[Any] = Threads.run(size, body)
    return results


@pytest.fixture
def alone() -> Any:
    dist.init_process_group("serial")
    yield
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_threads_end_with_the_parameters_of_one_rank(size: int) -> None:
    results = Threads.run(size, lambda: list(run_all("threads")))
    assert [line.split(":")[0] for line in results[-1]] == OPTIMIZERS


@pytest.mark.mpi
@backends_and_sizes(1, 2, 3, 4)
def test_mpi_ends_with_the_parameters_of_one_rank(backend: str, size: int) -> None:
    over_mpi(size, HERE / "training.py").check(**{f"equal with {backend} ": size * len(OPTIMIZERS)})


def test_names_shapes_and_printing_are_pytorchs(alone: None) -> None:
    model = nn.Linear(3, 2)
    wrapped = DistributedDataParallel(model)
    assert wrapped.module is model
    assert list(wrapped.state_dict()) == ["module.weight", "module.bias"]
    first = "DistributedDataParallel(\n  (module): Linear(in_features=3, out_features=2, bias=True)\n)"
    assert repr(wrapped) == first
    assert wrapped(dg.ones(4, 3)).shape == (4, 2)


def test_one_rank_pays_nothing(alone: None) -> None:
    wrapped = DistributedDataParallel(nn.Linear(3, 2))
    assert all(not p._node.post_hooks for p in wrapped.parameters())


def test_bad_arguments_are_refused(alone: None) -> None:
    with pytest.raises(RuntimeError, match="doesn't have any parameter that requires a gradient"):
        DistributedDataParallel(nn.Sequential())
    with pytest.raises(ValueError, match="weighting must be 'samples' or 'ranks', got 'batches'"):
        DistributedDataParallel(nn.Linear(1, 1), weighting="batches")
    with pytest.raises(ValueError, match="bucket_cap_mb must be positive, got 0"):
        DistributedDataParallel(nn.Linear(1, 1), bucket_cap_mb=0)


def test_without_a_process_group_pytorchs_error() -> None:
    with pytest.raises(ValueError, match="Default process group has not been initialized"):
        DistributedDataParallel(nn.Linear(1, 1))


def test_parameters_frozen_ones_and_buffers_become_rank_0s() -> None:
    def main() -> list[Any]:
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        model[0].weight.requires_grad_(False)
        model.register_buffer("mean", dg.full((3,), float(dist.get_rank())))
        DistributedDataParallel(model)
        return [t.tolist() for t in model.state_dict().values()]

    first, *others = on_ranks(3, main)
    assert all(other == first for other in others)
    assert [0.0, 0.0, 0.0] in first


def test_models_that_differ_are_refused_with_names_and_ranks() -> None:
    with pytest.raises(RuntimeError, match=r"'weight' with shape \(2, 3\).* on rank 0; .*'weight' with shape \(2, 4\)"):
        on_ranks(2, lambda: DistributedDataParallel(nn.Linear(3 + dist.get_rank(), 2)))


@pytest.mark.parametrize("broadcast", [True, False])
def test_buffers_follow_rank_0_while_training(broadcast: bool) -> None:
    def main() -> list[float]:
        model = nn.Linear(1, 1)
        model.register_buffer("mean", dg.zeros(1))
        wrapped = DistributedDataParallel(model, broadcast_buffers=broadcast)
        model.mean.fill_(dist.get_rank() + 1.0)
        wrapped.eval()
        if dist.get_rank() == 0:  # evaluation needs no other rank
            wrapped(dg.ones(1, 1))
        wrapped.train()
        wrapped(dg.ones(1, 1)).sum().backward()
        return [model.mean.item()]

    assert on_ranks(2, main) == ([[1.0], [1.0]] if broadcast else [[1.0], [2.0]])


def test_no_sync_keeps_gradients_local_until_the_next_backward() -> None:
    def main() -> list[float]:
        model = nn.Linear(1, 1, bias=False)
        wrapped = DistributedDataParallel(model)
        x = dg.full((1, 1), dist.get_rank() + 1.0)
        with wrapped.no_sync():
            wrapped(x).sum().backward()
        local = model.weight.grad.item()
        wrapped(x).sum().backward()
        return [local, model.weight.grad.item()]

    assert on_ranks(2, main) == [[1.0, 3.0], [2.0, 3.0]]


def test_after_backward_one_rank_may_read_clip_and_scale_alone() -> None:
    def main() -> list[float]:
        model = nn.Linear(2, 1, bias=False)
        wrapped = DistributedDataParallel(model)
        wrapped(dg.full((2, 2), 1.0 + dist.get_rank())).mean().backward()
        before = model.weight.grad.tolist()
        if dist.get_rank() == 0:
            assert model.weight.grad.norm().item() == pytest.approx(1.5 * np.sqrt(2))
            model.weight.grad.mul_(0.0)
        return [*before[0], *model.weight.grad.tolist()[0]]

    assert on_ranks(2, main) == [[1.5, 1.5, 0.0, 0.0], [1.5, 1.5, 1.5, 1.5]]


@pytest.mark.parametrize(("weighting", "expected"), [("samples", (1 + 2 * 3) / 4), ("ranks", 1.5)])
def test_shares_of_different_sizes(weighting: str, expected: float) -> None:
    def main() -> float:
        model = nn.Linear(1, 1, bias=False)
        wrapped = DistributedDataParallel(model, weighting=weighting)
        rank = dist.get_rank()
        wrapped(dg.full((1 + 2 * rank, 1), 1.0 + rank)).mean().backward()
        value: float = model.weight.grad.item()
        return value

    assert on_ranks(2, main) == [expected, expected]
