"""The files that people hand to Slurm, PBS and Kubernetes: checked by a linter and a schema, and run with stand-ins."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from distgrad.cli import _hosts, _mpirun, main
from tests.cli import launchers

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [*sorted((ROOT / "launch").glob("*.sh")), ROOT / "tests" / "two_hosts.sh"]
SCHEMA = json.loads(Path(__file__).with_name("mpijob_schema.json").read_text(encoding="utf-8"))


def text_of(name: str) -> str:
    return (ROOT / "launch" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_clean(script: Path) -> None:
    beside = Path(sys.executable).with_name("shellcheck")
    found = str(beside) if beside.exists() else shutil.which("shellcheck")
    command = [found, str(script)] if found else ["bash", "-n", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def submitted(tmp_path: Path, script: str, arguments: list[str], **settings: str) -> tuple[list[str], dict[str, str]]:
    """The words and the environment of what ``script`` starts, with an srun and an mpirun that print them."""
    launchers.make(tmp_path / "bin", "openmpi")
    launchers.make(tmp_path / "bin", "openmpi", "srun")
    (tmp_path / "train.py").write_text("", encoding="utf-8")
    # The MPI of the Python below, which in these tests may have none.
    fake = "class rc: initialize = True\n__version__ = '4.1.2'\n"
    (tmp_path / "site/mpi4py").mkdir(parents=True, exist_ok=True)
    (tmp_path / "site/mpi4py/__init__.py").write_text(fake, encoding="utf-8")
    (tmp_path / "site/mpi4py/MPI.py").write_text(
        "def Get_library_version():\n    return 'Open MPI v5.0.11'\n", encoding="utf-8"
    )
    # By another name of the interpreter, so that the mpirun beside the real one is not found.
    python = tmp_path / "env" / "python"
    python.parent.mkdir(exist_ok=True)
    if not python.exists():
        python.symlink_to(sys.executable)
    environ = {
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "PYTHONPATH": f"{tmp_path / 'site'}:{ROOT}:{sysconfig.get_path('purelib')}",
        "HOME": str(tmp_path),
        "PYTHON": str(python),
        **settings,
    }
    command = ["bash", str(ROOT / "launch" / script), *arguments]
    done = subprocess.run(
        command,
        env=environ,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    first = next(i for i, line in enumerate(lines) if re.match(r"[A-Z_]+=", line))
    return lines[:first], dict(line.split("=", 1) for line in lines[first:] if "=" in line)


def test_slurm_starts_a_rank_a_task(tmp_path: Path) -> None:
    words, environ = submitted(tmp_path, "slurm.sh", ["train.py", "--name", "a b"], SLURM_CPUS_PER_TASK="8")
    assert words[:3] == ["--mpi=pmix", "--cpus-per-task=8", "--kill-on-bad-exit=1"]
    assert words[4:] == ["train.py", "--name", "a b"]
    assert {environ[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"8"}
    words, _ = submitted(tmp_path, "slurm.sh", ["train.py"], MPI_TYPE="pmi2")
    assert words[:2] == ["--mpi=pmi2", "--cpus-per-task=1"]


def test_slurm_without_pmi_uses_mpirun(tmp_path: Path) -> None:
    settings = {"LAUNCH": "mpirun", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "3"}
    words, environ = submitted(tmp_path, "slurm.sh", ["train.py", "x"], **settings, SLURM_TASKS_PER_NODE="4(x2)")
    assert words[:2] == ["--bind-to", "none"]
    assert words[words.index("-n") + 1] == "8"
    assert words[-2:] == ["train.py", "x"]
    assert environ["OMP_NUM_THREADS"] == "3"


def test_slurms_options_are_known() -> None:
    options = re.findall(r"^#SBATCH --([a-z-]+)=", text_of("slurm.sh"), re.MULTILINE)
    assert options == ["job-name", "nodes", "ntasks-per-node", "cpus-per-task", "time", "signal"]


def test_pbs_starts_a_rank_a_line_of_its_node_file(tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("one\none\ntwo\ntwo\n", encoding="utf-8")
    settings = {"PBS_NODEFILE": str(tmp_path / "nodes"), "PBS_O_WORKDIR": str(tmp_path), "OMP_NUM_THREADS": "8"}
    words, environ = submitted(tmp_path, "pbs.sh", [], SCRIPT="train.py", ARGUMENTS="--epochs 10", **settings)
    assert words[:2] == ["--host", "one:2,two:2"]
    assert words[words.index("-n") + 1] == "4"
    assert words[-3:] == ["train.py", "--epochs", "10"]
    assert environ["OMP_NUM_THREADS"] == "8"
    assert "#PBS -l select=2:ncpus=32:mpiprocs=4:ompthreads=8" in text_of("pbs.sh")


def mpijob() -> Any:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(text_of("mpijob.yaml"))


def test_the_mpijob_fits_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(mpijob(), SCHEMA)
    for path, value in (
        (("apiVersion",), "kubeflow.org/v1"),
        (("spec", "slotsPerWorker"), "4"),
        (("spec", "cleanPodPolicy"), "Running"),
        (("spec", "mpiReplicaSpecs", "Launcher", "replicas"), 2),
        (("spec", "mpiReplicaSpecs", "Launcher", "template", "spec", "containers"), []),
    ):
        broken = copy.deepcopy(mpijob())
        inner = broken
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA)


def test_the_mpijobs_numbers_agree_and_its_command_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = mpijob()["spec"]
    workers, slots = spec["mpiReplicaSpecs"]["Worker"]["replicas"], spec["slotsPerWorker"]
    launcher = spec["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]
    words = [*launcher["command"], *launcher["args"]]
    assert words[:4] == ["python", "-m", "distgrad", "run"]
    assert words[words.index("-n") + 1] == str(workers * slots)
    worker = spec["mpiReplicaSpecs"]["Worker"]["template"]["spec"]
    cpus = worker["containers"][0]["resources"]["limits"]["cpu"]
    assert int(words[words.index("--threads") + 1]) == cpus // slots
    # The operator's host file; the line that it makes.
    hosts = "".join(f"distgrad-worker-{i}.distgrad.default.svc slots={slots}\n" for i in range(workers))
    (tmp_path / "hostfile").write_text(hosts, encoding="utf-8")
    (tmp_path / "train.py").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_mpirun, "library_of", lambda: _mpirun.Library("openmpi", "5.0.11"))
    found = _mpirun.launcher_at(launchers.make(tmp_path / "bin", "openmpi"))
    monkeypatch.setattr(_mpirun, "find_launchers", lambda: [found])
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        monkeypatch.delenv(name, raising=False)
    words[words.index("/etc/mpi/hostfile")] = "hostfile"
    assert main(["run", "--dry-run", *words[4:]]) == 0
    names = ",".join(f"{name}:{slots}" for name in _hosts.parse_hostfile("hostfile"))
    assert f" --host {names} " in capsys.readouterr().out
    volume = next(v for v in worker["volumes"] if v["name"] == worker["containers"][0]["volumeMounts"][0]["name"])
    assert volume["emptyDir"]["medium"] == "Memory"
