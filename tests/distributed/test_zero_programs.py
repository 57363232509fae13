"""Random programs with ZeroRedundancyOptimizer mean what PyTorch makes of them, also where ranks differ."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.distributed.gradients.fingerprint import bits
from distgrad.distributed.optim import ZeroRedundancyOptimizer
from distgrad.nn.parallel import DistributedDataParallel
from tests.distributed.helpers import zero_programs as programs
from tests.distributed.helpers.ranks_as_threads import AS_PROGRAM, WAYS, on_ranks
from tests.helpers.ranks import HANG, job_environment, run_job, run_ranks

FILE = Path(programs.__file__)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [2, 3])
def test_on_threads(size: int, way: str) -> None:
    def main() -> list[str]:
        found = []
        for seed in range(30):
            group = dist.new_group(list(range(size)))
            group.comm.shares_memory = way == "shared"
            program = programs.random_program(seed, size)
            fault = programs.check(program, dg, dist.get_rank(), size, group)
            found += [f"seed {seed}: {fault}\n{program}"] if fault else []
        return found

    assert on_ranks(size, main, way) == [[]] * size


@pytest.mark.mpi
@pytest.mark.parametrize("size", [2, 3])
def test_over_mpi(size: int) -> None:
    job = run_ranks(size, FILE, "mpi,shared", "1000", "30", env=AS_PROGRAM)
    job.check(**{"mpi as-pytorch": size, "shared as-pytorch": size})


@pytest.mark.mpi
@pytest.mark.parametrize("per_node", ["1", "2"])
def test_between_nodes(per_node: str) -> None:
    run_ranks(4, FILE, "shared", "0", "12", per_node, env=AS_PROGRAM).check(**{"shared as-pytorch": 4})


@pytest.mark.torch
@pytest.mark.parametrize("size", [2, 3])
def test_pytorch_agrees(size: int) -> None:
    """What is expected is what PyTorch's own does, over gloo."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    start = (
        "import os, subprocess, sys\n"
        "ranks, command = int(sys.argv[1]), sys.argv[2:]\n"
        "jobs = [subprocess.Popen(command, env={**os.environ, 'RANK': str(r)}) for r in range(ranks)]\n"
        "sys.exit(max(job.wait() for job in jobs))\n"
    )
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(size)}
    command = [sys.executable, "-c", start, str(size), sys.executable, str(FILE), "torch", "0", "40"]
    run_job(command, HANG, job_environment(1, {**AS_PROGRAM, **where})).check(**{"torch as-pytorch": size})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [2, 3])
def test_a_parameter_is_its_owners(size: int, way: str) -> None:
    """Of one weight of 1 rank 0 is the owner: 1 - 1 on all, then less the mean of the inputs rank + 1."""

    def main() -> tuple[list[float], bool]:
        layer = nn.Linear(1, 1, bias=False)
        nn.init.ones_(layer.weight)
        model = DistributedDataParallel(layer)
        optimizer = ZeroRedundancyOptimizer(model.parameters(), optim.SGD, lr=1.0)
        found = []
        for local in (True, False):
            x = dg.tensor([[dist.get_rank() + 1.0]])
            if local:
                with model.no_sync():
                    model(x).sum().backward()
            else:
                model(x).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            found.append(layer.weight.item())
        return found, bool(model._gradients.shares_memory)  # type: ignore[union-attr]

    assert on_ranks(size, main, way) == [([0.0, -(size + 1) / 2], False)] * size


@pytest.mark.parametrize("way", WAYS)
def test_other_hyperparameters_are_refused(way: str) -> None:
    def main() -> None:
        layer = nn.Linear(40, 1)
        model = DistributedDataParallel(layer)
        optimizer = ZeroRedundancyOptimizer(model.parameters(), optim.SGD, lr=0.1)
        model(dg.ones(1, 40)).sum().backward()
        optimizer.step()
        if dist.get_rank() == 1:
            optimizer.param_groups[0]["lr"] = 0.5
        with pytest.raises(RuntimeError, match="another optimizer, with other hyperparameters"):
            optimizer.step()

    on_ranks(2, main, way)


def test_bits_know_places() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 9, 1000, 50_001):
        for kind in (np.float64, np.float32, np.float16):
            x = rng.standard_normal(n).astype(kind)
            assert bits(x) == bits(x.copy())
            for y in (x[::-1], np.roll(x, 1), np.concatenate([x[-1:], x[1:-1], x[:1]]), -x):
                assert bits(y) != bits(x), (n, kind)
