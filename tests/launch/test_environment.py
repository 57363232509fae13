"""The set-up that the one-line commands share, with pip and venv replaced by a record of what was asked of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import environment
from tests.helpers import installs
from tests.helpers.ranks import run_ranks

PACKAGES = Path("lib", "python3.99", "site-packages")


class Commands:
    """Stands in for ``subprocess.run``: notes each command, makes the interpreter that venv would make."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []
        self.code = 0

    def __call__(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        self.seen.append(command)
        if "venv" in command:
            python = environment.python_of(command[-1])
            python.parent.mkdir(parents=True, exist_ok=True)
            (python.parent.parent / PACKAGES).mkdir(parents=True, exist_ok=True)
            python.touch()
        return subprocess.CompletedProcess(command, self.code)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    (tmp_path / "pyproject.toml").write_text("first", encoding="utf-8")
    made = Commands()
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment.subprocess, "run", made)
    return made


def test_it_installs_once(commands: Commands, tmp_path: Path) -> None:
    python = environment.ensure(tmp_path / ".venv", ["mpi", "demo"])
    assert python == tmp_path / ".venv" / "bin" / "python"
    assert commands.seen[0] == [sys.executable, "-m", "venv", str(tmp_path / ".venv")]
    assert commands.seen[1][:4] == [str(python), "-m", "pip", "install"]
    assert commands.seen[1][-2:] == ["-e", ".[demo,mpi]"]
    environment.ensure(tmp_path / ".venv", ["mpi"])
    assert len(commands.seen) == 2


def test_it_installs_again_where_something_changed_and_keeps_extras(commands: Commands, tmp_path: Path) -> None:
    environment.ensure(tmp_path / ".venv", ["mpi"])
    environment.ensure(tmp_path / ".venv", ["test"])
    assert commands.seen[-1][-1] == ".[mpi,test]"
    (tmp_path / "pyproject.toml").write_text("second", encoding="utf-8")
    environment.ensure(tmp_path / ".venv", ["mpi"])
    assert commands.seen[-1][-1] == ".[mpi,test]"
    assert len(commands.seen) == 4


def test_a_failed_installation_is_not_taken_for_a_finished_one(commands: Commands, tmp_path: Path) -> None:
    environment.ensure(tmp_path / ".venv", ["mpi"])
    (tmp_path / "pyproject.toml").write_text("second", encoding="utf-8")
    commands.code = 3
    with pytest.raises(SystemExit, match=r"pip failed.*exit code 3"):
        environment.ensure(tmp_path / ".venv", ["mpi"])
    commands.code = 0
    before = len(commands.seen)
    environment.ensure(tmp_path / ".venv", ["mpi"])
    assert len(commands.seen) == before + 1


def test_one_beside_another_sees_its_packages_and_is_made_anew_where_it_did_not(
    commands: Commands, tmp_path: Path
) -> None:
    first = environment.ensure(tmp_path / ".venv", ["mpi", "test"])
    python = environment.ensure(tmp_path / ".venv-other", ["mpich"], beside=first)
    made, installed = commands.seen[2:]
    assert made == [str(first), "-m", "venv", "--without-pip", str(tmp_path / ".venv-other")]
    assert installed[:6] == [str(first), "-m", "pip", "--python", str(python), "install"]
    assert installed[-3:] == ["--no-build-isolation", "-e", ".[mpich]"]
    line = (tmp_path / ".venv-other" / PACKAGES / "beside.pth").read_text(encoding="utf-8")
    assert line == f"import site; site.addsitedir({str(tmp_path / '.venv' / PACKAGES)!r})\n"
    environment.ensure(tmp_path / ".venv-other", ["mpich"], beside=first)
    assert len(commands.seen) == 4
    environment.ensure(tmp_path / ".venv-other", ["demo"])  # alone: what it saw must not pass for its own
    assert commands.seen[4][1:4] == ["-m", "venv", "--clear"]
    assert commands.seen[5][-1] == ".[demo]"


def test_an_old_python_and_a_missing_venv_are_said_plainly(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="module venv and ensurepip is missing.*apt-get install python3-venv"):
        environment.ensure(tmp_path / ".venv", [])
    monkeypatch.setattr(environment.sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer"):
        environment.ensure(tmp_path / ".venv", [])
    assert commands.seen == []


def test_mpirun_is_the_one_beside_the_interpreter(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no mpirun beside"):
        environment.mpirun(tmp_path / "python")
    (tmp_path / "mpirun").touch()
    assert environment.mpirun(tmp_path / "python") == [str(tmp_path / "mpirun")]


@pytest.mark.parametrize(("ranks", "threads", "crowded"), [(1, "6", 0), (4, "1", 0), (2, "3", 0), (7, "1", 1)])
def test_ranks_share_the_cores(monkeypatch: pytest.MonkeyPatch, ranks: int, threads: str, crowded: int) -> None:
    monkeypatch.setattr(environment, "cores", lambda: 6)
    made = environment.mpi_environ(ranks, base={})
    assert {made[name] for name in environment.THREAD_VARIABLES} == {threads}
    assert ("PRTE_MCA_rmaps_default_mapping_policy" in made) == bool(crowded)
    assert ("OMPI_ALLOW_RUN_AS_ROOT" in made) == (os.geteuid() == 0)


def test_what_the_user_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "cores", lambda: 6)
    made = environment.mpi_environ(2, base={"OMP_NUM_THREADS": "5", "MKL_NUM_THREADS": "4", "HOME": "x"})
    assert (made["OMP_NUM_THREADS"], made["OPENBLAS_NUM_THREADS"], made["MKL_NUM_THREADS"]) == ("5", "5", "4")
    assert made["HOME"] == "x"
    with pytest.raises(ValueError, match="at least 1, got 0"):
        environment.mpi_environ(0)


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_mpirun_starts_one_world_of_that_many_ranks(ranks: int) -> None:
    program = (
        "import os\nfrom mpi4py import MPI\nw = MPI.COMM_WORLD\nt = w.allreduce(w.rank)\n"
        "os.write(1, f'{t} {w.size}\\n'.encode())\n"  # one write: ranks share the pipe
    )
    done = run_ranks(ranks, program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(ranks * (ranks - 1) // 2), str(ranks)] * ranks


def test_the_sources_are_found_from_the_helpers() -> None:
    assert environment.ROOT == installs.ROOT
    assert (environment.ROOT / "pyproject.toml").is_file()
