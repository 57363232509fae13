"""Collectives in which the last rank's tensors have another length or dtype; a program for ranks, and for threads."""

from __future__ import annotations

import gc
import re
import sys
import time
import weakref
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # as a program by mpirun

from distgrad_communicators.mpi import agreement

import distgrad as dg
import distgrad.distributed as dist

LONG = 100_000
# Elements and dtype on the first ranks, and on the last.
PAIRS = [
    (4, dg.float32, 6, dg.float32),
    (6, dg.float32, 4, dg.float32),
    (4, dg.float32, 4, dg.int32),
    (4, dg.float32, 2, dg.float64),
    (0, dg.float64, 3, dg.float64),
    (3, dg.float64, 0, dg.float64),
    (4, dg.float32, LONG, dg.float32),
    (LONG, dg.float32, 4, dg.float32),
    (LONG, dg.float32, LONG + 1, dg.float32),
    (LONG, dg.float32, LONG // 2, dg.float64),
    (LONG, dg.float32, 3 * LONG, dg.float32),
]

Make = Callable[[int], dg.Tensor]  # a tensor of so many times this rank's elements
Ranks = Callable[[int], list[int]]


def _each(make: Make) -> list[dg.Tensor]:
    return [make(1) for _ in range(dist.get_world_size())]


def _first(make: Make) -> list[dg.Tensor] | None:
    return None if dist.get_rank() else _each(make)


def _wait(work: Any) -> None:
    while not work.is_completed():
        pass
    work.wait()


# By name: the call, what the error calls it, and which ranks receive from a rank that differs (of so many).
COLLECTIVES: dict[str, tuple[Callable[[Make, Any], Any], str, Ranks]] = {
    "all_reduce": (lambda make, group: dist.all_reduce(make(1), group=group), "Allreduce SUM", lambda n: [*range(n)]),
    "all_reduce, polled": (
        lambda make, group: _wait(dist.all_reduce(make(1), group=group, async_op=True)),
        "Allreduce SUM",
        lambda n: [*range(n)],
    ),
    "reduce": (lambda make, group: dist.reduce(make(1), 0, group=group), "Reduce SUM to 0", lambda n: [0]),
    "broadcast": (lambda make, group: dist.broadcast(make(1), 0, group=group), "Bcast from 0", lambda n: [n - 1]),
    "broadcast from the last": (
        lambda make, group: dist.broadcast(make(1), dist.get_world_size() - 1, group=group),
        "Bcast from ",
        lambda n: [*range(n - 1)],
    ),
    "all_gather": (
        lambda make, group: dist.all_gather(_each(make), make(1), group=group),
        "Allgather",
        lambda n: [*range(n)],
    ),
    "all_gather_into_tensor": (
        lambda make, group: dist.all_gather_into_tensor(make(dist.get_world_size()), make(1), group=group),
        "Allgather",
        lambda n: [*range(n)],
    ),
    "gather": (lambda make, group: dist.gather(make(1), _first(make), 0, group=group), "Gatherv to 0", lambda n: [0]),
    "scatter": (
        lambda make, group: dist.scatter(make(1), _first(make), 0, group=group),
        "Scatterv from 0",
        lambda n: [n - 1],
    ),
    "reduce_scatter": (
        lambda make, group: dist.reduce_scatter(make(1), _each(make), group=group),
        "Reduce_scatter SUM",
        lambda n: [*range(n)],
    ),
    "reduce_scatter_tensor": (
        lambda make, group: dist.reduce_scatter_tensor(make(1), make(dist.get_world_size()), group=group),
        "Reduce_scatter SUM",
        lambda n: [*range(n)],
    ),
    "all_to_all": (
        lambda make, group: dist.all_to_all(_each(make), _each(make), group=group),
        "Alltoallv",
        lambda n: [*range(n)],
    ),
    "all_to_all_single": (
        lambda make, group: dist.all_to_all_single(
            make(dist.get_world_size()), make(dist.get_world_size()), group=group
        ),
        "Alltoallv",
        lambda n: [*range(n)],
    ),
}  # fmt: skip


def error_of(do: Callable[[], Any]) -> str:
    """What a rank is told; empty where it is done."""
    try:
        do()
    except dist.DistTimeoutError as error:
        raise AssertionError(f"waits for the time-out: {error}") from error
    except dist.DistError as error:
        return str(error)
    return ""


def told(name: str, pair: tuple[int, dg.dtype, int, dg.dtype], group: Any) -> str:
    """What a rank is told of a collective in which the last differs."""
    first, kind, last, last_kind = pair
    if dist.get_rank() == dist.get_world_size() - 1:
        first, kind = last, last_kind
    return error_of(lambda: COLLECTIVES[name][0](lambda times: dg.ones(first * times, dtype=kind), group))


def check(name: str, pair: tuple[int, dg.dtype, int, dg.dtype], group: Any) -> None:
    """A rank that gets something from one that differs is told the operation, the ranks, and both ends of it."""
    rank, size = dist.get_rank(), dist.get_world_size()
    _, words, receivers = COLLECTIVES[name]
    said = told(name, pair, group)
    assert said or rank not in receivers(size), f"{name} of {pair} is done on rank {rank}"
    if said:
        assert "disagree" in said, said
        assert words in said, said
        assert len(set(re.findall(r"rank (\d)", said.partition("disagree")[2]))) == 2, said
        of = {f"{n} (elements of )?{kind.np}" for n, kind in (pair[:2], pair[2:])}
        assert all(re.search(f"(?<![0-9]){text}", said) for text in of), (pair, said)


def check_all() -> None:
    """Each mistake in a group of its own, since ranks that disagree cannot go on in it."""
    agreement.PATIENCE = 0.02  # a table has many rows
    for name in COLLECTIVES:
        for pair in PAIRS:
            check(name, pair, dist.new_group())
            dist.barrier()


def check_broken() -> None:
    """What follows in a group whose ranks disagreed says so, at once; other groups are as they were."""
    group, rank = dist.new_group(), dist.get_rank()
    assert "disagree" in told("all_reduce", PAIRS[0], group)
    for _ in range(2):
        said = error_of(lambda: dist.all_reduce(dg.ones(3), group=group))
        assert "cannot go on" in said, said
        assert re.search(r"Allreduce SUM of 4 float32 on rank \d, but Allreduce SUM of 6 float32 on", said), said
    total = dg.tensor([float(rank)])
    dist.all_reduce(total)
    assert total.item() == sum(range(dist.get_world_size()))


def check_late() -> None:
    """A rank that comes much later than the others is no mistake, also where it never waits for them itself."""
    rank, size = dist.get_rank(), dist.get_world_size()
    for i in range(4):
        if rank == i % size:
            time.sleep(0.3)
        for n in (3, LONG):
            t = dg.full((n,), float(rank))
            dist.all_reduce(t)
            assert t.tolist()[-1] == sum(range(size))
            dist.broadcast(t, i % size)
            rows = [dg.zeros(n) for _ in range(size)]
            dist.all_gather(rows, dg.full((n,), float(rank)))
            assert [row.tolist()[-1] for row in rows] == list(range(size))


def check_other_operation() -> None:
    """Ranks in different operations are told so as well."""
    group, rank = dist.new_group(), dist.get_rank()
    said = error_of(lambda: dist.barrier(group) if rank else dist.all_reduce(dg.ones(3), group=group))
    assert "Allreduce SUM of 3 float32 on rank 0" in said, said
    assert "Barrier on rank" in said, said


def after_a_disagreement() -> weakref.ref[Any]:
    """The array of an operation that ranks disagreed about; nobody here refers to it."""
    group, t = dist.new_group(), dg.ones(LONG + dist.get_rank())
    assert "disagree" in error_of(lambda: dist.all_reduce(t, group=group))
    return weakref.ref(t._data)


def main() -> None:
    check_late()
    check_all()
    check_broken()
    check_other_operation()
    array = after_a_disagreement()
    dist.barrier()
    dist.destroy_process_group()
    gc.collect()
    assert array() is not None, "ranks that leave later may still read what this one was sending"
    sys.stdout.write("all told\n")


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore", RuntimeWarning)  # more ranks than cores
    dist.init_process_group(sys.argv[1], timeout=timedelta(seconds=60))
    main()
