"""Messages whose receiver expects another length or dtype; a program for ranks, and for threads that are ranks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import distgrad as dg
import distgrad.distributed as dist

# Elements sent, elements of the place, and both dtypes; a place lies in front of others that nobody may touch.
MISFITS = [
    (8, 4, dg.float32, dg.float32),
    (5, 4, dg.float64, dg.float64),
    (2, 4, dg.float32, dg.float32),
    (1, 0, dg.float32, dg.float32),
    (0, 3, dg.int64, dg.int64),
    (100_000, 4, dg.float32, dg.float32),
    (50_000, 49_999, dg.float64, dg.float64),
    (1_000_000, 10, dg.uint8, dg.uint8),
    (4, 100_000, dg.float32, dg.float32),
    (4, 4, dg.float32, dg.int32),
    (4, 8, dg.float64, dg.float32),
    (30_000, 30_000, dg.int64, dg.float64),
    (6, 3, dg.bool, dg.bool),
    (7, 2, dg.bfloat16, dg.bfloat16),
]


def _recv(place: dg.Tensor, source: int, group: Any) -> None:
    dist.recv(place, source, group=group, tag=3)


def _recv_from_any(place: dg.Tensor, source: int, group: Any) -> None:
    dist.recv(place, group=group, tag=3)


def _irecv(place: dg.Tensor, source: int, group: Any) -> None:
    work: Any = dist.irecv(place, source, group=group, tag=3)
    while not work.is_completed():
        pass
    assert not work.is_success()
    work.wait()


def _batch(place: dg.Tensor, source: int, group: Any) -> None:
    for work in dist.batch_isend_irecv([dist.P2POp(dist.irecv, place, source, group, 3)]):
        work.wait()


WAYS: list[Callable[[dg.Tensor, int, Any], None]] = [_recv, _recv_from_any, _irecv, _batch]


def _error_of(receive: Callable[[dg.Tensor, int, Any], None], place: dg.Tensor, source: int, group: Any) -> str:
    try:
        receive(place, source, group)
    except dist.DistError as error:
        return str(error)
    return f"{receive.__name__}: taken"


def check_misfits() -> None:
    """The last rank sends; rank 0 gets an error that tells all, an untouched place, and afterwards the right ones."""
    rank, last = dist.get_rank(), dist.get_world_size() - 1
    pair = dist.new_group([last, 0], sort_ranks=False)  # in which they have other numbers
    for group in (None, pair):
        for receive in WAYS:
            for sent, taken, kind, other in MISFITS:
                if rank == last:
                    message = (dg.arange(sent) % 2 + 1).to(kind)
                    dist.send(message, 0, group=group, tag=3)
                    dist.send(dg.arange(5), 0, group=group, tag=3)
                elif rank == 0:
                    whole = dg.zeros(taken + 10, dtype=other)
                    said = _error_of(receive, whole[:taken], last, group)
                    assert f"rank 0 receives {taken} elements of {other.np} from rank {last}," in said, said
                    assert f"which sent {sent} of {kind.np}" in said, said
                    assert not whole.to(dg.float32).any(), (receive.__name__, sent, taken)
                    found = dg.zeros(5, dtype=dg.int64)
                    dist.recv(found, last, group=group, tag=3)
                    assert found.tolist() == [0, 1, 2, 3, 4], found


def check_order() -> None:
    """Receives started before their messages get them in order, short and long, beside others of other tags."""
    rank, last = dist.get_rank(), dist.get_world_size() - 1
    lengths = [3, 200_000, 1, 0, 5_000, 70_000, 2]
    if rank == last:
        for tag in (1, 0):
            for i, n in enumerate(lengths):
                dist.send(dg.full((n,), 10.0 * tag + i), 0, tag=tag)
    elif rank == 0:
        places = {tag: [dg.zeros(n + 1) for n in lengths] for tag in (0, 1)}
        works = [dist.irecv(p[:-1], last, tag=tag) for tag in (0, 1) for p in places[tag]]
        for work in reversed(works):
            assert work is not None
            work.wait()
        for tag in (0, 1):
            for i, (n, place) in enumerate(zip(lengths, places[tag], strict=True)):
                assert place.tolist() == [10.0 * tag + i] * n + [0.0], (tag, i)


def main() -> None:
    check_misfits()
    check_order()
    dist.barrier()
    sys.stdout.write("fits\n")


if __name__ == "__main__":
    dist.init_process_group(sys.argv[1])
    main()
