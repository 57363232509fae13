"""Checks of communicators."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

import distgrad
from distgrad import dtypes, nn
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.errors import DistError, DistTimeoutError
from distgrad.distributed.communication.reduction import ReduceOp, check_op, combine
from distgrad.distributed.process_groups.default_group import ProcessGroup
from distgrad.nn.parallel import DistributedDataParallel

from .communicator_trial import CommunicatorTrial
from .report import NotApplicable, check, demand, must_raise, same_bits

SIZES = (0, 1, 7, 1000, 70_000)  # short messages and long ones, which many libraries send in other ways


def defined(op: ReduceOp, dtype: dtypes.dtype) -> bool:
    """Whether ``op`` can be asked for."""
    try:
        check_op(op, dtype.np)
    except (ValueError, RuntimeError):
        return False
    return True


OPS = {op: [d for d in dtypes.ALL if defined(op, d)] for op in ReduceOp}


def numbers(rank: int, n: int, dtype: dtypes.dtype) -> np.ndarray:
    """Numbers of ``rank`` that every rank can make: integers that overflow, sums that round."""
    rng = np.random.default_rng([rank, n])
    if dtype.category == 0:
        return rng.random(n) < 0.5
    if dtype.category == 1:
        info = dtypes.iinfo(dtype)
        return rng.integers(info.min, info.max, n, dtype.np, endpoint=True)
    if dtype.is_complex:
        return (rng.standard_normal(n) + 1j * rng.standard_normal(n)).astype(dtype.np)
    return (rng.standard_normal(n) * 3).astype(dtype.np)


def reduced(op: ReduceOp, n: int, dtype: dtypes.dtype, size: int) -> np.ndarray:
    """What ``size`` ranks' :func:`numbers` make together, taken in rank order."""
    out = np.empty(n, dtype.np)
    combine(op, [numbers(r, n, dtype) for r in range(size)], out)
    return out


def _equal(got: np.ndarray, want: np.ndarray, what: str) -> None:
    demand(same_bits([got], [want]), f"{what} gives {got.reshape(-1)[:3]} …, not {want.reshape(-1)[:3]} …")


@check("communicator")
def constructs(trial: CommunicatorTrial) -> None:
    """It knows its rank, the number of ranks, and both among the ranks of its node."""

    def body(comm: Communicator) -> None:
        for name in ("rank", "size", "local_rank", "local_size"):
            demand(isinstance(getattr(comm, name, None), int), f"the attribute {name} is not an int")
        demand(0 <= comm.rank < comm.size, f"rank {comm.rank} of {comm.size}")
        demand(0 <= comm.local_rank < comm.local_size <= comm.size, f"local rank {comm.local_rank}/{comm.local_size}")

    trial.on_ranks(body)


@check("communicator")
def allreduce(trial: CommunicatorTrial) -> None:
    """Allreduce takes the ranks' arrays in rank order: the same bits for every dtype, operation and length."""

    def body(comm: Communicator) -> None:
        for op, kinds in OPS.items():
            for dtype in kinds:
                for n in SIZES if dtype in (distgrad.float32, distgrad.bfloat16) else (7, 70):
                    array = numbers(comm.rank, n, dtype)
                    comm.Allreduce(array, op)
                    what = f"Allreduce {op.name} of {n} {dtype} on rank {comm.rank} of {comm.size}"
                    _equal(array, reduced(op, n, dtype, comm.size), what)

    trial.on_ranks(body)


@check("communicator")
def shapes(trial: CommunicatorTrial) -> None:
    """Arrays keep their shape."""

    def body(comm: Communicator) -> None:
        for shape in ((), (3, 4), (2, 0, 5)):
            array = np.full(shape, comm.rank + 1.0)
            comm.Allreduce(array)
            _equal(array, np.full(shape, comm.size * (comm.size + 1) / 2), f"Allreduce of the shape {shape}")

    trial.on_ranks(body)


@check("communicator")
def overlap(trial: CommunicatorTrial) -> None:
    """Several Iallreduce may be under way, and be waited for in any order, more than once."""

    def body(comm: Communicator) -> None:
        lengths = (70_000, 3, 40_000, 1)
        arrays = [numbers(comm.rank, n, distgrad.float32) for n in lengths]
        requests = [comm.Iallreduce(a) for a in arrays]
        for request in reversed(requests) if comm.rank % 2 else requests:
            request.Wait()
            request.Wait()
            demand(request.Test(), "Test() is not True after Wait()")
        for n, array in zip(lengths, arrays, strict=True):
            _equal(array, reduced(ReduceOp.SUM, n, distgrad.float32, comm.size), f"one of several Iallreduce, of {n},")

    trial.on_ranks(body)


@check("communicator")
def bcast(trial: CommunicatorTrial) -> None:
    """Bcast gives every rank the array of the root, whichever that is."""

    def body(comm: Communicator) -> None:
        for dtype in dtypes.ALL:
            for root in range(comm.size):
                array = numbers(comm.rank, 33, dtype)
                comm.Bcast(array, root)
                _equal(array, numbers(root, 33, dtype), f"Bcast of {dtype} from {root} on rank {comm.rank}")

    trial.on_ranks(body)


@check("communicator")
def allgather(trial: CommunicatorTrial) -> None:
    """Allgather puts rank r's array into row r."""

    def body(comm: Communicator) -> None:
        for dtype in dtypes.ALL:
            table = np.zeros((comm.size, 3, 5), dtype.np)
            comm.Allgather(numbers(comm.rank, 15, dtype).reshape(3, 5), table)
            for r in range(comm.size):
                _equal(table[r].reshape(-1), numbers(r, 15, dtype), f"row {r} of Allgather of {dtype}")

    trial.on_ranks(body)


@check("communicator")
def reduce(trial: CommunicatorTrial) -> None:
    """Reduce writes to the root's array alone."""

    def body(comm: Communicator) -> None:
        for root in range(comm.size):
            array = numbers(comm.rank, 50, distgrad.float64)
            comm.Reduce(array, ReduceOp.SUM, root)
            mine = numbers(comm.rank, 50, distgrad.float64)
            want = reduced(ReduceOp.SUM, 50, distgrad.float64, comm.size) if comm.rank == root else mine
            _equal(array, want, f"Reduce to {root} on rank {comm.rank}")

    trial.on_ranks(body)


@check("communicator")
def send_and_recv(trial: CommunicatorTrial) -> None:
    """Send and Recv move an array from one rank to another, by tag."""

    def body(comm: Communicator) -> None:
        right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
        for tag in (0, 255):
            got = np.zeros(10)
            if comm.rank == 0:
                comm.Send(np.full(10, float(tag)), right, tag)
                comm.Recv(got, left, tag)
            else:
                comm.Recv(got, left, tag)
                comm.Send(np.full(10, comm.rank + float(tag)), right, tag)
            _equal(got, np.full(10, left + float(tag)), f"Recv from {left}")

    trial.on_ranks(body, least=2)


@check("communicator")
def messages(trial: CommunicatorTrial) -> None:
    """Isend and Irecv overlap; receives of one tag get messages in the order both were started in."""

    def body(comm: Communicator) -> None:
        right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
        for n in (0, 5, 70_000):
            got = [np.zeros(n), np.zeros(n)]
            receives = [comm.Irecv(array, left, 3) for array in got]
            sends = [comm.Isend(np.full(n, comm.rank + 0.5 * i), right, 3) for i in range(2)]
            for request in (*receives, *sends):
                request.Wait()
                demand(request.Test(), "Test() is not True after Wait()")
            for i in range(2):
                _equal(got[i], np.full(n, left + 0.5 * i), f"message {i} of {n} from {left}")

    trial.on_ranks(body, least=2)


@check("communicator")
def alltoallv(trial: CommunicatorTrial) -> None:
    """Ialltoallv moves an array of its own length from every rank to every rank; Igatherv and Iscatterv, to one."""

    def body(comm: Communicator) -> None:
        rank, size = comm.rank, comm.size
        send = [np.full(r * 1000, 10.0 * rank + r) for r in range(size)]
        recv = [np.zeros(rank * 1000) for _ in range(size)]
        comm.Ialltoallv(send, recv).Wait()
        for r, array in enumerate(recv):
            _equal(array, np.full(rank * 1000, 10.0 * r + rank), f"what Ialltoallv brings from {r} to {rank}")
        for root in range(size):
            rows = [np.zeros(r) for r in range(size)]
            comm.Igatherv(np.full(rank, rank + 1.0), rows if rank == root else None, root).Wait()
            for r, row in enumerate(rows if rank == root else []):
                _equal(row, np.full(r, r + 1.0), f"what Igatherv brings from {r} to {root}")
            part = np.zeros(rank)
            comm.Iscatterv([np.full(r, r + 1.0) for r in range(size)] if rank == root else None, part, root).Wait()
            _equal(part, np.full(rank, rank + 1.0), f"what Iscatterv brings from {root} to {rank}")

    trial.on_ranks(body)


@check("communicator")
def reduce_scatter(trial: CommunicatorTrial) -> None:
    """Ireduce_scatter takes the ranks' arrays in rank order, and gives each rank its own."""

    def body(comm: Communicator) -> None:
        for dtype in (distgrad.float32, distgrad.bfloat16, distgrad.int8):
            send = list(numbers(comm.rank, 6 * comm.size, dtype).reshape(comm.size, 6))
            out = np.zeros(6, dtype.np)
            comm.Ireduce_scatter(send, out).Wait()
            want = reduced(ReduceOp.SUM, 6 * comm.size, dtype, comm.size).reshape(comm.size, 6)[comm.rank]
            _equal(out, want, f"Ireduce_scatter of {dtype} on rank {comm.rank}")

    trial.on_ranks(body)


@check("communicator")
def groups(trial: CommunicatorTrial) -> None:
    """Create_group numbers its members in the order given; its operations never meet those of others."""
    if trial.cls.Create_group is Communicator.Create_group:  # type: ignore[attr-defined]
        raise NotApplicable("it has no Create_group, so new_group() is an error with it")

    def body(comm: Communicator) -> None:
        for ranks in ([0], list(range(comm.size))[::-1], [comm.size - 1, 0][: comm.size]):
            group = comm.Create_group(ranks)
            demand((group is None) == (comm.rank not in ranks), f"Create_group({ranks}) on rank {comm.rank}: {group!r}")
            if group is None:
                continue
            me = ranks.index(comm.rank)
            demand((group.rank, group.size) == (me, len(ranks)), f"rank {group.rank} of {group.size} in {ranks}")
            table = np.zeros((len(ranks), 1))
            group.Allgather(np.full(1, float(comm.rank)), table)
            _equal(table[:, 0], np.array(ranks, float), f"Allgather in the group of {ranks}")
            group.Free()
        comm.Barrier()

    trial.on_ranks(body)


@check("communicator")
def objects(trial: CommunicatorTrial) -> None:
    """bcast and allgather move JSON."""

    def body(comm: Communicator) -> None:
        last = comm.size - 1
        found = comm.bcast({"rank": comm.rank, "text": "zwölf" * 1000} if comm.rank == last else None, last)
        demand(found == {"rank": last, "text": "zwölf" * 1000}, f"bcast gives {str(found)[:60]}")
        rows = comm.allgather(["a" * comm.rank, comm.rank])
        demand(rows == [["a" * r, r] for r in range(comm.size)], f"allgather gives {rows}")

    trial.on_ranks(body)


@check("communicator")
def duplicates(trial: CommunicatorTrial) -> None:
    """The operations of a Dup() never meet those of its original."""

    def body(comm: Communicator) -> None:
        other = comm.Dup()
        demand((other.rank, other.size) == (comm.rank, comm.size), "Dup() has another rank or size")
        a, b = np.array([1.0]), np.array([10.0])
        pairs = [(comm, a), (other, b)] if comm.rank % 2 else [(other, b), (comm, a)]
        for request in [one.Iallreduce(array) for one, array in pairs]:
            request.Wait()
        demand((a[0], b[0]) == (comm.size, 10 * comm.size), "an Allreduce met one of the duplicate")
        other.Barrier()
        other.Free()

    trial.on_ranks(body)


@check("communicator")
def bad_calls(trial: CommunicatorTrial) -> None:
    """What has no meaning is refused before anything is sent."""

    def body(comm: Communicator) -> None:
        wrong: Any = "sum"
        imaginary, whole = np.zeros(3, np.complex64), np.zeros(3, np.int32)
        must_raise(ValueError, lambda: comm.Allreduce(imaginary, ReduceOp.MAX), "MAX of complex numbers")
        must_raise(ValueError, lambda: comm.Allreduce(whole, ReduceOp.AVG), "AVG of integers")
        must_raise(RuntimeError, lambda: comm.Allreduce(np.zeros(2), ReduceOp.BAND), "BAND of floating-point numbers")
        must_raise(TypeError, lambda: comm.Allreduce(np.zeros(3), wrong), "op='sum'")
        must_raise(ValueError, lambda: comm.Bcast(np.zeros(3), comm.size), "a root that does not exist")
        comm.Barrier()

    trial.on_ranks(body)


def _exchange(comm: Communicator, mine: np.ndarray) -> None:
    rows = [mine.copy() for _ in range(comm.size)]
    comm.Ialltoallv(rows, [np.zeros_like(x) for x in rows]).Wait()


# Collectives in which every rank receives.
_MUTUAL: dict[str, Callable[[Communicator, np.ndarray], None]] = {
    "Allreduce": lambda comm, mine: comm.Allreduce(mine),
    "Allgather": lambda comm, mine: comm.Allgather(mine, np.zeros((comm.size, mine.size), mine.dtype)),
    "Ialltoallv": _exchange,
    "Ireduce_scatter": lambda comm, mine: comm.Ireduce_scatter([mine] * comm.size, np.zeros_like(mine)).Wait(),
}


@check("communicator")
def agreement(trial: CommunicatorTrial) -> None:
    """Where a rank's array differs in length or dtype, all that receive raise DistError, and wait for no time-out."""
    for name, collective in _MUTUAL.items():
        for other in (np.ones(6, np.float32), np.ones(4, np.int32), np.ones(100_000, np.float32)):

            def body(comm: Communicator, name: str = name, other: np.ndarray = other, run: Any = collective) -> None:
                mine = other.copy() if comm.rank == comm.size - 1 else np.ones(4, np.float32)
                what = f"{name} of 4 float32 on rank 0 and of {other.size} {other.dtype} on the last"
                try:
                    run(comm, mine)
                except DistTimeoutError:
                    demand(False, f"{what} waits for the time-out; it must raise DistError at once")
                except DistError:
                    return
                except Exception as error:
                    demand(False, f"{what} raises {type(error).__name__} ({error}), not DistError")
                demand(False, f"{what} is accepted on rank {comm.rank}; it must raise DistError")

            trial.apart(body, least=2)


@check("communicator")
def trains(trial: CommunicatorTrial) -> None:
    """Data parallel training ends with the same bits on all ranks, and as one rank with the whole batch (1e-12)."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((3, 12, 5)), rng.standard_normal((3, 12, 2))

    def trained(rank: int, size: int, wrap: Callable[[nn.Module], nn.Module]) -> np.ndarray:
        bare = nn.Linear(5, 2, dtype=distgrad.float64)
        start = np.random.default_rng(rank)  # wrapping gives all ranks the parameters of rank 0
        with distgrad.no_grad():
            for p in bare.parameters():
                p.copy_(distgrad.tensor(start.standard_normal(tuple(p.shape))))
        model = wrap(bare)
        for a, b in zip(x, y, strict=True):
            bare.zero_grad()
            loss = ((model(distgrad.tensor(a[rank::size])) - distgrad.tensor(b[rank::size])) ** 2).mean()
            loss.backward()
            with distgrad.no_grad():
                for p in bare.parameters():
                    p.add_(p.grad, alpha=-0.1)
        return np.concatenate([p.numpy(force=True).reshape(-1) for p in bare.parameters()])

    alone = trained(0, 1, lambda module: module)

    def body(comm: Communicator) -> None:
        group = ProcessGroup(comm, "under test")
        options: Any = dict(process_group=group, weighting="samples")
        found = trained(comm.rank, comm.size, lambda m: DistributedDataParallel(m, **options))
        worst = np.abs(found - alone).max()
        demand(worst < 1e-12, f"{comm.size} ranks end up to {worst:.1g} from one rank with the whole batch")
        ends = comm.allgather(hashlib.sha256(found.tobytes()).hexdigest())
        demand(len(set(ends)) == 1, f"the ranks end with different parameters: {ends}")

    trial.on_ranks(body)
