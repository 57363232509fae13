"""After ``join()`` a model returns to shared memory, and trains on as one that stayed on messages does, bit for bit."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.distributed.algorithms import Join
from distgrad.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from distgrad.distributed.data_parallel.shared_memory_reducer import SharedReducer
from distgrad.distributed.optim import DistributedOptimizer, ZeroRedundancyOptimizer
from distgrad.nn.parallel import DistributedDataParallel
from distgrad.optim import Optimizer
from tests.distributed.helpers.ranks_as_threads import (
    AS_PROGRAM,
    WAYS,
    compiled_on,
    on_ranks,
    pretend_nodes,
    set_parameters,
)
from tests.helpers.crew import run_together

SHARED = WAYS[1:]
RNG = np.random.default_rng(8)
X, Y = RNG.standard_normal((3, 4, 4, 5, 40)), RNG.standard_normal((3, 4, 4, 5, 3))  # epoch, rank, batch, sample


def regions() -> int:
    """How many regions of shared memory this process has open."""
    found = 0
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # another thread's listing, closed by now
            found += "memfd:distgrad" in os.readlink(file)
    return found


class Stranger(Optimizer):
    """An optimizer of somebody else's, of whole tensors: momentum along the gradient's direction."""

    defaults = dict(lr=0.05, beta=0.9)
    state = ("velocity",)
    elementwise = False

    def update(self, xp: Any, p: Any, g: Any, velocity: Any, *, lr: float, beta: float) -> None:
        velocity *= beta
        velocity += g / (xp.sqrt((g * g).sum()) + 1e-8)
        p -= lr * velocity


CLASSES: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "momentum": (optim.SGD, dict(lr=0.05, momentum=0.9)),
    "adam": (optim.Adam, dict(lr=0.02)),
    "stranger": (Stranger, dict()),
}
HOWS = ["plain", "distributed", "zero"]


def network() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(40, 9, dtype=dg.float64), nn.Tanh(), nn.Linear(9, 3, dtype=dg.float64))
    set_parameters(model, seed=2)
    return model


def loss_of(model: nn.Module, epoch: int, batch: int) -> Any:
    rank = dist.get_rank()
    return ((model(dg.tensor(X[epoch, rank, batch])) - dg.tensor(Y[epoch, rank, batch])) ** 2).mean()


def train(which: str, how: str) -> tuple[list[np.ndarray], list[bool], int]:
    """Three epochs of a step of all ranks, then a join.

    ``how``: "plain", as many batches on all ranks, so that their states stay equal; else other numbers, and an
    optimizer that steps on all ranks.

    Returns:
        all that the user sees on the way; whether memory was shared after each join; and for how many times in
        shared memory state is still kept for other ranks.
    """
    kind, options = CLASSES[which]
    bare, rank = network(), dist.get_rank()
    model: nn.Module = bare if how == "distributed" else DistributedDataParallel(bare, weighting="samples")
    optimizer: Any
    if how == "distributed":
        inner = kind(bare.parameters(), **options)
        optimizer = DistributedOptimizer(inner, bare.named_parameters())
    elif how == "zero":
        optimizer = ZeroRedundancyOptimizer(bare.parameters(), kind, **options)
    else:
        optimizer = kind(bare.parameters(), **options)
    joined: list[Any] = {"plain": [model], "zero": [model, optimizer], "distributed": [optimizer]}[how]
    sync = (optimizer if how == "distributed" else model)._gradients
    seen: list[np.ndarray] = []
    kept: list[Any] = []
    shared = []
    for epoch in range(3):
        optimizer.zero_grad()
        loss_of(model, epoch, 3).backward()
        optimizer.step()
        with Join(joined):
            for batch in range(2 if how == "plain" else 1 + (rank + epoch) % 3):
                optimizer.zero_grad()
                loss_of(model, epoch, batch).backward()
                optimizer.step()
        shared.append(sync is not None and sync.shares_memory)
        grads = [p.grad for p in bare.parameters()]
        assert all(g is not None for g in grads)
        if epoch == 1:
            optimizer.step()  # with the gradients that the context has left
        kept += [(g, g.numpy().copy()) for g in grads]
        seen += [p.detach().numpy().copy() for p in bare.parameters()] + [values for _, values in kept]
    assert all(g.numpy().tobytes() == values.tobytes() for g, values in kept), "a gradient that was kept has changed"
    optimizer.zero_grad()
    loss_of(model, 0, 0).backward()
    optimizer.step()
    state = (optimizer.optim if how == "zero" else optimizer).state_dict()["state"]
    seen += [p.detach().numpy().copy() for p in bare.parameters()]
    seen += [np.asarray(v.numpy()) for k in sorted(state) for _, v in sorted(state[k].items()) if hasattr(v, "numpy")]
    return seen, shared, 0 if sync is None else len(sync._formers)


def compare(got: list[np.ndarray], want: list[np.ndarray], tolerance: float = 0.0) -> None:
    assert len(got) == len(want) > 20
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        assert g.shape == w.shape, i
        assert g.tobytes() == w.tobytes() or tolerance, i
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("way", SHARED)
@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("which", CLASSES)
def test_a_joined_model_returns_and_keeps_its_bits(which: str, how: str, size: int, way: str) -> None:
    wants = on_ranks(size, lambda: train(which, how))
    results = on_ranks(size, lambda: train(which, how), way)
    for (got, shared, kept), (want, never, _) in zip(results, wants, strict=True):
        assert (shared, never) == ([True] * 3, [False] * 3)
        assert kept <= 1, "of joins before the last one nothing need be kept"
        compare(got, want)


@pytest.mark.mpi
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_over_mpi(size: int) -> None:
    run_together(size, Path(__file__), env=AS_PROGRAM | compiled_on(size)).check(equal=9 * size)


@pytest.mark.mpi
def test_over_nodes() -> None:
    run_together(4, Path(__file__), "2", env=AS_PROGRAM).check(equal=36)


@pytest.mark.parametrize("way", SHARED)
def test_ranks_with_states_of_their_own_stay_on_messages(way: str) -> None:
    """A plain optimizer's state stays as each rank has it, as in PyTorch: no step may be a mixture of several."""

    def main() -> list[np.ndarray]:
        bare = network()
        model = DistributedDataParallel(bare)
        optimizer = optim.Adam(bare.parameters(), lr=0.02)
        for epoch in range(2):
            with model.join():
                for batch in range(1 + 2 * dist.get_rank()):
                    optimizer.zero_grad()
                    loss_of(model, epoch, batch % 4).backward()
                    optimizer.step()
            for batch in range(2):
                optimizer.zero_grad()
                loss_of(model, epoch, batch).backward()
                optimizer.step()
            assert not model._gradients.shares_memory  # type: ignore[union-attr]
        return [p.detach().numpy().copy() for p in bare.parameters()]

    found, wanted = on_ranks(2, main, way), on_ranks(2, main)
    for got, want in zip(found, wanted, strict=True):
        assert all(a.tobytes() == b.tobytes() for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("way", SHARED)
def test_memory_of_former_times_is_given_back(way: str) -> None:
    """At once: a model's memory must not wait for the cycle collector."""

    def main() -> list[int]:
        bare, found = network(), []
        model = DistributedDataParallel(bare)
        optimizer = optim.Adam(bare.parameters(), lr=0.02)
        for _ in range(4):
            with model.join():
                loss_of(model, 0, 0).backward()
                optimizer.step()
            loss_of(model, 0, 1).backward()
            optimizer.step()
            dist.barrier()
            found.append(regions())
            dist.barrier()
        return found

    gc.disable()
    try:
        counts = on_ranks(2, main, way)[0]
    finally:
        gc.enable()
    assert 0 < counts[1] == counts[-1], counts


@pytest.mark.parametrize("way", SHARED)
def test_a_hook_keeps_messages_and_an_exception_does_so_until_the_next_join(way: str) -> None:
    def main() -> list[bool]:
        found = []
        for hooked in (True, False):
            model = DistributedDataParallel(network())
            assert model._gradients is not None
            if hooked:
                model.register_comm_hook(None, fp16_compress_hook)
            with pytest.raises(RuntimeError, match="run out of inputs"):  # noqa: PT012, SIM117 - leaving raises
                with model.join(throw_on_early_termination=True):
                    for _ in range(1 + dist.get_rank()):
                        loss_of(model, 0, 0).backward()
            found.append(model._gradients.shares_memory)
            with model.join():
                for _ in range(1 + dist.get_rank()):
                    loss_of(model, 0, 0).backward()
            found.append(model._gradients.shares_memory)
        return found

    assert on_ranks(2, main, way) == [[False, False, False, True]] * 2


if __name__ == "__main__":
    pretend_nodes(*sys.argv[1:])
    dist.init_process_group("shared")
    for which in CLASSES:
        for how in HOWS:
            got, shared, _ = train(which, how)
            with mock.patch.object(SharedReducer, "can_serve", staticmethod(lambda comm, params: False)):
                want, never, _ = train(which, how)
            assert (shared, never) == ([dist.get_world_size() > 1] * 3, [False] * 3)
            compare(got, want, 1e-9 if sys.argv[1:] else 0.0)  # sums over nodes are made in another order
            sys.stdout.write("equal\n")
    dist.destroy_process_group()
