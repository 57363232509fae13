"""The table of guards does not rot: its guards and its tests exist, and what was recorded is what it asks for.

``python tests/guards.py`` runs the table itself; here only one guard is taken out.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import guards
from tests.guards import PAGE, ROOT, Seen, page, recorded, run_tests

guard_rows = guards.guard_rows
ROWS = pytest.mark.parametrize("row", guard_rows.ROWS, ids=lambda row: row.key)


def test_every_failure_has_a_row_and_every_row_a_key_of_its_own() -> None:
    keys = [row.key for row in guard_rows.ROWS]
    assert len(keys) == len(set(keys))
    assert {row.failure for row in guard_rows.ROWS} == set(guard_rows.FAILURES)


@ROWS
def test_its_guards_exist_and_something_else_can_take_their_place(row: guard_rows.Row) -> None:
    for guard in row.guards:
        owner, name = guard.owner(importlib.import_module(guard.module))
        assert guard.instead(getattr(owner, name)) is not getattr(owner, name)


def test_its_tests_exist() -> None:
    names = sorted({test for row in guard_rows.ROWS for test in row.tests})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *names]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(names)} tests collected" in done.stdout


@pytest.mark.slow
def test_with_a_guard_out_its_test_fails() -> None:
    """The machinery: one test without ranks, in whose process the guard is taken out."""
    row = guard_rows.row("F8")
    test = next(name for name in row.tests if "messages" in name)
    seen = guards.compare(guard_rows.Row(row.key, row.off, row.guards, row.seen, (test,)))
    assert seen[test].right, seen
    assert run_tests([f"{test.partition('::')[0]}::test_no_such"])[f"{test.partition('::')[0]}::test_no_such"][0] == (
        "missing"
    )


def test_an_unknown_row_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError, match="no row 'F9' among F1, F1b"):
        guard_rows.row("F9")
    with pytest.raises(SystemExit):
        guards.main(["F9"])
    assert "no rows F9; there are F1, F1b" in capsys.readouterr().err


def test_python_takes_nothing_out_unasked() -> None:
    environ = {k: v for k, v in os.environ.items() if k != guard_rows.VARIABLE} | {"PYTHONPATH": str(guards.OFF)}
    code = "import sys; print([type(f).__name__ for f in sys.meta_path], 'sitecustomize' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=150)
    assert "After" not in done.stdout
    assert done.stdout.rstrip().endswith("True")


@pytest.mark.parametrize("mpi", guards.MPIS)
def test_what_was_seen_is_all_that_is_asked_for(mpi: str) -> None:
    seen = recorded()[mpi]["rows"]
    asked = {row.key: set(row.tests) for row in guard_rows.ROWS if row.only in ("", mpi)}
    assert {key: set(tests) for key, tests in seen.items()} == asked
    assert all(Seen(**one).right for tests in seen.values() for one in tests.values())


def test_the_page_is_what_was_recorded_and_names_no_place_of_a_machine() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(recorded())
    assert str(Path.home()) not in text.replace("`", "")
    assert str(ROOT) not in text
    assert sys.prefix not in text
