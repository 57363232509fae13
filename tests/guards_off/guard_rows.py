"""Every guard of docs/reliability.md, F1 to F8 and F13 to F20: how it is taken out, which tests then fail, and how.

Standard library only: Python imports this at its start, in every process of a test whose guard is off.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

__all__ = ["FAILURES", "ROWS", "VARIABLE", "Guard", "Row", "row"]

VARIABLE = "DISTGRAD_TEST_GUARD_OFF"  # the key of the row whose guards are out
FAILURES = [f"F{n}" for n in (*range(1, 9), *range(13, 21))]
HUNG = r"hung: "


@dataclass(frozen=True)
class Guard:
    """One attribute of distgrad that guards against something.

    Attributes:
        module: the module that has it, or that another has put it into.
        name: of the attribute, dotted where it is a class'.
        instead: given the attribute, what takes its place.
    """

    module: str
    name: str
    instead: Callable[[Any], Any]

    def owner(self, module: ModuleType) -> tuple[Any, str]:
        """What holds the attribute, and its name there; AttributeError where there is none."""
        owner: Any = module
        *classes, last = self.name.split(".")
        for part in classes:
            owner = getattr(owner, part)
        getattr(owner, last)
        return owner, last

    def take_out(self, module: ModuleType) -> None:
        """Replace it in the imported ``module``."""
        owner, last = self.owner(module)
        setattr(owner, last, self.instead(getattr(owner, last)))

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Row:
    """Guards that are off together, since each alone would do; and what is then seen.

    Attributes:
        key: the failure's number in docs/reliability.md, and a letter where it has several rows.
        off: what is missing then, in words.
        guards: what is replaced.
        seen: a regular expression that each test's failure contains.
        tests: ids of tests that pass with the guards and fail without.
        only: the MPI that lacks the guarded behaviour, where the other has it of itself; empty: both.
    """

    key: str
    off: str
    guards: tuple[Guard, ...]
    seen: str
    tests: tuple[str, ...]
    only: str = ""

    @property
    def failure(self) -> str:
        return self.key.rstrip("abcdefgh")


def row(key: str) -> Row:
    """The row of that key; KeyError names those there are."""
    for found in ROWS:
        if found.key == key:
            return found
    raise KeyError(f"no row {key!r} among {', '.join(found.key for found in ROWS)}")


# --- what takes a guard's place --------------------------------------------------------------------------------------


def nothing(_: Any) -> Any:
    """A function that does nothing."""
    return lambda *_, **__: None


def always(value: Any) -> Callable[[Any], Any]:
    """A function that returns ``value``."""
    return lambda _: lambda *_, **__: value


def set_to(value: Any) -> Callable[[Any], Any]:
    """The value itself."""
    return lambda _: value


def pythons_own(place: int) -> Callable[[Any], Any]:
    """The exception hook that was there before; 0: the main thread's, 1: other threads'."""
    return lambda _: lambda self, *what: self._hooks[place](*what)


def swallowing(do: Any) -> Any:
    """A worker that does not hand its exception on: whoever waits for the result waits for ever."""

    def run(*given: Any) -> Any:
        try:
            return do(*given)
        except BaseException:
            threading.Event().wait()

    return run


def only_what_is_ready(finish: Any) -> Any:
    """The end of a backward pass that reduces no bucket with a parameter which this rank did not use."""

    def run(self: Any) -> None:
        buckets = self.buckets
        self.buckets = buckets[: self._next]
        try:
            finish(self)
        finally:
            self.buckets = buckets

    return run


def what_lies_there(complete: Any) -> Any:
    """The end of a backward pass in shared memory that takes an old gradient for one of this pass."""

    def run(self: Any, *given: Any, **named: Any) -> None:
        for i, p in enumerate(self.storage.params):
            if p._grad is None:
                p._grad = self.storage.grad_slot(i)
        complete(self, *given, **named)

    return run


def without_check(init: Any) -> Any:
    """A wrapper that does as if ``check_finite=None`` had been asked for."""

    def run(self: Any, *given: Any, **named: Any) -> None:
        init(self, *given, **(named | {"check_finite": None}))

    return run


def forgets_the_fork(check: Any) -> Any:
    """A check that takes a forked child for the process it was forked from."""

    def run(self: Any) -> None:
        check.__globals__["process"]._forked = False
        check(self)

    return run


def any_thread(check: Any) -> Any:
    """A check that allows every thread what one is allowed."""

    def run(self: Any) -> None:
        self._only_thread = None
        check(self)

    return run


def of_any_process(init: Any) -> Any:
    """A guard that takes every process for the one it was made in."""

    def run(self: Any, *given: Any) -> None:
        type(self)._pid = property(lambda self: os.getpid(), lambda self, value: None)
        init(self, *given)

    return run


def forking(executor: Any) -> Any:
    """Threads whose maker forks a process each."""

    class Forks(executor):  # type: ignore[misc]
        def __init__(self, *given: Any) -> None:
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)
            super().__init__(*given)

    return Forks


def from_the_host(transfer: Any) -> Any:
    """Arrays of a device are given to MPI as they are."""

    def run(comm: Any, array: Any) -> Any:
        kind = type(comm)
        told, kind.device_pointers = kind.device_pointers, True
        try:
            return transfer(comm, array)
        finally:
            kind.device_pointers = told

    return run


# --- the table -------------------------------------------------------------------------------------------------------

_GUARD, _WATCHDOG, _PROCESS_GROUP = (
    f"distgrad.distributed.{name}"
    for name in ("reliability.job_guard", "reliability.watchdog", "process_groups.default_group")
)
_MPI, _WAITING, _SHARED = (
    f"distgrad_communicators.{name}" for name in ("mpi.communicator", "mpi.operations", "shared")
)
_HANGS, _STARTING, _SHARED_TESTS, _DESYNC, _FINITE, _CONSISTENCY, _JOIN, _UNUSED, _COMMUNICATORS = (
    f"tests/distributed/{room}/test_{name}.py"
    for room, name in (
        ("reliability", "nothing_hangs"), ("process_groups", "starting"), ("node_update", "shared_mpi"),
        ("reliability", "desync"), ("gradients", "nonfinite"), ("reliability", "consistency"),
        ("data_parallel", "join"), ("data_parallel", "unused"), ("communication", "communicators"),
    )
)  # fmt: skip
_ALONE, _AGAIN = "tests/distributed/reliability/test_alone.py", "tests/distributed/data_parallel/test_share_again.py"
_ENDS, _UNEQUAL = "tests/distributed/reliability/test_ends.py", "tests/distributed/reliability/test_unequal.py"
_WAYS = ("messages", "shared")


def _ids(file: str, name: str, *cases: object) -> tuple[str, ...]:
    return tuple(f"{file}::{name}[{case}]" for case in cases) or (f"{file}::{name}",)


ROWS: tuple[Row, ...] = (
    Row(
        "F1", "no exception hook and no word at exit",
        (Guard(_GUARD, "Guard._main_failed", pythons_own(0)), Guard(_GUARD, "Guard.leave", nothing)), HUNG,
        (
            *_ids(_HANGS, "test_f1_an_exception_on_one_rank_ends_the_job", 2, 3, 4),
            *_ids(_HANGS, "test_f1_also_while_the_others_compute"),
            *_ids(_SHARED_TESTS, "test_a_rank_that_fails_ends_the_job", "step()"),
        ),
    ),
    Row(
        "F1b", "Python's own exception hook: the job ends, but its traceback names no rank",
        (Guard(_GUARD, "Guard._main_failed", pythons_own(0)),), r"'\[rank1\]: Traceback",
        _ids(_HANGS, "test_f1_an_exception_on_one_rank_ends_the_job", 2),
    ),
    Row(
        "F2", "no word at exit", (Guard(_GUARD, "Guard.leave", nothing),), HUNG,
        (
            *_ids(_HANGS, "test_f2_a_rank_that_leaves_early_ends_the_job", "sys.exit(0)", "sys.exit(3)"),
            *_ids(_HANGS, "test_f2_a_rank_that_leaves_while_the_others_wait_for_it_elsewhere"),
            *_ids(_SHARED_TESTS, "test_a_rank_that_leaves_is_an_error_on_those_that_wait_for_it"),
        ),
    ),
    Row(
        "F2b", "words at exit are not read by those who wait", (Guard(_WAITING, "Family._read_notices", nothing),),
        HUNG + r"|'(DistError|but rank 1 has left.*)' in",
        (
            *_ids(_HANGS, "test_f2_a_rank_that_leaves_early_ends_the_job", "sys.exit(0)"),
            *_ids(_SHARED_TESTS, "test_a_rank_that_leaves_is_an_error_on_those_that_wait_for_it"),
        ),
    ),
    Row(
        "F2c", "hooks are not put back when the group is left", (Guard(_GUARD, "Guard._disarm", nothing),),
        r"assert sys.excepthook is sys.__excepthook__",
        _ids(_HANGS, "test_f2_after_destroy_a_rank_may_work_on_alone"),
    ),
    Row(
        "F2d", "nobody is told that a rank has finalized MPI itself",
        (Guard("distgrad_communicators.mpi.process", "_watch_the_end", nothing),), HUNG + r"|exit code|has left",
        _ids(_ENDS, "test_a_rank_that_finalizes_alone_has_left"),
    ),
    Row(
        "F3", "no exception hook of threads", (Guard(_GUARD, "Guard._thread_failed", pythons_own(1)),), HUNG,
        _ids(_HANGS, "test_f3_an_exception_in_a_thread_ends_the_job"),
    ),
    Row(
        "F3b", "a loader's worker keeps its exception to itself",
        (Guard("distgrad.utils.data.worker", "_guarded", swallowing),), HUNG,
        _ids(_HANGS, "test_f3_an_exception_in_a_worker_of_the_data_loader_ends_the_job"),
    ),
    Row(
        "F4", "no deadline", (Guard(_PROCESS_GROUP, "deadline", always(None)),), HUNG,
        (
            *_ids(_HANGS, "test_f4_a_skipped_collective_is_an_error_after_the_time_out"),
            *_ids(_HANGS, "test_f4_a_sleeping_rank_is_named_with_its_stacks_and_last_operation", 2, 3, 4),
            *_ids(_HANGS, "test_f4_different_collectives_are_named"),
            *_ids(_SHARED_TESTS, "test_a_rank_that_never_comes_is_a_timeout"),
        ),
    ),
    Row(
        "F4b", "no report of what the ranks do", (Guard(_WATCHDOG, "Watchdog.report", always("")),),
        r"'(what each rank does:|stacks of rank 1:)' in|is not the same",
        (
            *_ids(_HANGS, "test_f4_a_sleeping_rank_is_named_with_its_stacks_and_last_operation", 2),
            *_ids(_HANGS, "test_f4_different_collectives_are_named"),
        ),
    ),
    Row(
        "F4c", "the report does not say who does something else", (Guard(_WATCHDOG, "_verdict", always([])),),
        r"'(behind the others|is not the same).*' in",
        (
            *_ids(_HANGS, "test_f4_a_sleeping_rank_is_named_with_its_stacks_and_last_operation", 2),
            *_ids(_HANGS, "test_f4_different_collectives_are_named"),
        ),
    ),
    Row(
        "F4d", "the watchdog does not look at the clock", (Guard(_WATCHDOG, "Watchdog._look", nothing),), HUNG,
        _ids(_HANGS, "test_f4_a_wait_that_raises_nothing_is_ended_by_the_watchdog"),
    ),
    Row(
        "F4e", "a rank that does not answer is waited for", (Guard(_WATCHDOG, "_ANSWER_SECONDS", set_to(1e6)),), HUNG,
        _ids(_HANGS, "test_f4_a_rank_that_cannot_answer_is_told_apart"),
    ),
    Row(
        "F4f", "the watchdog answers strangers", (Guard(_WATCHDOG, "hmac.compare_digest", always(True)),),
        r"assert connection.recv|AssertionError",
        _ids(_HANGS, "test_f4_nobody_is_answered_without_the_secret"),
    ),
    Row(
        "F4g", "debug mode: signatures are not compared",
        (
            Guard("distgrad.distributed.reliability.checked_communicator", "Compares._compare", nothing),
            Guard("distgrad_communicators.mpi.agreement", "Agreement.look", nothing),
            Guard("distgrad_communicators.mpi.agreement", "Agreement.check", nothing),
        ),
        HUNG + r"|nothing was raised|Message truncated|truncat|operation 2 of the group",
        (
            *_ids(_DESYNC, "test_mpi", "another operation", "another dtype", "an operation left out"),
            *_ids(_DESYNC, "test_f4_a_rank_that_never_comes_is_named_with_the_operation"),
        ),
    ),
    Row(
        "F4h", "ranks that wait in vain do not ask whether their arrays differ",
        (
            Guard("distgrad_communicators.mpi.agreement", "Agreement.look", nothing),
            Guard("distgrad_communicators.mpi.agreement", "Agreement.check", nothing),
        ),
        HUNG + r"|exit code",
        _ids(_UNEQUAL, "test_over_mpi", "mpi-2"),
    ),
    Row(
        "F5", "models are not compared when wrapped",
        (Guard("distgrad.nn.parallel.distributed", "check_same_model", nothing),),
        HUNG + r"|assert 0 != 0|wrapped",
        _ids(
            _CONSISTENCY, "test_the_job_ends_and_says_what_differs",
            *(f"{mistake}-{backend}" for mistake in ("order", "bytes", "count") for backend in ("mpi", "shared")),
        ),
    ),
    Row(
        "F5a", "ranks that update otherwise are not compared",
        (Guard("distgrad.distributed.node_update.agreement", "SameUpdate.check", nothing),), r"assert 0 != 0",
        _ids(_SHARED_TESTS, "test_f5_ranks_that_update_otherwise_end_the_job", 2, 3, 4),
    ),
    Row(
        "F5b", "debug mode: training is not compared",
        (
            Guard(
                "distgrad.distributed.data_parallel.checked_reducers", "ComparedReducer._noting",
                lambda _: lambda self, _, do, *x: do(*x),
            ),
            Guard("distgrad.distributed.data_parallel.checked_reducers", "_announce", nothing),
        ),
        HUNG + r"|the samples of backward|bucket 0 of backward",
        (
            *_ids(_DESYNC, "test_f5_a_bucket_is_told_of_by_its_parameters"),
            *_ids(
                _DESYNC, "test_f5_training_that_falls_apart_is_named_by_parameter",
                "messages-collective-2", "shared-collective-2", "shared-step-2",
            ),
        ),
    ),
    Row(
        "F5c", "what was put into a model, or is trained, since it was wrapped is not looked for",
        (Guard("distgrad.distributed.reliability.model_agreement", "AsWrapped.check", nothing),), r"DID NOT RAISE",
        _ids(_ALONE, "test_on_threads", "changes_after_wrapping-2-messages", "changes_after_wrapping-2-shared"),
    ),
    Row(
        "F5d", "optimizer states are not compared before memory is shared again",
        (Guard("distgrad.distributed.data_parallel.gradient_sync", "GradientSync._states_agree", always(True)),),
        r"assert",
        _ids(_AGAIN, "test_ranks_with_states_of_their_own_stay_on_messages", "shared"),
    ),
    Row(
        "F5e", "ranks in shared memory that step with other gradients are taken for ranks that do not",
        (Guard("distgrad.distributed.node_update.single_node", "SharedUpdate._alike", always(True)),),
        r"[Ee]rror|" + HUNG,
        _ids(_ALONE, "test_on_threads", "gradients_changed_by_rank-2-shared"),
    ),
    Row(
        "F6", "unused parameters are not zero-filled: their buckets are left out",
        (Guard("distgrad.distributed.data_parallel.message_reducer", "Reducer._finish", only_what_is_ready),),
        HUNG + r"|ValueError: zip|is used on \d ranks|\[rank\d\]: AssertionError|truncat",
        _ids(_UNUSED, "test_over_mpi", "mpi-2", "mpi-3", "mpi-4"),
    ),
    Row(
        "F6b", "unused parameters are not zero-filled in shared memory: an old gradient counts",
        (Guard("distgrad.distributed.node_update.single_node", "SharedUpdate.complete", what_lies_there),),
        r"\[rank\d\]: .*Obtained|is used on \d ranks|\[rank\d\]: (Assertion|Type|Attribute)Error",
        _ids(_UNUSED, "test_over_mpi", "shared-2", "shared-3", "shared-4"),
    ),
    Row(
        "F7", "ranks that ran out take part no longer",
        (Guard("distgrad.distributed.algorithms.join", "Join.__exit__", nothing),),
        HUNG + r"|Not equal to tolerance|has left|truncat",
        _ids(_JOIN, "test_uneven_batches_over_mpi", "mpi-2", "mpi-3", "mpi-4", "shared-2"),
    ),
    Row(
        "F7b", "all ranks weigh the same",
        (Guard("distgrad.distributed.data_parallel.message_reducer", "Reducer._weight", always(None)),),
        r"Not equal to tolerance",
        _ids(_JOIN, "test_uneven_batches_over_mpi", "mpi-2", "mpi-3", "mpi-4", "shared-2"),
    ),
    Row(
        "F7c", "a number of samples that a rank cannot tell is taken for one",
        tuple(
            Guard(f"distgrad.distributed.{module}", "refuse_unknown", nothing)
            for module in (
                "data_parallel.message_reducer", "node_update.node_gradients", "node_update.internode_overlap",
            )
        ),
        r"DID NOT RAISE",
        _ids(_ALONE, "test_on_threads", *(f"samples_that_nobody_told-{n}-{w}" for n in (2, 3) for w in _WAYS)),
    ),
    Row(
        "F8", "gradients are not checked",
        (Guard("distgrad.distributed.data_parallel.gradient_sync", "GradientSync.__init__", without_check),),
        r"assert 0 != 0|DID NOT RAISE",
        (
            *_ids(_FINITE, "test_an_uncaught_one_ends_the_job", "mpi-2", "mpi-3", "shared-2", "shared-3"),
            *_ids(_FINITE, "test_over_mpi", "mpi-2", "mpi-4", "shared-2", "shared-4"),
            *_ids(_FINITE, "test_all_ranks_raise_and_name_rank_and_parameter", "nan-dtype0-messages"),
        ),
    ),
    Row(
        "F13", "messages are not split",
        (Guard(_MPI, "MPICommunicator._pieces", lambda _: lambda self, flat: [flat.reshape(-1).view("u1")]),),
        r'assert 0 < lower\["wire"\].largest <= 1000',
        _ids(_COMMUNICATORS, "test_mpi", 2, 3, 4),
    ),
    Row(
        "F14", "a forked child is not kept from MPI",
        (Guard(_MPI, "MPICommunicator.check_caller", forgets_the_fork),),
        HUNG + r"|exit code|'refused'",
        _ids(_STARTING, "test_f14_a_forked_child_is_kept_from_mpi_and_does_not_end_the_job"),
    ),
    Row(
        "F14b", "a forked child's exception is taken for the rank's",
        (Guard(_GUARD, "Guard.__init__", of_any_process),),
        HUNG + r"|\[rank\d\]: ValueError: the child's own affair",
        _ids(_STARTING, "test_f14_a_forked_child_is_kept_from_mpi_and_does_not_end_the_job"),
    ),
    Row(
        "F14c", "the loader's workers are made by a fork",
        (Guard("distgrad.utils.data.worker", "ThreadPoolExecutor", forking),), r"AssertionError: \['fork'",
        _ids(_STARTING, "test_f14_the_loaders_workers_are_not_forked"),
    ),
    Row(
        "F14d", "what ranks share goes on changing under a forked child, which may train there",
        (Guard("distgrad.distributed.data_parallel.gradient_sync", "watch", nothing),), r"AssertionError",
        _ids(_ALONE, "test_over_mpi", 2),
    ),
    Row(
        "F14e", "a child of a rank is taken for the rank",
        (Guard("distgrad_communicators.mpi.process", "check_no_ranks_child", nothing),),
        r"exit code|AssertionError|" + HUNG,
        _ids(_ENDS, "test_a_child_of_a_rank_is_refused", "'mpi'"),
    ),
    Row(
        "F15", "any thread may use MPI", (Guard(_MPI, "MPICommunicator.check_caller", any_thread),),
        r"\['allowed'\]",
        _ids(_STARTING, "test_f15_another_thread_is_refused_below_thread_multiple"),
    ),
    Row(
        "F16", "threads are not counted", (Guard(_PROCESS_GROUP, "check_oversubscription", nothing),), r"assert 0 == 1",
        _ids(_STARTING, "test_f16_too_many_threads_are_warned_of_once"),
    ),
    Row(
        "F16b", "the launcher sets no threads", (Guard("distgrad.cli.run", "THREADS", set_to(())),),
        r"assert \['BLAS|BLAS \[",
        _ids(_STARTING, "test_f16_the_launcher_sets_threads_before_numpy_comes"),
    ),
    Row(
        "F17", "ranks claim no GPU", (Guard(_PROCESS_GROUP, "take_device", nothing),),
        r"rank 1 on cuda:1|assert 0 != 0",
        _ids(
            "tests/devices/test_current.py",
            "test_ranks_under_mpirun_take_a_gpu_each_and_their_arrays_travel_through_the_host", 2, 1,
        ),
    ),
    Row(
        "F18", "arrays of a device are not staged",
        (Guard("distgrad.distributed.collectives.work", "transferable", from_the_host),),
        r"travel through host memory|Error",
        (
            *_ids(
                "tests/devices/test_current.py",
                "test_ranks_under_mpirun_take_a_gpu_each_and_their_arrays_travel_through_the_host", 2,
            ),
            *_ids(_COMMUNICATORS, "test_mpi", 2),
        ),
    ),
    Row(
        "F19", "the launcher's size is not compared", (Guard(_MPI, "check_launcher_size", nothing),),
        r"assert 0 != 0",
        _ids(_STARTING, "test_f19_separate_jobs_of_one_rank_are_refused"),
    ),
    Row(
        "F19a", "processes that torchrun started each train alone",
        (Guard(_PROCESS_GROUP, "check_not_torchruns", nothing),), r"assert 0 != 0",
        _ids(_STARTING, "test_f19_processes_that_torchrun_started_are_refused", "default", "gloo", "mpi"),
    ),
    Row(
        "F19b", "the same, seen with the other MPI's mpirun (MPICH's library refuses Open MPI's by itself)",
        (Guard(_MPI, "check_launcher_size", nothing),), r"assert 0 != 0",
        _ids(_STARTING, "test_f19_the_other_mpis_launcher_is_refused"), only="Open MPI",
    ),
    Row(
        "F20", "ranks above 0 keep their standard input", (Guard(_PROCESS_GROUP, "leave_stdin_to_rank_0", nothing),),
        HUNG, _ids(_STARTING, "test_f20_ranks_above_0_never_read_stdin", "pipe-2", "pipe-3", "pipe-4"),
    ),
    Row(
        "F20b", "mpirun is not told that there is nothing to read (MPICH's finds the end by itself)",
        (Guard("distgrad.cli.run", "_nothing_to_read", always(False)),), HUNG,
        _ids(_STARTING, "test_f20_stdin_from_nowhere_is_empty_on_all_ranks"), only="Open MPI",
    ),
    Row(
        "F20c", "lines of a hostfile are not looked at",
        (Guard("distgrad.cli._hosts", "parse_hostfile", always({})),),
        r"assert 0 != 0|'hosts, line 2|is neither slots=N",
        _ids(_STARTING, "test_f20_a_bad_hostfile_is_an_error_that_names_the_line"),
    ),
    Row(
        "F20d", "what a killed job of the same number has left is in a job's way (Open MPI's alone)",
        (Guard("distgrad.cli.run", "_keep_clear_of_leftovers", nothing),), r"exit code|assert",
        _ids("tests/cli/test_run.py", "test_what_a_killed_job_has_left_is_in_no_jobs_way", "start0"), only="Open MPI",
    ),
)  # fmt: skip
