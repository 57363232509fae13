"""Bodies of tests on ranks that are threads, with a count of what is sent; and test files as programs of MPI ranks."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, registry
from distgrad.distributed.communication.reduction import ReduceOp
from distgrad.distributed.process_groups.default_group import get_group
from distgrad.distributed.shared_memory import region
from tests.helpers.crew import run_together
from tests.helpers.ranks import COMPILED, Finished

ROOT = Path(__file__).parents[3]
AS_PROGRAM = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'launch'}"}  # for a test file that is run on ranks itself
AS_TRAINING = AS_PROGRAM | COMPILED  # for one whose subject is also what compiled loops do

Threads: Any = registry.get("communicator", "threads")

# Both ways in which ranks get the mean of their gradients.
WAYS = [
    "messages",
    pytest.param(
        "shared",
        marks=pytest.mark.skipif(region.why_not() is not None, reason=str(region.why_not())),
    ),
]


def on_ranks(size: int, main: Callable[[], Any], way: str = "messages") -> list[Any]:
    """What ``main()`` returned on each of ``size`` ranks; ``way`` "shared": they share memory."""

    def body() -> Any:
        dist.init_process_group("threads")
        get_group().comm.shares_memory = way == "shared"
        return main()

    results: list[Any] = Threads.run(size, body)
    return results


def set_parameters(module: nn.Module, scale: float = 1.0, seed: int = 0) -> None:
    """To made-up numbers, the same on all ranks.  (A seed is a process's: ranks that are threads race for it.)"""
    rng = np.random.default_rng(seed)
    with dg.no_grad():
        for p in module.parameters():
            p.copy_(dg.tensor(rng.standard_normal(p.shape) * scale))


def compiled_on(ranks: int) -> dict[str, str]:
    """For a training on so many ranks: its loops are compiled on two and three.

    A mean is multiplied by one half there, and divided by three; on one rank and on four nothing else is compiled.
    """
    return COMPILED if ranks in (2, 3) else {}


def backends_and_sizes(*sizes: int) -> pytest.MarkDecorator:
    """Each backend of processes on so many ranks: those of one job (:func:`over_mpi`) side by side, for one worker."""
    return pytest.mark.parametrize(("backend", "size"), [(way, size) for size in sizes for way in ("mpi", "shared")])


@functools.cache
def over_mpi(size: int, file: Path, compiled: bool = True) -> Finished:
    """The job of ``file`` that goes through both backends in turn, so that Python and MPI start once for the two.

    On one and two ranks it is a job of its own, as a user's; on more a crew does it.
    """
    return run_together(size, file, "mpi,shared", env=AS_PROGRAM | (compiled_on(size) if compiled else {}))


def pretend_nodes(per_node: str = "") -> None:
    """Let each so many ranks, over MPI, take themselves for a node of their own."""
    if per_node:
        rank = int(os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ["PMI_RANK"])
        name = f"node{rank // int(per_node)}"
        registry.get("communicator", "shared").identity = staticmethod(lambda: name)


class Count:
    """Bytes that a rank put into collectives."""

    def __init__(self) -> None:
        self.bytes = 0


@contextmanager
def counting() -> Iterator[Count]:
    """Count what this rank sends in all-reduces and all-gathers."""
    comm, count = get_group().comm, Count()
    reduce, gather = comm.Iallreduce, comm.Allgather

    def counted_reduce(array: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> Any:
        count.bytes += array.nbytes
        return reduce(array, op)

    def counted_gather(array: np.ndarray, out: np.ndarray) -> None:
        count.bytes += array.nbytes
        gather(array, out)

    comm.Iallreduce, comm.Allgather = counted_reduce, counted_gather  # type: ignore[method-assign]
    try:
        yield count
    finally:
        del comm.Iallreduce, comm.Allgather
