"""The local launcher and the one-line demonstration, with setting up replaced by this very environment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import digits
import environment
import local
from tests.helpers.ranks import run_job


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter with an mpirun beside it, neither of which runs."""
    folder = tmp_path / "env" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "mpirun"):
        (folder / name).touch()
    return folder / "python"


def test_ranks_times_threads_are_the_cores(python, monkeypatch, capsys):
    started = []
    monkeypatch.setattr(environment, "cores", lambda: 8)
    for name in environment.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(local.os, "execvpe", lambda *arguments: started.append(arguments))
    local.main(["-n", "4", "--python", str(python), __file__, "--epochs", "3", "-n", "7"])
    file, line, environ = started[0]
    assert file == str(python.with_name("mpirun"))
    assert line == [file, "-n", "4", str(python), __file__, "--epochs", "3", "-n", "7"]
    assert {environ[name] for name in environment.THREAD_VARIABLES} == {"2"}
    assert "OMP_NUM_THREADS=2" in capsys.readouterr().err


def test_the_line_shown_has_what_a_plain_shell_lacks(python, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("OMPI_ALLOW_RUN_AS_ROOT", raising=False)
    line = local.command(python, 2, "a script.py", ["--x", "$1"])
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1"}
    shown = local.shown(line, environ)
    assert shown.startswith(f"OMPI_ALLOW_RUN_AS_ROOT=1 {python.with_name('mpirun')} -n 2 ")
    assert shown.endswith("'a script.py' --x '$1'")


def test_paths_in_the_checkout_are_shortened():
    root = environment.ROOT
    assert local.shortened([f"{root}/.venv/bin/mpirun", "-n", f"{root}x", "/bin/sh"]) == [
        ".venv/bin/mpirun", "-n", f"{root}x", "/bin/sh",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "0", __file__], "the number of ranks must be at least 1, got 0"),
        (["-n", "two", __file__], "invalid int value: 'two'"),
        (["no/such/script.py"], "there is no script no/such/script.py"),
        ([], "the following arguments are required: script"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        local.main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_an_environment_without_mpirun_is_an_error(tmp_path):
    with pytest.raises(SystemExit, match="there is no mpirun beside"):
        local.main(["--python", str(tmp_path / "python"), __file__])


def test_digits_sets_up_runs_and_passes_the_exit_code_on(python, monkeypatch, capsys):
    asked, ran = [], []

    def ensure(folder, extras):
        asked.append((folder, extras))
        return python

    def finish(line, **options):
        ran.append((line, options))
        return subprocess.CompletedProcess(line, 3)

    monkeypatch.setattr(environment, "ensure", ensure)
    monkeypatch.setattr(digits.subprocess, "run", finish)
    assert digits.main(["--epochs", "2"]) == 3
    assert asked == [(environment.ROOT / ".venv", ["mpi", "demo", "fast"])]
    line, options = ran[0]
    assert line[:3] == [str(python.with_name("mpirun")), "-n", "2"]
    assert line[-2:] == ["--epochs", "2"]
    assert options["cwd"] == environment.ROOT
    out = capsys.readouterr().out
    assert "exit code 3 from the line" in out
    assert f"{python.with_name('mpirun')} -n 2 {python} launch/train.py --dataset digits" in out


@pytest.mark.mpi
def test_digits_ends_above_97_percent(tmp_path):
    script = (
        "import sys, environment, digits; from pathlib import Path; "
        "environment.ensure = lambda folder, extras: Path(sys.executable); "
        f"sys.exit(digits.main(['--checkpoint-dir', {str(tmp_path / 'run')!r}]))"
    )
    environ = {**os.environ, "PYTHONPATH": os.path.dirname(digits.__file__)}
    done = run_job([sys.executable, "-c", script], 240.0, environ)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"validation loss .* accuracy ([\d.]+)%", done.stdout)
    assert len(found) == 30
    assert float(found[-1]) > 97
    assert "epoch 1/30: " in done.stderr  # the progress bar
    assert re.search(r"the line that ran in .*:\n.*mpirun -n 2 .*launch/train.py --dataset digits", done.stdout)
    for name in ("checkpoint.safetensors", "learning-curve.png"):
        assert f"{tmp_path / 'run' / name}" in done.stdout
        assert (tmp_path / "run" / name).stat().st_size > 1000


@pytest.mark.mpi
def test_local_gives_each_rank_its_threads(tmp_path):
    script = tmp_path / "say.py"
    # one write: ranks share the pipe
    program = "import os; os.write(1, b'threads %s\\n' % os.environ['OMP_NUM_THREADS'].encode())"
    script.write_text(program, encoding="utf-8")
    environ = {k: v for k, v in os.environ.items() if k not in environment.THREAD_VARIABLES}
    command = [sys.executable, local.__file__, "-n", "2", "--python", sys.executable, str(script)]
    done = run_job(command, 150.0, environ)
    assert done.returncode == 0, done.stderr
    threads = max(1, environment.cores() // 2)
    assert done.stdout.split() == ["threads", str(threads)] * 2


@pytest.mark.mpi
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupt_of_digits_ends_the_ranks_without_a_traceback(tmp_path, number):
    """Ctrl-C saves, in the middle of an epoch too, and names --resume; SIGTERM ends the job."""
    folder = tmp_path / "run"
    script = (
        "import sys, environment, digits; from pathlib import Path; "
        "environment.ensure = lambda folder, extras: Path(sys.executable); "
        f"sys.exit(digits.main(['--checkpoint-dir', {str(folder)!r}, '--epochs', '100000', '--no-progress']))"
    )
    environ = {**os.environ, "PYTHONPATH": os.path.dirname(digits.__file__)}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ, stdin=subprocess.DEVNULL
    ) as job:
        said = ""
        while "epoch 2/" not in said:
            line = job.stdout.readline()
            assert line, said
            said += line
        job.send_signal(number)
        said += job.communicate(timeout=100)[0]
    assert "Traceback" not in said, said
    assert (folder / "checkpoint.safetensors").exists()
    if number == signal.SIGINT:
        assert job.returncode == 130, said
        assert f"checkpoint: {folder / 'checkpoint.safetensors'}. The same command with --resume goes on" in said, said
    else:
        assert job.returncode != 0, said
