"""The timeline: valid, with rows for each rank, and gone without a trace when it is off."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from distgrad_communicators import serial, threads

import distgrad as dg
import distgrad.distributed as dist
from distgrad import autograd, nn, optim, profiler
from distgrad.autograd import Tensor
from distgrad.distributed.timeline import across_ranks
from distgrad.nn.parallel import DistributedDataParallel
from distgrad.optim import hooks
from tests.helpers.ranks import LONG, job_environment, run_ranks

STEPS = 3
TRAINING = f"""
import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.nn.parallel import DistributedDataParallel

dist.init_process_group("mpi")
model = DistributedDataParallel(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1)), bucket_cap_mb=0.00002)
optimizer = optim.Adam(model.parameters())
for _ in range({STEPS}):
    optimizer.zero_grad()
    model(dg.ones(2, 4)).sum().backward()
    optimizer.step()
"""


def spans(path: Path) -> dict[int, list[dict[str, Any]]]:
    """The file's events by rank, after the rules of the format that every event must keep."""
    trace = json.loads(path.read_text(encoding="utf-8"))
    assert set(trace) - {"otherData"} == {"traceEvents", "displayTimeUnit"}
    ranks: dict[int, list[dict[str, Any]]] = {}
    for event in trace["traceEvents"]:
        assert event["ph"] in "MXbe"
        if event["ph"] != "M":
            assert event["ts"] >= 0
            assert event.get("dur", 0) >= 0
            ranks.setdefault(event["pid"], []).append(event)
    named = {e["pid"]: e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"}
    assert named == {rank: f"rank {rank}" for rank in ranks}
    return ranks


def count(events: list[dict[str, Any]], kind: str, phase: str = "X") -> int:
    return sum(event["cat"] == kind and event["ph"] == phase for event in events)


def check_training(events: list[dict[str, Any]]) -> None:
    assert count(events, "forward") == count(events, "backward") == count(events, "update") == STEPS
    buckets = [e for e in events if e["name"].startswith("bucket") and e["ph"] == "b"]
    assert {e["name"] for e in buckets} >= {"bucket 0", "bucket 1"}
    assert len(buckets) % STEPS == 0
    assert all(e["args"]["bytes"] > 0 for e in buckets)
    assert count(events, "reduction", "b") == count(events, "reduction", "e")
    ends = {e["id"]: e["ts"] for e in events if e["ph"] == "e"}
    passes = [(e["ts"], e["ts"] + e["dur"]) for e in events if e["cat"] == "backward"]
    for bucket in buckets:
        assert any(t0 <= bucket["ts"] <= ends[bucket["id"]] <= t1 + 1 for t0, t1 in passes)


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("size", "end"),
    [(1, ""), (2, ""), (2, "dist.destroy_process_group()"), (3, "dist.destroy_process_group()"), (4, "")],
)
def test_ranks_are_merged(tmp_path: Path, size: int, end: str) -> None:
    job = run_ranks(size, TRAINING + end, env={"DISTGRAD_TRACE": str(tmp_path / "out" / "trace.json")})
    job.check()
    found = spans(tmp_path / "out" / "trace.json")
    assert sorted(found) == list(range(size))
    for events in found.values():
        if size > 1:
            check_training(events)
        else:
            assert count(events, "backward") == STEPS


@pytest.mark.mpi
def test_a_block_on_ranks(tmp_path: Path) -> None:
    program = TRAINING.replace("for _ in", "from distgrad.profiler import trace\nfor _ in")
    program = program.replace(
        "    optimizer.zero_grad()", f"  with trace({str(tmp_path / 'trace.json')!r}):\n    optimizer.zero_grad()"
    )
    run_ranks(2, program).check()
    found = spans(tmp_path / "trace.json")
    assert [count(found[rank], "update") for rank in (0, 1)] == [1, 1]  # the last block's
    assert count(found[1], "reduction", "b") > 1


@pytest.mark.mpi
def test_a_trace_on_some_ranks_only_is_refused(tmp_path: Path) -> None:
    forget = """
import os
if os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("PMI_RANK")) == "1":
    del os.environ["DISTGRAD_TRACE"]
"""
    job = run_ranks(2, forget + TRAINING, env={"DISTGRAD_TRACE": str(tmp_path / "never.json")})
    assert job.returncode != 0, job
    assert "not on rank(s) 1: DISTGRAD_TRACE must reach all of them" in job.stderr, job


FAILURES = {
    "raise": ("raise ZeroDivisionError('here')", "ZeroDivisionError: here", {}),
    "wait": (f"import time; time.sleep({LONG})", "wait", {"DISTGRAD_TIMEOUT": "2"}),  # the others give up
    "leave": ("raise SystemExit(0)", "left", {}),
}


@pytest.mark.mpi
@pytest.mark.parametrize(("size", "backend"), [(2, "mpi"), (2, "shared"), (3, "shared"), (4, "mpi")])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_job_that_fails_writes_what_there_is(tmp_path: Path, failure: str, size: int, backend: str) -> None:
    statement, words, more = FAILURES[failure]
    path = tmp_path / "trace.json"
    # every rank has done its last update by then, however slow it is: messages alone do not see to that
    fails = f"if _ == {STEPS - 1}:\n        dist.barrier()\n        if dist.get_rank() == 1:\n            {statement}"
    program = TRAINING.replace("    optimizer.zero_grad()", f"    {fails}\n    optimizer.zero_grad()")
    program = program.replace('"mpi"', f'"{backend}"')
    job = run_ranks(size, program, env={"DISTGRAD_TRACE": str(path), **more})
    assert job.returncode != 0, job
    assert words in job.stderr, job
    assert f"the timeline so far is in {path}" in job.stderr, job
    found = spans(path)
    about = json.loads(path.read_text(encoding="utf-8"))["otherData"]
    assert sorted(found) == list(range(size)), about
    assert about["missing"] == []
    assert [count(found[rank], "update") for rank in range(size)] == [STEPS - 1] * size
    waiting = [e for rank in range(size) if rank != 1 for e in found[rank] if e.get("args", {}).get("unfinished")]
    assert failure == "raise" or {e["name"] for e in waiting} <= {"backward", "forward DistributedDataParallel"}
    assert [file.name for file in tmp_path.iterdir()] == ["trace.json"]


@pytest.mark.mpi
def test_a_block_that_fails_is_written_when_that_ends_the_job(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    block = f"from distgrad.profiler import trace\nwith trace({str(path)!r}):\n for _ in"
    program = TRAINING.replace("for _ in", block)
    program += "    if dist.get_rank() == 0: raise KeyError(_)\n"
    job = run_ranks(2, program)
    assert job.returncode != 0, job
    assert f"the timeline so far is in {path}" in job.stderr, job
    assert count(spans(path)[0], "update") == 1


@pytest.mark.mpi
def test_a_place_that_cannot_be_written_to_does_not_keep_the_job() -> None:
    fails = "    if dist.get_rank() == 1:\n        raise KeyError(_)\n    optimizer.zero_grad()"
    job = run_ranks(
        2,
        TRAINING.replace("    optimizer.zero_grad()", fails),
        env={"DISTGRAD_TRACE": "/proc/nowhere/trace.json"},
    )
    assert job.returncode != 0, job
    assert "the timeline was not written to /proc/nowhere/trace.json: [Errno 2]" in job.stderr, job


def test_writing_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(across_ranks, "RESCUE_SECONDS", 0.2)
    made = across_ranks.Timeline(tmp_path / "trace.json")
    made._standby = across_ranks.Standby("test")
    stuck = threading.Event()

    def others() -> dict[int, dict[str, Any] | str]:
        stuck.wait()
        return {}

    try:
        assert "it took longer than 0.2 s" in made.rescue(0, others)
    finally:
        stuck.set()  # only now: what hung was not waited for


def test_an_exception_in_one_process_writes_what_there_is(tmp_path: Path) -> None:
    program = TRAINING.replace('"mpi"', '"serial"') + "    raise KeyError(_)\n"
    env = job_environment(1) | {"DISTGRAD_TRACE": str(tmp_path / "trace.json")}
    done = subprocess.run([sys.executable, "-c", program], env=env, timeout=150, check=False, capture_output=True)
    assert done.returncode == 1
    (events,) = spans(tmp_path / "trace.json").values()
    assert count(events, "update") == 1
    with pytest.raises(KeyError), profiler.trace(tmp_path / "block.json"):  # noqa: PT012 - what the block has recorded
        nn.Linear(1, 1)(dg.ones(1, 1)).sum().backward()
        raise KeyError
    (events,) = spans(tmp_path / "block.json").values()
    assert count(events, "backward") == 1


def test_one_process_writes_when_it_ends(tmp_path: Path) -> None:
    program = TRAINING.replace('"mpi"', '"serial"')
    env = job_environment(1) | {"DISTGRAD_TRACE": str(tmp_path / "trace.json")}
    subprocess.run([sys.executable, "-c", program], env=env, timeout=150, check=True)
    (events,) = spans(tmp_path / "trace.json").values()
    assert count(events, "forward") == count(events, "update") == STEPS


def test_ranks_that_are_threads(tmp_path: Path) -> None:
    def main() -> None:
        dist.init_process_group("threads")
        model = DistributedDataParallel(nn.Linear(4, 1))
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        model(dg.ones(2, 4)).sum().backward()
        optimizer.step()
        dist.destroy_process_group()

    with profiler.trace(tmp_path / "trace.json"):
        threads.run(3, main)
    found = spans(tmp_path / "trace.json")
    assert sorted(found) == [0, 1, 2]
    assert all(count(events, "update") == 1 and count(events, "reduction", "b") > 0 for events in found.values())


def test_nothing_is_left_attached(tmp_path: Path) -> None:
    def attached() -> tuple[Any, ...]:
        return (
            *(vars(owner)[name] for owner, name, _ in profiler.REPLACED),
            dict(hooks.EVERY_PRE), dict(hooks.EVERY_POST),
            vars(serial.SerialCommunicator)["Iallreduce"], across_ranks.current,
        )  # fmt: skip

    assert [(owner, name) for owner, name, _ in profiler.REPLACED] == [
        (nn.Module, "__call__"), (Tensor, "backward"), (autograd, "backward"),
    ]  # fmt: skip
    before = attached()
    dist.init_process_group("serial")
    try:
        with profiler.trace(tmp_path / "trace.json"):
            assert all(was is not now for was, now in zip(before, attached(), strict=True))
            with pytest.raises(RuntimeError, match="being recorded already"), profiler.trace(tmp_path / "other.json"):
                pass
            raise KeyError("the block's own")
    except KeyError:
        pass
    finally:
        dist.destroy_process_group()
    after = attached()
    assert all(was is now or was == now for was, now in zip(before, after, strict=True))


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_trace_that_cannot_be_written_is_an_error_at_the_start(tmp_path: Path, ranks: int) -> None:
    (tmp_path / "file").touch()
    program = "import distgrad.distributed as dist; dist.init_process_group(); print('started')"
    job = run_ranks(ranks, program, env={"DISTGRAD_TRACE": str(tmp_path / "file" / "trace.json")})
    assert job.returncode != 0, job
    assert "started" not in job.stdout, job
    assert f"the timeline was not written to {tmp_path / 'file' / 'trace.json'}: [Errno" in job.stderr, job
    assert "DISTGRAD_TRACE" in job.stderr, job
