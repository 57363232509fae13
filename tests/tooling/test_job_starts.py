"""How tests start jobs: what each job has for itself, and what is in it only where it is asked for."""

from __future__ import annotations

import ast
import sys
import tempfile
from pathlib import Path

import pytest

from tests.helpers.ranks import COMPILED, is_open_mpi, job_environment, run_alone, run_job, run_ranks


def test_a_job_has_a_folder_of_its_own_which_is_removed() -> None:
    say = "import tempfile; print(tempfile.mkdtemp())"
    folders = [Path(run_alone(say).stdout.strip()).parent for _ in range(2)]
    assert folders[0] != folders[1]
    for folder in folders:
        assert folder.parent == Path(tempfile.gettempdir())
        assert not folder.exists()


@pytest.mark.mpi
def test_the_launchers_files_lie_there() -> None:
    """What a killed mpirun leaves ends a later one whose process has the same number."""
    if not is_open_mpi():
        pytest.skip("MPICH's keeps none")
    say = "import os; print([os.path.dirname(os.environ['PMIX_SERVER_TMPDIR']), os.environ['TMPDIR']])"
    job = run_ranks(1, say)
    job.check()
    launchers, own = ast.literal_eval(job.stdout)
    assert launchers == own
    assert Path(own).parent == Path(tempfile.gettempdir())


def test_loops_are_compiled_where_that_is_the_subject() -> None:
    ask = "from distgrad import jit; print(jit.available())"
    for extra, answer in ((None, "False"), (COMPILED, "True")):
        assert run_job([sys.executable, "-c", ask], 60.0, job_environment(1, extra)).stdout == f"{answer}\n"
