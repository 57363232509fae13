"""What a check is, what became of it, and the report on one plugin."""

from __future__ import annotations

import dataclasses
import inspect
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from . import patience

__all__ = [
    "CHECKS", "Check", "CheckFailed", "NotApplicable", "Report", "Result", "Rows", "Subject", "check", "demand",
    "must_raise", "same_bits",
]  # fmt: skip


class CheckFailed(AssertionError):
    """A plugin does not do what the check asserts; the message says what it does instead."""


class NotApplicable(Exception):
    """The check asserts what this plugin need not do; the message says why."""


class Subject(Protocol):
    """A plugin's class with the settings to check it by.

    Attributes:
        cls: the class.
        skip: names of checks that do not apply to it, each with the reason.
    """

    cls: type
    skip: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What became of one check: ``outcome`` is ``"passed"``, ``"failed"`` or ``"skipped"``; ``why`` explains."""

    check: str
    outcome: str
    why: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that every plugin of a kind must do.

    Attributes:
        name: of the function; ``skip`` refers to it.
        asserts: the first line of its docstring.
        function: takes the subject and raises :class:`CheckFailed` or :class:`NotApplicable`.
    """

    name: str
    asserts: str
    function: Callable[[Any], None]

    def run(self, subject: Subject, leave: Callable[[Result], None] | None = None) -> Result:
        """Make the check; whatever a stranger's code raises is a failure, with the line it comes from.

        So is one that goes no further, where the subject has a ``limit``: the seconds that it may stand still.

        Args:
            leave: called, from another thread, where a check stands still that cannot be left behind.
        """
        if self.name in subject.skip:
            return Result(self.name, "skipped", subject.skip[self.name])
        limit = getattr(subject, "limit", None)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a check judges what comes out, infinities and nan included
                if limit is not None and getattr(subject, "can_be_left", False):
                    patience.within(limit, lambda: self._call(subject))
                elif limit is not None and leave is not None:
                    with patience.watched(limit, lambda why: leave(Result(self.name, "failed", why))):
                        self._call(subject)
                else:
                    self._call(subject)
        except patience.StoodStill as still:
            return Result(self.name, "failed", str(still))
        except NotApplicable as reason:
            return Result(self.name, "skipped", str(reason))
        except CheckFailed as failure:
            return Result(self.name, "failed", str(failure))
        except Exception as error:  # the others are still made
            return Result(self.name, "failed", f"{type(error).__name__}: {error}{_place(error, subject.cls)}")
        return Result(self.name, "passed")

    def _call(self, subject: Subject) -> None:
        with np.errstate(all="ignore"):
            self.function(subject)


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """The results of all checks of one plugin; ``str()`` of it is a table."""

    kind: str
    name: str
    note: str
    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    @property
    def failed(self) -> list[str]:
        """The names of the checks that failed."""
        return [r.check for r in self.results if r.outcome == "failed"]

    def raise_if_failed(self) -> None:
        """:class:`CheckFailed`, with the table, if anything failed."""
        if self.failed:
            raise CheckFailed(str(self))

    def __str__(self) -> str:
        rows = Rows(self.kind)
        return "\n".join([self.heading, *map(rows.row, self.results), self.counts])

    @property
    def heading(self) -> str:
        """The first line of the table."""
        return f"{self.kind} {self.name}" + (f" ({self.note})" if self.note else "")

    @property
    def counts(self) -> str:
        """The last one."""
        counts = {o: sum(r.outcome == o for r in self.results) for o in ("passed", "failed", "skipped")}
        return ", ".join(f"{n} {outcome}" for outcome, n in counts.items())


class Rows:
    """The rows of a table as the results come: a reason that was given before is referred to."""

    def __init__(self, kind: str) -> None:
        self._checks = CHECKS[kind]
        self._width = max(map(len, self._checks))
        self._said: dict[tuple[str, str], str] = {}

    def row(self, result: Result) -> str:
        """The line, or lines, of one result."""
        text = self._checks[result.check].asserts
        if result.outcome != "passed":
            first = self._said.setdefault((result.outcome, result.why), result.check)
            text = result.why.replace("\n", "\n" + " " * (self._width + 13))
            text = text if first == result.check else f"as {first}"
        return f"  {result.outcome:7}  {result.check:{self._width}}  {text}"


CHECKS: dict[str, dict[str, Check]] = {}
"""The kit: for each kind the checks by name, in the order they are made."""


def check(kind: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Enter a function into :data:`CHECKS`; the first line of its docstring is what it asserts."""

    def enter(function: Callable[[Any], None]) -> Callable[[Any], None]:
        asserts = (inspect.getdoc(function) or "").partition("\n")[0].rstrip(".")
        CHECKS.setdefault(kind, {})[function.__name__] = Check(function.__name__, asserts, function)
        return function

    return enter


def demand(condition: object, otherwise: str) -> None:
    """:class:`CheckFailed` unless ``condition``."""
    if not condition:
        raise CheckFailed(otherwise)


def must_raise(kind: type[Exception], make: Callable[[], Any], what: str) -> None:
    """:class:`CheckFailed` unless ``make()`` raises ``kind``; ``what`` was tried."""
    try:
        make()
    except kind:
        return
    except CheckFailed:  # it fails before that
        raise
    except Exception as error:
        demand(False, f"{what} raises {type(error).__name__} ({error}), not {kind.__name__}")
    demand(False, f"{what} is accepted; it must raise {kind.__name__}")


def same_bits(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> bool:
    """Whether two lists of arrays are equal bit for bit, shapes and dtypes included."""
    return len(a) == len(b) and all(
        x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True)
    )


def _place(error: BaseException, cls: type) -> str:
    """Where in the plugin's own file ``error`` passed last."""
    try:
        file = inspect.getfile(cls)
    except (OSError, TypeError):  # made in an interpreter
        return ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({file}, line {lines[-1]})" if lines else ""
