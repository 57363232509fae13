"""The test command's own arithmetic: what it counts, and that nothing that went wrong counts as passed."""

from __future__ import annotations

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

    def step(title: str, command: list[str]) -> int:
        made["seen"].append(command)
        for word in command:
            if word.startswith("--junitxml=") and made["report"] is not None:
                Path(word.partition("=")[2]).write_text(made["report"], encoding="utf-8")
        return int(made["code"])

    monkeypatch.setattr(run, "_run", step)
    monkeypatch.setattr(run, "_link_packages", lambda: None)
    monkeypatch.setattr(run.environment, "ensure", lambda venv, extras: Path(venv) / "bin" / "python")
    return made


def test_all_steps_are_summed(steps: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main([]) == 0
    assert [c[2] for c in steps["seen"]] == ["ruff", "mypy", "mypy", "pytest", "pytest"]
    assert steps["seen"][-1][-2:] == ["-m", "mpi"]
    assert capsys.readouterr().out.splitlines()[-1] == "7 passed, 0 failed, 2 skipped"


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
