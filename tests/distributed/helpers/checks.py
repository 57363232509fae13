"""What every communicator must do, written once: run in one process, on threads, and (as a program) under mpirun."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import distgrad.distributed as dist
from distgrad import backend, dtypes, from_numpy
from distgrad.autograd import Tensor
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.reduction import ReduceOp
from distgrad.distributed.process_groups.default_group import get_group
from distgrad.ops.creation import from_array

SIZES = (0, 1, 7, 1000, 70_000)  # the last is beyond what the mpi communicator sends in one hop


def sample(rank: int, n: int, dtype: dtypes.dtype, seed: int = 0) -> np.ndarray:
    """Numbers of rank ``rank`` that every rank can make: also integers that overflow, and sums that round."""
    rng = np.random.default_rng([seed, rank, n])
    if dtype.category == 0:
        return rng.random(n) < 0.5
    if dtype.category == 1:
        info = dtypes.iinfo(dtype)
        return rng.integers(info.min, info.max, n, dtype.np, endpoint=True)
    if dtype.is_complex:
        return (rng.standard_normal(n) + 1j * rng.standard_normal(n)).astype(dtype.np)
    return (rng.standard_normal(n) * 3).astype(dtype.np)


def times(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The complex product without fused multiply-adds, which NumPy uses or not by length and overlap."""
    real, imag = x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real
    return np.stack([real, imag], axis=-1).view(x.dtype)[..., 0]


def expected(op: ReduceOp, operands: list[np.ndarray]) -> np.ndarray:
    """The reduction, spelt out: left to right in rank order, narrow floats in float32."""
    multiply = times if operands[0].dtype.kind == "c" else np.multiply
    ufuncs = {
        "PRODUCT": multiply, "MIN": np.minimum, "MAX": np.maximum,
        "BAND": np.bitwise_and, "BOR": np.bitwise_or, "BXOR": np.bitwise_xor,
    }  # fmt: skip
    ufunc = ufuncs.get(op.name, np.add)
    narrow = operands[0].dtype in (dtypes.float16.np, dtypes.bfloat16.np)
    wide = [x.astype(np.float32) if narrow else x for x in operands]
    with np.errstate(all="ignore"):
        total = functools.reduce(ufunc, wide[1:], wide[0])
        if op is ReduceOp.AVG:
            parts = total.view(total.real.dtype)
            total = (parts / parts.dtype.type(len(operands))).view(total.dtype)
        return total.astype(operands[0].dtype)


def defined(op: ReduceOp, dtype: dtypes.dtype) -> bool:
    if op.name in ("BAND", "BOR", "BXOR"):
        return dtype.category < 2
    if dtype.is_complex:
        return op.name not in ("MIN", "MAX", "PREMUL_SUM")
    return op is not ReduceOp.PREMUL_SUM and (op is not ReduceOp.AVG or dtype.category > 1)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal bit for bit, and of one dtype and shape."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def check_allreduce_gives_the_same_bits_for_every_dtype(comm: Communicator) -> None:
    for dtype in dtypes.ALL:
        for op in ReduceOp:
            if not defined(op, dtype):
                continue
            for n in SIZES:
                array = sample(comm.rank, n, dtype)
                comm.Allreduce(array, op)
                want = expected(op, [sample(r, n, dtype) for r in range(comm.size)])
                assert same(array, want), (dtype, op, n, array, want)


def check_bitwise_operations(comm: Communicator) -> None:
    """By hand: rank ``r`` brings bit ``r``, and a bit that all have."""
    size, rank = comm.size, comm.rank
    own, common = 1 << rank, 64
    wants = {
        ReduceOp.BAND: common | (1 if size == 1 else 0),
        ReduceOp.BOR: common | ((1 << size) - 1),
        ReduceOp.BXOR: ((1 << size) - 1) | (common if size % 2 else 0),
    }
    for op, want in wants.items():
        for kind in (np.int8, np.uint8, np.int16, np.int32, np.int64):
            array = np.full(3, own | common, kind)
            comm.Allreduce(array, op)
            assert same(array, np.full(3, want, kind)), (op, kind, array)
            array = np.full(3, own | common, kind)
            comm.Reduce(array, op, size - 1)
            assert same(array, np.full(3, want if rank == size - 1 else own | common, kind)), (op, kind, array)
            out = np.zeros(2, kind)
            comm.Ireduce_scatter([np.full(2, own | common, kind)] * size, out, op).Wait()
            assert same(out, np.full(2, want, kind)), (op, kind, out)
        flags = np.array([True, False, rank == 0])
        comm.Allreduce(flags, op)
        odd = size % 2 == 1
        found = {ReduceOp.BAND: [True, False, size == 1], ReduceOp.BOR: [True, False, True]}.get(op, [odd, False, True])
        assert flags.tolist() == found, (op, flags)


def check_allreduce_keeps_the_shape(comm: Communicator) -> None:
    for shape in ((), (3, 4), (2, 0, 5)):
        array = np.full(shape, comm.rank + 1.0)
        comm.Allreduce(array)
        assert same(array, np.full(shape, comm.size * (comm.size + 1) / 2)), array


def check_messages_over_the_limit_are_split(comm: Communicator) -> None:
    """F13: with the limit lowered to 1000 bytes no message is longer, and the bits are the same."""
    whole = sample(comm.rank, 5001, dtypes.float32)
    pieces = whole.copy()
    comm.Allreduce(whole)
    message, table = sample(comm.rank, 777, dtypes.float64), np.empty((comm.size, 777))
    sends = not comm.per_thread and not comm.device_pointers
    lower: dict[str, Any] = {"max_count": 1000, "wire": Recorder(comm)} if sends else {}
    kept = {name: getattr(comm, name) for name in lower}
    vars(comm).update(lower)
    try:
        comm.Allreduce(pieces)
        assert same(whole, pieces)
        comm.Allgather(message, table)
        for r in range(comm.size):
            assert same(table[r], sample(r, 777, dtypes.float64))
            array = message.copy()
            comm.Bcast(array, r)
            assert same(array, sample(r, 777, dtypes.float64))
            array = message.copy()
            comm.Reduce(array, ReduceOp.SUM, r)
            want = expected(ReduceOp.SUM, [sample(q, 777, dtypes.float64) for q in range(comm.size)])
            assert same(array, want if comm.rank == r else message)
        received = list(np.empty_like(table))
        comm.Ialltoallv([message + r for r in range(comm.size)], received).Wait()
        for r in range(comm.size):
            assert same(received[r], sample(r, 777, dtypes.float64) + comm.rank)
        if comm.size > 1:
            after, before = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
            array = np.empty_like(message)
            if comm.rank:
                comm.Recv(array, before)
                comm.Send(message, after)
            else:
                comm.Send(message, after)
                comm.Recv(array, before)
            assert same(array, sample(before, 777, dtypes.float64))
    finally:
        vars(comm).update(kept)
    if lower and comm.size > 1:
        assert 0 < lower["wire"].largest <= 1000


def check_operations_overlap(comm: Communicator) -> None:
    arrays = [sample(comm.rank, n, dtypes.float32, seed=n) for n in (70_000, 3, 40_000, 100_000, 1)]
    operands = [[sample(r, a.size, dtypes.float32, seed=a.size) for r in range(comm.size)] for a in arrays]
    wants = [expected(ReduceOp.SUM, x) for x in operands]
    requests = [comm.Iallreduce(a) for a in arrays]
    order = reversed(requests) if comm.rank % 2 else iter(requests)  # ranks need not wait in one order
    for request in order:
        request.Wait()
        request.Wait()  # waiting again is harmless
        assert request.Test()
    for array, want in zip(arrays, wants, strict=True):
        assert same(array, want)


def check_bcast(comm: Communicator) -> None:
    for dtype in dtypes.ALL:
        for root in range(comm.size):
            array = sample(comm.rank, 33, dtype)
            comm.Bcast(array, root)
            assert same(array, sample(root, 33, dtype)), (dtype, root)


def check_allgather(comm: Communicator) -> None:
    for dtype in dtypes.ALL:
        table = np.zeros((comm.size, 3, 5), dtype.np)
        comm.Allgather(sample(comm.rank, 15, dtype).reshape(3, 5), table)
        for r in range(comm.size):
            assert same(table[r].reshape(-1), sample(r, 15, dtype)), (dtype, r)


def check_reduce_reaches_the_root_alone(comm: Communicator) -> None:
    for root in range(comm.size):
        array = sample(comm.rank, 50, dtypes.float64)
        comm.Reduce(array, ReduceOp.SUM, root)
        all_of_them = [sample(r, 50, dtypes.float64) for r in range(comm.size)]
        assert same(array, expected(ReduceOp.SUM, all_of_them) if comm.rank == root else all_of_them[comm.rank])


def check_send_and_recv(comm: Communicator) -> None:
    if comm.size == 1:
        return
    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    got = np.zeros(10)
    for tag in (0, 255):
        if comm.rank == 0:
            comm.Send(np.full(10, 0.0 + tag), right, tag)
            comm.Recv(got, left, tag)
        else:
            comm.Recv(got, left, tag)
            comm.Send(np.full(10, comm.rank + float(tag)), right, tag)
        assert (got == left + tag).all()


def check_objects(comm: Communicator) -> None:
    value = {"rank": comm.rank, "text": "zwölf", "list": [1.5, None, "x" * 70_000]}
    assert comm.bcast(value if comm.rank == comm.size - 1 else None, comm.size - 1)["rank"] == comm.size - 1
    assert comm.allgather(["a" * comm.rank, comm.rank]) == [["a" * r, r] for r in range(comm.size)]


def check_duplicates_do_not_meet(comm: Communicator) -> None:
    other = comm.Dup()
    assert (other.rank, other.size, other.local_rank) == (comm.rank, comm.size, comm.local_rank)
    a, b = np.array([1.0]), np.array([10.0])
    pairs = [(comm, a), (other, b)] if comm.rank % 2 else [(other, b), (comm, a)]
    for request in [one.Iallreduce(array) for one, array in pairs]:
        request.Wait()
    assert (a[0], b[0]) == (comm.size, 10 * comm.size)
    other.Barrier()
    other.Free()


def check_local_ranks(comm: Communicator) -> None:
    assert comm.allgather([comm.local_rank, comm.local_size]) == [[r, comm.size] for r in range(comm.size)]


def check_bad_calls_are_refused_before_anything_is_sent(comm: Communicator) -> None:
    with raises(ValueError, "not defined on complex"):
        comm.Allreduce(np.zeros(3, np.complex64), ReduceOp.MAX)
    with raises(ValueError, "AVG needs floating-point"):
        comm.Allreduce(np.zeros(3, np.int32), ReduceOp.AVG)
    for op in (ReduceOp.BAND, ReduceOp.BOR, ReduceOp.BXOR):
        for kind in (np.float64, dtypes.float16.np, dtypes.bfloat16.np):
            with raises(RuntimeError, f"Cannot use ReduceOp.{op.name} with non-integral dtype"):
                comm.Allreduce(np.zeros(3, kind), op)
            with raises(RuntimeError, f"Cannot use ReduceOp.{op.name} with non-integral dtype"):
                comm.Reduce(np.zeros(3, kind), op)
            with raises(RuntimeError, f"Cannot use ReduceOp.{op.name} with non-integral dtype"):
                comm.Ireduce_scatter([np.zeros(3, kind)] * comm.size, np.zeros(3, kind), op)
        with raises(ValueError, "not defined on complex"):
            comm.Allreduce(np.zeros(3, np.complex64), op)
    with raises(RuntimeError, "Cannot use ReduceOp.PREMUL_SUM without NCCL"):
        comm.Allreduce(np.zeros(3), ReduceOp.PREMUL_SUM)
    with raises(TypeError, "ReduceOp.SUM"):
        comm.Allreduce(np.zeros(3), "sum")  # type: ignore[arg-type]
    with raises(ValueError, f"rank {comm.size} does not exist"):
        comm.Bcast(np.zeros(3), comm.size)
    with raises(TypeError, "dtype|type"):
        comm.Allreduce(np.zeros(3, "datetime64[s]"))
    comm.Barrier()


def check_all_reduce_of_tensors(comm: Communicator) -> None:
    total = comm.size * (comm.size + 1) / 2
    base = np.zeros((4, 6), np.float32)
    view = from_array(base[::2, 1:4])  # not contiguous
    view._data[...] = comm.rank + 1
    assert dist.all_reduce(view) is None
    assert (view._data == total).all()
    assert base.sum() == np.float32(total) * 6
    t = from_numpy(np.full(5, comm.rank + 1.0))
    work = dist.all_reduce(t, op=dist.ReduceOp.AVG, async_op=True)
    assert work is not None
    assert work.wait()
    assert work.is_completed()
    assert (t._data == total / comm.size).all()
    with raises(TypeError, "to be a Tensor, got ndarray"):
        dist.all_reduce(np.zeros(3))  # type: ignore[arg-type]


def check_other_collectives_of_tensors(comm: Communicator) -> None:
    last = comm.size - 1
    t = from_numpy(np.full((2, 3), float(comm.rank)).T)
    dist.broadcast(t, src=last)
    assert (t._data == last).all()
    t = from_numpy(np.array(comm.rank + 1, np.int64))
    dist.reduce(t, dst=last, op=dist.ReduceOp.MAX)
    assert int(t._data) == (comm.size if comm.rank == last else comm.rank + 1)
    rows = [from_numpy(np.zeros(2, np.float32)) for _ in range(comm.size)]
    dist.all_gather(rows, from_numpy(np.full(2, comm.rank, np.float32)))
    assert [float(row._data[1]) for row in rows] == list(range(comm.size))
    with raises(ValueError, "one tensor for each of the"):
        dist.all_gather(rows[1:], rows[0])
    with raises(ValueError, "they must be equal"):
        dist.all_gather([from_numpy(np.zeros(3, np.float32)) for _ in rows], rows[0])
    dist.barrier()


def check_device_arrays_are_staged(comm: Communicator) -> None:
    """F18: no array of a device reaches a communicator that cannot take it."""
    if comm.device_pointers:
        return
    t = object.__new__(Tensor)  # the double is not known outside the block below, which other threads share
    t._data = DeviceArray(np.full((3, 2), comm.rank + 1.0))
    t._node = t._vc = t._view = None
    with raises(TypeError, "expected an array of numpy or cupy"):
        dist.all_reduce(t)
    comm.Barrier()
    if not comm.per_thread:
        with backend.accelerator_as(Double()):  # type: ignore[arg-type]
            dist.all_reduce(t)
            dist.broadcast(t, src=comm.size - 1)
        assert (t._data.hidden == comm.size * (comm.size + 1) / 2).all()


class Recorder:
    """In the place of an mpi4py communicator: notes the longest message."""

    def __init__(self, comm: Any) -> None:
        self.inner, self.largest = comm.wire, 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            sizes = [a[0].nbytes for a in args if isinstance(a, list)]
            self.largest = max([self.largest, *sizes])
            return getattr(self.inner, name)(*args)

        return call


class DeviceArray:
    """An array NumPy cannot see into."""

    __array__ = None

    def __init__(self, hidden: np.ndarray) -> None:
        self.hidden = hidden
        self.shape, self.dtype, self.flags = hidden.shape, hidden.dtype, hidden.flags

    def __setitem__(self, index: object, value: DeviceArray) -> None:
        self.hidden[index] = value.hidden  # type: ignore[call-overload]


class Double:
    """The accelerator of :class:`DeviceArray`."""

    module, array_type = np, DeviceArray

    def device_count(self) -> int:
        return 1

    def index_of(self, array: DeviceArray) -> int:
        return 0

    def to_host(self, array: DeviceArray) -> np.ndarray:
        return array.hidden.copy()

    def to_device(self, array: np.ndarray, index: int) -> DeviceArray:
        return DeviceArray(array.copy())

    def synchronize(self) -> None:
        return


class raises:  # noqa: N801 - pytest's name
    """pytest's, which takes long to import on every rank: the block raises ``kind`` with ``pattern`` in its message."""

    def __init__(self, kind: type[BaseException], pattern: str) -> None:
        self.kind, self.pattern = kind, pattern

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        import re

        assert kind is not None, f"nothing was raised, expected {self.kind.__name__}"
        if not issubclass(kind, self.kind):
            return False
        assert re.search(self.pattern, str(error)), f"{error!r} does not match {self.pattern!r}"
        return True


CHECKS: dict[str, Callable[[Communicator], None]] = {
    name.removeprefix("check_"): f for name, f in list(globals().items()) if name.startswith("check_")
}


def run_all(backend_name: str) -> Iterator[str]:
    """Every check on this rank, in a process group of ``backend_name``."""
    dist.init_process_group(backend_name)
    for name, check in CHECKS.items():
        check(get_group().comm)
        yield name
    dist.destroy_process_group()


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore", RuntimeWarning)  # more ranks than cores, staging: both have tests of their own
    done = list(run_all(sys.argv[1]))
    sys.stdout.write(f"rank passed {len(done)} checks\n")
