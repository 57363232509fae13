"""What all tests share: skips for what a machine lacks, ranks as subprocesses, and hypothesis without deadlines."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

import environment

# Time is never asserted, and on a shared machine a deadline fails at random.
hypothesis.settings.register_profile("distgrad", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("distgrad")

RunRanks = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("torch") and importlib.util.find_spec("torch") is None:
            item.add_marker(pytest.mark.skip(reason="PyTorch is not installed"))
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skipif(_no_gpu(), reason="no GPU, or CuPy is not installed"))
        if item.get_closest_marker("mpi"):
            item.add_marker(pytest.mark.skipif(_no_mpi(), reason="no mpirun beside this Python; pip install '.[mpi]'"))


def _no_gpu() -> bool:
    from distgrad import backend

    return backend.device_count() == 0


def _no_mpi() -> bool:
    return not os.environ.get("CI") and not Path(sys.executable).with_name("mpirun").exists()


@pytest.fixture
def run_ranks(tmp_path: Path) -> RunRanks:
    """``run_ranks(n, script_text_or_path, *arguments, timeout=60, env=None)``: the finished ``mpirun -n n python …``.

    Output is captured as text.  After ``timeout`` seconds the whole process group is killed and the test fails with
    what had been printed.
    """

    def run(
        ranks: int, script: str | Path, *arguments: str, timeout: float = 60, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        if isinstance(script, str):
            path = tmp_path / "ranks.py"
            path.write_text(script, encoding="utf-8")
        else:
            path = script
        command = [*environment.mpirun(sys.executable), "-n", str(ranks), sys.executable, str(path), *arguments]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment.mpi_environ(ranks), **(env or {})},
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            pytest.fail(f"{ranks} ranks did not end within {timeout} s\n-- stdout\n{out}\n-- stderr\n{err}")
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    return run
