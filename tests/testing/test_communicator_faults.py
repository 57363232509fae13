"""Communicators with one fault each: the kit names it, and finds nothing wrong with their faultless twin."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from distgrad import registry
from distgrad.distributed.communication.communicator import CompletedRequest, Request
from distgrad.distributed.communication.reduction import ReduceOp, check_op, combine
from distgrad.testing import CHECKS, check, check_communicator, subject

Threads: Any = registry.get("communicator", "threads")


class OwnOrder(Threads):
    """Each rank takes its own array first."""

    def Iallreduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> Request:
        check_op(op, array.dtype)
        table = np.empty((self.size, array.size), array.dtype)
        self.Allgather(array.reshape(-1), table)
        flat = table[0].copy()
        combine(op, [table[(self.rank + i) % self.size] for i in range(self.size)], flat)
        array[...] = flat.reshape(array.shape)
        return CompletedRequest()


class NoBcast(Threads):
    def Bcast(self, array: np.ndarray, root: int = 0) -> None:
        self.check_root(root)
        self.Barrier()


class BcastFromZero(Threads):
    def Bcast(self, array: np.ndarray, root: int = 0) -> None:
        self.check_root(root)
        super().Bcast(array, 0)


class DoublesPrecision(Threads):
    def Iallreduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> Request:
        check_op(op, array.dtype)
        if array.dtype != np.float32:
            return super().Iallreduce(array, op)
        wide = array.astype(np.float64)
        super().Iallreduce(wide, op).Wait()
        array[...] = wide
        return CompletedRequest()


class FlattensArrays(Threads):
    def Iallreduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> Request:
        check_op(op, array.dtype)
        if array.ndim != 1:
            raise ValueError("one dimension only")
        return super().Iallreduce(array, op)


class GathersBackwards(Threads):
    def Allgather(self, array: np.ndarray, out: np.ndarray) -> None:
        super().Allgather(array, out)
        out[...] = out[::-1].copy()


class NoDuplicate(Threads):
    def Dup(self) -> Any:
        return self


class ChecksNothing(Threads):
    def Iallreduce(self, array: np.ndarray, op: ReduceOp = ReduceOp.SUM) -> Request:
        return super().Iallreduce(array, ReduceOp.SUM if op == "sum" else op)


class MixesMessages(Threads):
    """Every other message overtakes the one before."""

    held: np.ndarray | None = None

    def Isend(self, array: np.ndarray, dest: int, tag: int = 0) -> Request:
        if self.held is None:
            self.held = array.copy()
            return CompletedRequest()
        first, self.held = self.held, None
        self.Send(array, dest, tag)
        self.Send(first, dest, tag)
        return CompletedRequest()


class LosesTheLast(Threads):
    def Iexchange(self, what: Any, send: Any, recv: Any) -> Request:
        request = super().Iexchange(what, send, recv)
        request.Wait()
        if recv[-1] is not None:
            recv[-1][...] = 0
        return request


class TakesAnyLength(Threads):
    def Iallreduce(self, array: np.ndarray, op: Any = ReduceOp.SUM) -> Request:
        longest = np.array([array.size])
        super().Iallreduce(longest, ReduceOp.MAX).Wait()
        padded = np.zeros(longest[0], array.dtype)
        padded[: array.size] = array.reshape(-1)
        request = super().Iallreduce(padded, op)
        request.Wait()
        array.reshape(-1)[...] = padded[: array.size]
        return request


class SortsGroups(Threads):
    def Create_group(self, ranks: Any) -> Any:
        return super().Create_group(sorted(ranks))


class WrongRank(Threads):
    def __init__(self, comm: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(comm, *args, **kwargs)
        self.local_rank = self.size


class WaitsInIsend(Threads):
    """Isend returns when the message has been received: two ranks that send to each other wait for good."""

    def Isend(self, array: np.ndarray, dest: int, tag: int = 0) -> Request:
        super().Isend(array, dest, tag)
        threading.Event().wait()
        raise AssertionError


class AsksInIsend(Threads):
    """The same, awake."""

    over = threading.Event()

    def Isend(self, array: np.ndarray, dest: int, tag: int = 0) -> Request:
        while not self.over.wait(0.001):
            pass
        raise AssertionError


FAULTS: list[tuple[type, str, str]] = [
    (OwnOrder, "allreduce", "Allreduce SUM of 1 torch.float32 on rank"),
    (NoBcast, "bcast", "Bcast of torch.bool from 0 on rank 1"),
    (NoBcast, "trains", ""),
    (BcastFromZero, "bcast", "from 1 on rank"),
    (DoublesPrecision, "allreduce", "torch.float32"),
    (FlattensArrays, "shapes", "one dimension only"),
    (GathersBackwards, "allgather", "row 0 of Allgather"),
    (NoDuplicate, "duplicates", "an Allreduce met one of the duplicate"),
    (ChecksNothing, "bad_calls", "op='sum' is accepted; it must raise TypeError"),
    (MixesMessages, "messages", "message 0 of 5 from"),
    (TakesAnyLength, "agreement", "of 4 float32 on rank 0 and of 6 float32 on the last is accepted"),
    (LosesTheLast, "alltoallv", "what Ialltoallv brings from"),
    (LosesTheLast, "reduce_scatter", "Ireduce_scatter of torch.float32 on rank"),
    (SortsGroups, "groups", "in ["),
    (WrongRank, "constructs", "local rank"),
]  # fmt: skip


def test_the_faultless_pass() -> None:
    report = check_communicator(Threads)
    assert report.ok, str(report)
    assert not [r for r in report.results if r.outcome == "skipped"]


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "check", "words"), FAULTS, ids=lambda v: getattr(v, "__name__", v))
def test_the_fault_is_found(cls: type, check: str, words: str) -> None:
    result = CHECKS["communicator"][check].run(subject("communicator", cls, timeout=5.0))
    assert result.outcome == "failed", result
    assert words in result.why


@pytest.mark.parametrize("cls", [WaitsInIsend, AsksInIsend])
def test_a_check_that_stands_still_fails_and_the_others_are_made(cls: type, monkeypatch: pytest.MonkeyPatch) -> None:
    AsksInIsend.over.clear()
    one = CHECKS["communicator"]
    monkeypatch.setattr(type(subject("communicator", cls)), "limit", 0.5)
    monkeypatch.setitem(CHECKS, "communicator", {name: one[name] for name in ("bcast", "messages", "objects")})
    lines: list[str] = []
    report = check("communicator", cls, lines.append, sizes=(2,))
    AsksInIsend.over.set()
    assert report.failed == ["messages"]
    (why,) = [r.why for r in report.results if r.outcome == "failed"]
    assert "it does not come to an end: for 0.5 s nothing went on. rank " in why
    assert f"in {cls.__name__}.Isend < communicator_checks.py" in why
    assert "\n".join(lines) == str(report)


def test_rows_are_told_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    one = CHECKS["communicator"]
    monkeypatch.setitem(CHECKS, "communicator", {name: one[name] for name in ("constructs", "shapes")})
    told: list[tuple[int, str]] = []
    made = 0

    class Counted(Threads):
        @staticmethod
        def run(world_size: int, fn: Any, *args: Any) -> Any:
            nonlocal made
            made += 1
            return Threads.run(world_size, fn, *args)

    check("communicator", Counted, lambda line: told.append((made, line.split()[1])), sizes=(1, 2))
    assert told == [(0, "Counted"), (2, "constructs"), (4, "shapes"), (4, "passed,")]


def test_a_rank_that_is_a_process_says_where_it_stands_and_ends() -> None:
    program = """
import threading
from distgrad import registry, testing
from distgrad.testing.conformance.communicator_trial import CommunicatorTrial

class OnRanks(registry.get("communicator", "serial")):
    def Barrier(self):
        threading.Event().wait()

CommunicatorTrial.limit = 0.5
checks = testing.CHECKS["communicator"]
waits = testing.Check("bcast", "", lambda trial: trial.on_ranks(lambda comm: comm.Barrier()))
testing.CHECKS["communicator"] = {"constructs": checks["constructs"], "bcast": waits}
testing.check("communicator", OnRanks, lambda line: print(line, flush=True))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done
    heading, first, second = done.stdout.splitlines()
    assert heading.startswith("communicator OnRanks")
    assert first.startswith("  passed   constructs")
    assert "  failed   bcast       it does not come to an end" in second
    assert "in OnRanks.Barrier" in second


def test_what_is_no_communicator_is_refused() -> None:
    class Empty:
        pass

    class Partial(Threads.__mro__[1]):  # type: ignore[misc]
        def Barrier(self) -> None:
            return

    with pytest.raises(TypeError, match="a communicator is a subclass of .*Communicator, got .*Empty"):
        check_communicator(Empty)
    with pytest.raises(TypeError, match="Partial lacks Iallreduce, Bcast, Allgather, Send"):
        check_communicator(Partial)
