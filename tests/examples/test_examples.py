"""Every example prints what its docstring says, on one process and on two ranks."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.docs import run_programs
from tests.docs.blocks import ROOT, matches
from tests.docs.test_blocks import report_of
from tests.helpers.ranks import HANG, job_environment, run_job, run_ranks

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
RUNNER = Path(run_programs.__file__)


def expected_of(path: Path) -> str:
    """What stands below ``Output:`` in the docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    _, found, output = text.partition("Output:\n")
    assert found, f"{path.name} does not say what it prints"
    return "".join(f"{line.strip()}\n" for line in output.splitlines())


def check(printed: dict[str, str]) -> None:
    assert set(printed) == set(map(str, EXAMPLES))
    for path in EXAMPLES:
        assert matches(expected_of(path), printed[str(path)]), f"{path.name} printed\n{printed[str(path)]}"


@pytest.mark.slow
def test_on_one_process(tmp_path: Path) -> None:
    report = tmp_path / "report"
    command = [sys.executable, str(RUNNER), str(report), str(tmp_path), *map(str, EXAMPLES)]
    check(report_of(run_job(command, HANG, job_environment(1)), report))


@pytest.mark.slow
@pytest.mark.mpi
def test_on_two_ranks(tmp_path: Path) -> None:
    report = tmp_path / "report"
    check(report_of(run_ranks(2, RUNNER, str(report), str(tmp_path), *map(str, EXAMPLES)), report))


def test_there_are_ten_and_they_are_short() -> None:
    assert len(EXAMPLES) == 10
    assert [p.name for p in EXAMPLES if len(p.read_text(encoding="utf-8").splitlines()) >= 60] == []
