"""The test command's own arithmetic: what it counts, and that nothing that went wrong counts as passed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

import run

CLEAN = '<testsuite tests="3" failures="0" errors="0" skipped="1"/>'
MIXED = '<testsuites><testsuite tests="10" failures="3" errors="1" skipped="2"/></testsuites>'


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What each step will do: its exit code, and the counts it reports (None: it dies before reporting)."""
    made: dict[str, Any] = {"code": 0, "report": CLEAN, "seen": []}

    def step(title: str, command: list[str], together: bool = False) -> int:
        made["seen"].append(command)
        for word in command:
            if word.startswith("--junitxml=") and made["report"] is not None:
                Path(word.partition("=")[2]).write_text(made["report"], encoding="utf-8")
        return int(made["code"])

    monkeypatch.setattr(run, "_run", step)
    monkeypatch.setattr(run, "_link_packages", lambda: None)
    monkeypatch.setattr(run.environment, "ensure", lambda venv, extras, beside=None: Path(venv, "bin", "python"))
    return made


@pytest.mark.parametrize("late", [0.0, 0.2], ids=["", "checks that end last"])
def test_all_steps_are_summed(
    late: float, steps: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_link_packages", lambda: time.sleep(late))
    assert run.main([]) == 0
    ran = [(Path(c[0]).parts[-3], c[2]) for c in steps["seen"]]
    # The checks run beside the tests of both MPIs: any of them may be the last.
    assert sorted(ran) == [*[(".venv", name) for name in ("mypy", "mypy", "pytest", "ruff")], (".venv-mpich", "pytest")]
    assert [c[2] for c in steps["seen"] if c[2] != "pytest"] == ["ruff", "mypy", "mypy"]
    (last,) = [c for c in steps["seen"] if ".venv-mpich" in c[0]]
    assert last[4:6] == ["-m", "mpi"]
    assert capsys.readouterr().out.splitlines()[-1] == "7 passed, 0 failed, 2 skipped"


def test_quick_runs_linter_and_a_selection_and_hands_on_what_else_is_said(steps: dict[str, Any]) -> None:
    assert run.main(["--quick"]) == 0
    linter, tests = steps["seen"]
    assert linter[2] == "ruff"
    assert tests[2] == "pytest"
    assert tests[-2:] == ["-m", run.QUICK]
    assert run.main(["-x", "--quick", "tests/ops"]) == 0
    assert steps["seen"][-1][-4:] == ["-m", run.QUICK, "-x", "tests/ops"]
    steps["code"], steps["report"] = 1, MIXED
    assert run.main(["--quick"]) == 1


def test_arguments_are_handed_to_both_in_one_process(steps: dict[str, Any]) -> None:
    assert run.main(["-x", "tests/plugins"]) == 0
    first, second = steps["seen"]
    assert first[4:] == ["-x", "tests/plugins"]
    assert second[4:] == ["-m", "mpi", "-x", "tests/plugins"]


def test_a_step_beside_others_says_all_at_its_end(capfd: pytest.CaptureFixture[str]) -> None:
    code = "import os; print([os.environ[n] for n in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')]); raise SystemExit(3)"
    assert run._run("a step", [sys.executable, "-c", code], together=True) == 3
    heading, said, result = capfd.readouterr().out.strip().splitlines()
    assert heading.startswith("== a step: -c import os")
    assert said == "['1', '1']"
    assert result.startswith("== a step: exit code 3 in ")


def test_failures_and_errors_fail(steps: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    steps["code"], steps["report"] = 1, MIXED
    assert run.main(["-x"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "8 passed, 8 failed, 4 skipped"


@pytest.mark.parametrize("report", [None, "no XML", '<testsuite tests="3" failures="0" errors="0" skipped="0"/>'])
def test_a_crash_is_a_failure(steps: dict[str, Any], report: str | None) -> None:
    steps["code"], steps["report"] = 139, report
    assert run.main(["tests"]) == 1


def test_an_empty_run_fails_unless_a_developer_selected(steps: dict[str, Any]) -> None:
    steps["code"], steps["report"] = run.NOTHING_COLLECTED, '<testsuite tests="0" failures="0" errors="0" skipped="0"/>'
    assert run.main(["tests/plugins"]) == 0
    assert run.main([]) == 1
