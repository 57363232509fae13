"""``python -m distgrad doctor``: what is here under either MPI, and each thing that can be wrong, with its remedy."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from distgrad import backend
from distgrad.cli import _checks, _mpirun, _probes, main, run
from tests.cli import launchers
from tests.helpers.ranks import Finished, is_open_mpi, job_environment, run_job

find_launchers = _mpirun.find_launchers
LIBRARY = _mpirun.Library("openmpi", "5.0.11", "Open MPI v5.0.11", "4.1.2")
WELL = {
    "size": 2, "sum": 3.0, "seconds": 1e-5, "thread_level": "MULTIPLE", "windows": "", "memory": "", "ft": "1",
    "cuda": True,
}  # fmt: skip


def diagnose(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: _mpirun.Library = LIBRARY, **answer: Any
) -> dict[str, _checks.Finding]:
    """What is found of MPI on a machine with this library, Open MPI's mpirun on PATH, and jobs that answer so."""
    launchers.make(tmp_path / "bin", "openmpi")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(run.sys, "executable", str(tmp_path / "env/python"))
    monkeypatch.setattr(_mpirun, "find_launchers", lambda: find_launchers(str(tmp_path / "env/python")))
    monkeypatch.setattr(_mpirun, "library_of", lambda timeout=0.0: library)
    monkeypatch.setattr(_probes, "ask", lambda *a, **k: answer or WELL)
    found = _checks.mpi(1.0)
    assert all(bool(finding.remedy) == (finding.status != "ok") for finding in found)
    return {finding.name: finding for finding in found}


def test_all_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = diagnose(monkeypatch, tmp_path)
    assert {finding.status for name, finding in found.items() if name != "/dev/shm"} == {"ok"}
    assert found["mpirun"].found.endswith("(Open MPI 5.0.11) matches")
    assert found["cuda-aware mpi"].found == "yes; arrays on a GPU travel directly"


@pytest.mark.parametrize(
    ("answer", "name", "status", "text"),
    [
        ({"problem": "no answer within 1 s"}, "2 ranks", "fail", "no answer within 1 s"),
        ({"size": 1, "sum": 1.0}, "2 ranks", "fail", "a world of 1 ranks"),
        ({"sum": 2.0}, "2 ranks", "fail", "a sum of 2.0 where"),
        ({"thread_level": "SINGLE"}, "thread level", "warn", "SINGLE: only the thread"),
        ({"windows": "no space left"}, "mpi-3 windows", "warn", "no space left"),
        ({}, "mpi-3 windows", "ok", "work between two ranks; not used"),
        ({"memory": "rank 1 cannot open it"}, "shared parameters", "warn", "not in memory of the node (memfd): rank 1"),
        ({}, "shared parameters", "ok", "once in memory of the node (memfd), which two ranks have shared"),
        ({"ft": ""}, "ulfm", "ok", "is not supported here"),
        ({"cuda": None}, "cuda-aware mpi", "ok", "not told; arrays on a GPU travel through host memory"),
    ],
)
def test_what_two_ranks_tell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: dict[str, Any], name: str, status: str, text: str
) -> None:
    finding = diagnose(monkeypatch, tmp_path, **(answer if "problem" in answer else WELL | answer))[name]
    assert finding.status == status
    assert text in finding.found


def test_without_mpi_one_process_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = diagnose(
        monkeypatch, tmp_path, _mpirun.Library(problem="mpi4py is not installed (No module named 'mpi4py')")
    )
    assert list(found) == ["mpi library"]
    assert found["mpi library"].status == "warn"
    assert "pip install 'distgrad[mpi]'" in found["mpi library"].remedy


def test_an_mpi4py_without_a_library_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = diagnose(monkeypatch, tmp_path, _mpirun.Library(mpi4py="4.1.2", problem="mpi4py finds no MPI library: x"))
    assert found["mpi library"].status == "fail"


def test_another_mpis_mpirun_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mpich = _mpirun.Library("mpich", "5.0.2", "MPICH Version: 5.0.2", "4.1.2")
    found = diagnose(monkeypatch, tmp_path, mpich)
    assert found["mpirun"].status == "fail"
    assert "pip install mpich" in found["mpirun"].found
    launchers.make(tmp_path / "env", "mpich", "mpiexec")
    found = diagnose(monkeypatch, tmp_path, mpich)
    assert found["mpirun"].status == "ok"
    assert found["mpirun on PATH"].status == "warn"
    assert found["ulfm"].found.startswith("not with MPICH 5.0.2")


def test_the_exit_code_and_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_checks, "mpi", lambda timeout: [_checks.Finding("2 ranks", "fail", "no answer", "reboot")])
    assert main(["doctor"]) == 1
    assert "FAIL  2 ranks: no answer\n      -> reboot\n" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert {"name": "2 ranks", "status": "fail", "found": "no answer", "remedy": "reboot"} in told["checks"]
    monkeypatch.setattr(_checks, "mpi", lambda timeout: [_checks.Finding("2 ranks", "warn", "slow", "wait")])
    assert main(["doctor"]) == 0
    monkeypatch.setenv("PMI_SIZE", "2")
    assert main(["doctor"]) == 2
    assert "without mpirun" in capsys.readouterr().err


def test_a_probe_that_hangs_or_dies_is_an_answer() -> None:
    assert _probes.ask("import time; time.sleep(60)", 0.5) == {"problem": "no answer within 0.5 s"}
    assert _probes.ask("import os; os._exit(3)", 30) == {"problem": "exit code 3: it said nothing"}
    assert _probes.ask("raise ValueError('broken')", 30) == {"problem": "exit code 1: ValueError: broken"}


def test_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def see(driver: bool, cupy: bool, count: int) -> _checks.Finding:
        monkeypatch.setattr(_checks.shutil, "which", lambda name: name if driver else None)
        monkeypatch.setattr(_checks.importlib.util, "find_spec", lambda name: object() if cupy else None)
        monkeypatch.setattr(backend, "device_count", lambda: count)
        return _checks.gpus()[0]

    assert see(driver=True, cupy=False, count=0).remedy.endswith("pip install 'distgrad[cuda12]' (or cuda13)")
    assert see(driver=True, cupy=True, count=0).status == "warn"
    assert see(driver=True, cupy=True, count=2).found.startswith("2; a rank takes")


def test_cores_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_checks.os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(run, "cores", lambda: 2)
    for name in run.THREADS:
        monkeypatch.delenv(name, raising=False)
    found = {finding.name: finding for finding in _checks.cores()}
    assert found["quota"].remedy.startswith("set OMP_NUM_THREADS=2")
    assert "each rank would use 8 BLAS threads" in found["threads a rank"].found
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "threads a rank" not in {finding.name for finding in _checks.cores()}


def test_blas_is_named_without_threadpoolctl(monkeypatch: pytest.MonkeyPatch) -> None:
    with_it = _checks.blas()[0].found
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert "blas" in with_it.lower()
    assert "blas" in _checks.blas()[0].found.lower()
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert _checks.blas()[1].status == "warn"


def doctor(environ: Mapping[str, str], *arguments: str) -> Finished:
    return run_job([sys.executable, "-m", "distgrad", "doctor", *arguments], 200.0, dict(environ))


@pytest.mark.mpi
def test_here() -> None:
    done = doctor(job_environment(1), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert ("Open MPI" if is_open_mpi() else "MPICH") in told["mpi library"]["found"]
    assert str(Path(sys.executable).with_name("mpirun")) in told["mpirun"]["found"]
    assert told["2 ranks"]["status"] == "ok"
    assert told["thread level"]["found"] == "MULTIPLE"
    assert told["shared parameters"]["found"] == "once in memory of the node (memfd), which two ranks have shared"
    assert told["mpi-3 windows"]["found"].startswith("work between two ranks; not used")
    assert told["ulfm"]["found"].startswith("with mpirun --with-ft ulfm" if is_open_mpi() else "not with MPICH")


@pytest.mark.mpi
def test_here_with_less_threading() -> None:
    done = doctor(job_environment(1) | {"MPI4PY_RC_THREAD_LEVEL": "single"})
    assert "warn  thread level: SINGLE" in done.stdout
    assert "-> unset MPI4PY_RC_THREAD_LEVEL" in done.stdout


def test_here_without_mpi4py(tmp_path: Path) -> None:
    (tmp_path / "mpi4py.py").write_text("raise ImportError('not here')\n", encoding="utf-8")
    done = doctor(os.environ | {"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "warn  mpi library: mpi4py is not installed (not here)" in done.stdout
