"""What process groups and their collectives must do, on any number of ranks: on threads, and as a program by mpirun."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from distgrad import from_numpy
from distgrad.ops.creation import from_array

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # as a program under mpirun

import distgrad as dg
import distgrad.distributed as dist
from distgrad import dtypes
from distgrad.autograd import Tensor
from tests.distributed.helpers.checks import defined, expected, raises, same, sample


def numbers(rank: int, n: int, dtype: dtypes.dtype, shape: tuple[int, ...] | None = None) -> Tensor:
    return from_array(sample(rank, n, dtype).reshape(shape or (n,)))


def rows_of(n: int, dtype: dtypes.dtype) -> list[Tensor]:
    return [from_numpy(np.zeros(n, dtype.np)) for _ in range(dist.get_world_size())]


def check_every_dtype_and_operation_reduces() -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    for dtype in dtypes.ALL:
        for op in dist.ReduceOp:
            if not defined(op, dtype):
                continue
            for n in (0, 5, 40_000):  # in one hop and in two
                want = expected(op, [sample(r, n, dtype) for r in range(size)])
                t = numbers(rank, n, dtype)
                dist.all_reduce(t, op)
                assert same(t._data, want), (dtype, op, n)
                t = numbers(rank, n, dtype)
                dist.reduce(t, size - 1, op)
                assert same(t._data, want if rank == size - 1 else sample(rank, n, dtype)), (dtype, op, n)
            n = 3 * size
            want = expected(op, [sample(r, n, dtype) for r in range(size)])[3 * rank : 3 * rank + 3]
            out = from_numpy(np.zeros(3, dtype.np))
            dist.reduce_scatter_tensor(out, numbers(rank, n, dtype), op)
            assert same(out._data, want), (dtype, op)
            out = from_numpy(np.zeros(3, dtype.np))
            dist.reduce_scatter(out, [from_numpy(x) for x in sample(rank, n, dtype).reshape(size, 3)], op)
            assert same(out._data, want), (dtype, op)


def check_every_dtype_is_gathered_and_scattered() -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    for dtype in dtypes.ALL:
        mine, all_of_them = numbers(rank, 6, dtype), [sample(r, 6, dtype) for r in range(size)]
        rows = rows_of(6, dtype)
        dist.all_gather(rows, mine)
        assert all(same(row._data, x) for row, x in zip(rows, all_of_them, strict=True)), dtype
        for shape in ((6 * size,), (size, 6)):
            table = from_numpy(np.zeros(shape, dtype.np))
            dist.all_gather_into_tensor(table, mine)
            assert same(table._data, np.concatenate(all_of_them).reshape(shape)), dtype
        for root in range(size):
            rows = rows_of(6, dtype)
            dist.gather(mine, rows if rank == root else None, dst=root)
            assert rank != root or all(same(r._data, x) for r, x in zip(rows, all_of_them, strict=True)), dtype
            out = from_numpy(np.zeros(6, dtype.np))
            dist.scatter(out, [from_numpy(x) for x in all_of_them] if rank == root else None, src=root)
            assert same(out._data, all_of_them[rank]), dtype
        dist.broadcast(mine, src=size - 1)
        assert same(mine._data, all_of_them[-1]), dtype


def check_uneven_sizes() -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    rows = [from_numpy(np.zeros((r, 2), np.float32)) for r in range(size)]
    dist.all_gather(rows, from_numpy(np.full((rank, 2), rank, np.float32)))
    assert all((row._data == r).all() for r, row in enumerate(rows))
    rows = [from_numpy(np.zeros((r + 1, 2), np.float32)) for r in range(size)]
    dist.gather(from_numpy(np.full((rank + 1, 2), rank, np.float32)), rows if rank == 0 else None)
    assert rank or all((row._data == r).all() for r, row in enumerate(rows))
    out = from_numpy(np.zeros(rank + 1))
    dist.reduce_scatter(out, [from_numpy(np.full(r + 1, r + rank + 0.0)) for r in range(size)])
    assert (out._data == size * rank + size * (size - 1) / 2).all()


def check_all_to_all() -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    outs = [from_numpy(np.zeros((r + 1, 3))) for r in range(size)]
    dist.all_to_all(outs, [from_numpy(np.full((rank + 1, 3), 10 * rank + r + 0.0)) for r in range(size)])
    assert all((out._data == 10 * r + rank).all() for r, out in enumerate(outs))
    flat = from_numpy(np.arange(2 * size, dtype=np.int16) + 100 * rank)
    out = from_numpy(np.zeros(2 * size, np.int16))
    dist.all_to_all_single(out, flat)
    assert out.tolist() == [100 * r + 2 * rank + i for r in range(size) for i in range(2)]
    gives, takes = list(range(size)), [rank] * size  # nothing to rank 0
    given = from_numpy(np.repeat(np.arange(size), gives).reshape(-1, 1) + np.zeros((1, 2)) + 10 * rank)
    taken = from_numpy(np.zeros((rank * size, 2)))
    dist.all_to_all_single(taken, given, takes, gives)
    assert taken._data[:, 1].tolist() == [10 * r + rank for r in range(size) for _ in range(rank)]


def check_views_are_read_and_written() -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    base = np.zeros((size, 8), np.float32)
    rows = [from_array(base[r, ::2]) for r in range(size)]
    dist.all_gather(rows, from_numpy(np.full((4, 2), rank + 1, np.float32)[:, 0]))
    assert base.sum() == 4 * size * (size + 1) / 2
    assert (base[:, 1::2] == 0).all()
    before = rows[0]._version
    dist.broadcast(rows[0], 0)
    assert rows[0]._version == before + 1
    whole = from_numpy(np.zeros((size, 6))[:, ::2])
    dist.all_gather_into_tensor(whole, from_numpy(np.full(3, rank + 1.0)))
    assert whole._data[:, 0].tolist() == list(range(1, size + 1))


def check_asynchronous_work() -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    n, total = 50_000, size * (size + 1) / 2
    a, b, c = (from_numpy(np.full(n, rank + 1.0)) for _ in range(3))
    table, small = from_numpy(np.zeros(size)), from_numpy(np.full(1, rank + 1.0))
    works = [
        dist.all_reduce(a, async_op=True),
        dist.broadcast(b, size - 1, async_op=True),
        dist.reduce(c, 0, async_op=True),
        dist.all_gather_into_tensor(table, small, async_op=True),
        dist.all_reduce(small, async_op=True),
        dist.barrier(async_op=True),
    ]
    for work in reversed(works) if rank % 2 else works:
        assert work is not None
        assert work.wait()
        assert work.wait(timedelta(seconds=1))
        assert (work.is_completed(), work.is_success(), work.exception()) == (True, True, None)
    assert ((a._data == total).all(), (b._data == size).all()) == (True, True)
    assert (c._data == (rank + 1 if rank else total)).all()
    assert table.tolist() == list(range(1, size + 1))
    assert small.item() == total
    t = from_numpy(np.ones(3))
    work = dist.all_reduce(t, async_op=True)
    assert work is not None
    while not work.is_completed():
        pass
    assert (t._data == size).all()


def check_messages_between_two_ranks() -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    with raises(ValueError, "should not be the same as the rank of the current process"):
        dist.send(from_numpy(np.zeros(1)), rank)
    with raises(ValueError, "tag must be 0 to 16383, got 16384"):
        dist.isend(from_numpy(np.zeros(1)), rank, tag=16384)
    if size == 1:
        return
    right, left = (rank + 1) % size, (rank - 1) % size
    for n in (0, 1, 100_000):  # the last waits for its receiver in most MPIs
        for dtype in (dg.float32, dg.bfloat16, dg.bool):
            got = from_numpy(np.zeros(n, dtype.np))
            ops = [dist.P2POp(dist.isend, numbers(rank, n, dtype), right), dist.P2POp(dist.irecv, got, left, tag=0)]
            works = dist.batch_isend_irecv(ops)
            assert all(work.wait() for work in works)
            assert same(got._data, sample(left, n, dtype))
            assert works[1].source_rank() == left
    # Receives that were started first get what was sent first, in whatever order they are waited for.
    first, second = from_numpy(np.zeros(1)), from_numpy(np.zeros(1))
    receives = [dist.irecv(first, left, tag=7), dist.irecv(second, left, tag=7)]
    sends = [dist.isend(from_numpy(np.full(1, x)), right, tag=7) for x in (1.0, 2.0)]
    for work in (receives[1], receives[0], *sends):
        assert work is not None
        work.wait()
    assert (first.item(), second.item()) == (1, 2)
    if rank:
        dist.send(from_numpy(np.full(2, rank)), 0, tag=16383)
    else:
        got = from_numpy(np.zeros(2, np.int64))
        senders = []
        for _ in range(size - 1):
            senders.append(dist.recv(got, tag=16383))
            assert (got._data == senders[-1]).all()
        assert sorted(senders) == list(range(1, size))


def check_objects() -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    mine = {"rank": rank, (1, 2): [None, True, 2**70, -1.5, float("inf"), 1 + 2j, "zwölf\ud800", b"\0" * rank, {3}],
            "array": np.arange(rank, dtype=np.int16), "tensor": numbers(rank, 4, dg.bfloat16, (2, 2)),
            "kind": dg.float16, "number": np.float32(rank)}  # fmt: skip
    found: list[Any] = [None] * size
    dist.all_gather_object(found, mine)
    for r, other in enumerate(found):
        assert list(other) == list(mine)
        assert (other["rank"], other[1, 2]) == (r, [*mine[1, 2][:7], b"\0" * r, {3}])
        assert same(other["array"], np.arange(r, dtype=np.int16))
        assert same(other["tensor"]._data, sample(r, 4, dg.bfloat16).reshape(2, 2))
        assert other["kind"] is dg.float16
        assert (type(other["number"]), other["number"]) == (np.float32, r)
    for root in range(size):
        objects = [rank, "x" * (rank * 1000), None]
        dist.broadcast_object_list(objects, src=root)
        assert objects == [root, "x" * (root * 1000), None]
        found = [None] * size
        dist.gather_object(["g", rank], found if rank == root else None, dst=root)
        assert found == ([["g", r] for r in range(size)] if rank == root else [None] * size)
        got = [None, "kept"]
        dist.scatter_object_list(got, [("s", r) for r in range(size)] if rank == root else None, src=root)
        assert got == [("s", rank), "kept"]
    if size > 1:
        if rank == 0:
            dist.send_object_list([1, {"a": 2}], dst=size - 1)
        if rank == size - 1:
            got = [None, None]
            assert dist.recv_object_list(got) == 0
            assert got == [1, {"a": 2}]
    with raises(TypeError, r"the object\['net'\]\[0\] is a .*\bModule, which is not sent between ranks: None, bool"):
        dist.all_gather_object([None] * size, {"net": [dg.nn.Module()]})


def check_groups() -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    assert dist.group.WORLD is not None
    assert dist.get_process_group_ranks(None) == list(range(size))
    lower = list(range((size + 1) // 2))
    chosen = [lower, list(range(size))[::-1], [size - 1], *[[r, (r + 1) % size] for r in range(size) if size > 1]]
    for ranks in chosen:
        group = dist.new_group(ranks, sort_ranks=False, timeout=timedelta(seconds=100))
        if rank not in ranks:
            assert group == dist.GroupMember.NON_GROUP_MEMBER
            assert (dist.get_rank(group), dist.get_world_size(group)) == (-1, -1)
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                assert dist.all_reduce(from_numpy(np.ones(1)), group=group) is None
            if dist.get_backend() != "threads":  # whose warnings are recorded by all together
                assert f"Running all_reduce on global rank {rank} which does not" in str(seen[0].message)
            continue
        me = ranks.index(rank)
        assert (dist.get_rank(group), dist.get_world_size(group)) == (me, len(ranks))
        assert dist.get_process_group_ranks(group) == ranks
        assert (dist.get_group_rank(group, rank), dist.get_global_rank(group, me)) == (me, rank)
        with raises(ValueError, f"Global rank {size} is not part of group"):
            dist.get_group_rank(group, size)
        for n in (3, 50_000):
            t = from_numpy(np.full(n, rank + 1.0))
            dist.all_reduce(t, group=group)
            assert (t._data == sum(r + 1 for r in ranks)).all()
        t = from_numpy(np.full(2, rank))
        dist.broadcast(t, src=ranks[-1], group=group)
        assert (t._data == ranks[-1]).all()
        t = from_numpy(np.full(2, rank))
        dist.broadcast(t, group_src=0, group=group)
        assert (t._data == ranks[0]).all()
        found: list[Any] = [None] * len(ranks)
        dist.all_gather_object(found, rank, group=group)
        assert found == ranks
        dist.barrier(group)
        dist.monitored_barrier(group)
        if len(ranks) > 1 and me < 2:
            if me == 0:
                dist.send(from_numpy(np.full(1, rank)), ranks[1], group)
            else:
                assert dist.recv(from_numpy(np.zeros(1, np.int64)), group=group) == ranks[0]
        with raises(ValueError, f"src={size} does not exist in the group: its ranks are"):
            dist.broadcast(t, src=size, group=group)
        with raises(ValueError, "Can't specify both group_src and src"):
            dist.broadcast(t, src=ranks[0], group=group, group_src=0)
        dist.destroy_process_group(group)
        with raises(ValueError, "has been destroyed"):
            dist.barrier(group)
    dist.barrier()


def check_groups_work_beside_each_other() -> None:
    """Operations of different groups are waited for in different orders."""
    rank, size = dist.get_rank(), dist.get_world_size()
    one, two = dist.new_group(), dist.new_group()
    a, b = from_numpy(np.full(60_000, rank + 1.0)), from_numpy(np.full(60_000, rank + 2.0))
    works = [dist.all_reduce(a, group=one, async_op=True), dist.all_reduce(b, group=two, async_op=True)]
    for work in reversed(works) if rank % 2 else works:
        assert work is not None
        work.wait()
    assert (a._data == size * (size + 1) / 2).all()
    assert (b._data == size * (size + 3) / 2).all()
    if size % 2 == 0:
        mine, groups = dist.new_subgroups(2)
        assert dist.get_process_group_ranks(mine) == [rank // 2 * 2, rank // 2 * 2 + 1]
        assert groups[rank // 2] is mine
    with raises(ValueError, "ranks list must not contain duplicate entries"):
        dist.new_group([0, 0])
    with raises(ValueError, f"Rank {size} is out of range. Valid ranks are 0 to {size - 1}"):
        dist.new_group([size])
    with raises(ValueError, "backend must be None or the default group's"):
        dist.new_group(backend="other")


def check_bad_arguments_are_refused_before_anything_is_sent() -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    one = from_numpy(np.zeros(1))
    with raises(ValueError, "Must specify src or group_src"):
        dist.broadcast(one)
    with raises(ValueError, "Invalid usage of tensors with different dtypes"):
        dist.all_gather([from_numpy(np.zeros(1, np.float32))] * size, one)
    with raises(ValueError, "must be specified on dest" if rank == 0 else "must NOT be specified on non-dest"):
        dist.gather(one, [one] * size if rank else None)
    with raises(ValueError, "must be specified on source rank" if rank == 0 else "must NOT be specified on non-source"):
        dist.scatter(one, [one] * size if rank else None)
    with raises(ValueError, "output tensor size must be equal to world_size times input"):
        dist.all_gather_into_tensor(from_numpy(np.zeros(size + 1)), one)
    with raises(TypeError, "output tensor must have the same type"):
        dist.all_gather_into_tensor(from_numpy(np.zeros(size, np.float32)), one)
    with raises(ValueError, "input tensor must be the same size as output size times"):
        dist.reduce_scatter_tensor(one, from_numpy(np.zeros(size + 1)))
    with raises(ValueError, "do not add up to the input's first dimension, 4"):
        dist.all_to_all_single(one, from_numpy(np.zeros(4)), None, [3] + [0] * (size - 1))
    with raises(TypeError, "`input_list` to be a list of Tensors, got Tensor"):
        dist.reduce_scatter(one, one)  # type: ignore[arg-type]
    with raises(ValueError, "Invalid ``op``"):
        dist.P2POp(dist.all_reduce, one, 0)
    with raises(ValueError, "list of distributed.P2POp"):
        dist.batch_isend_irecv([one])  # type: ignore[list-item]
    with raises(TypeError, "group must be a ProcessGroup or None, got str"):
        dist.barrier("world")  # type: ignore[arg-type]
    dist.barrier(timeout=timedelta(seconds=100))


CHECKS: dict[str, Callable[[], None]] = {
    name.removeprefix("check_"): f for name, f in list(globals().items()) if name.startswith("check_")
}


def run_all(backend_name: str) -> Iterator[str]:
    """Every check on this rank, in a process group of ``backend_name``."""
    dist.init_process_group(backend_name)
    for name, check in CHECKS.items():
        check()
        yield name
    dist.destroy_process_group()


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)  # more ranks than cores has a test of its own
    done = list(run_all(sys.argv[1]))
    sys.stdout.write(f"rank passed {len(done)} checks\n")
