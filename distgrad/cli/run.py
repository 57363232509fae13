"""Run a script on N ranks, with the mpirun that belongs to this Python's MPI.

    python -m distgrad run -n 4 train.py --epochs 3
    python -m distgrad run -n 8 --hostfile hosts -m package.train
    python -m distgrad run -n 4 train.py --epochs 3 -- --mca pml ob1

It sets BLAS threads to cores / ranks of a node (OMP_NUM_THREADS, where set, wins), leaves ranks unbound unless asked,
permits root where this is root, and then becomes mpirun (under MPICH it waits for it, and counts who has left the
group): signals and the exit code are mpirun's.  A rank takes the GPU of its number on its node by itself.  What follows
the last -- goes to mpirun (end the line with one more -- where the script takes a -- itself).  --dry-run prints the
line; plain "mpirun -n 4 python train.py" works as well.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from distgrad.cli import _hosts, _mpirun
from distgrad.cli._supervise import supervise

COMMAND = ("run",)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Set by installers of an MPI that is moved about; they would turn the launcher found here into another one.
_PREFIXES = ("OPAL_PREFIX", "PRTE_PREFIX", "PMIX_PREFIX")
_FOLDERS = ("PRTE_MCA_prte_tmpdir_base", "PRTE_MCA_prte_local_tmpdir_base")
_SLURMS = ("SLURM_JOB_ID", "SLURM_JOBID", "SLURM_NODELIST", "SLURM_JOB_NODELIST")
_COMPONENTS = re.compile(r"OMPI_MCA_(pml|btl|mtl|osc|coll)$")
_BINDINGS = ("none", "core", "socket", "numa", "hwthread")


_RANKS_A_CORE = 16


# Launchers whose rank 0 reads what they read, but never its end; releases before and after are not known to.
ENDLESS_STDIN = {("openmpi", "5.0.11")}
# mpirun keeps this process's number, and with it this input, from which rank 0 then reads.
_OWN_STDIN = (
    'if [ "$OMPI_COMM_WORLD_RANK" = 0 ] && [ -r /proc/{0}/fd/0 ]; then exec "$0" "$@" < /proc/{0}/fd/0; '
    'else exec "$0" "$@"; fi'
)


class CannotRun(Exception):
    """The command makes no sense here; the message says why and what would."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--ranks", type=int, required=True, metavar="N", help="how many ranks to start")
    parser.add_argument("--hostfile", metavar="FILE", help="hosts, one a line: name slots=2, or name:2")
    parser.add_argument("--host", metavar="HOSTS", help="hosts: name:2,name:2")
    parser.add_argument("--bind-to", choices=_BINDINGS, help="bind each rank, to as many cores as it has threads")
    parser.add_argument("--no-bind", action="store_true", help="bind no rank (the default)")
    parser.add_argument(
        "--threads", type=int, metavar="T", help="BLAS threads a rank; default: cores / ranks of a node"
    )
    parser.add_argument("--mpi", metavar="NAME", help="openmpi, mpich, intel, or the path of an mpirun")
    parser.add_argument("--dry-run", action="store_true", help="print the line and start nothing")
    parser.add_argument("-m", dest="module", action="store_true", help="what is named is a module, not a file")
    # One list of everything from the script on: where it is two arguments, argparse takes out a -- between them.
    parser.add_argument(
        "program", nargs=argparse.REMAINDER, metavar="SCRIPT ...", help="a Python script (or module) and its arguments"
    )


def run(arguments: argparse.Namespace) -> int:
    try:
        line, environ, launcher = _prepare(arguments)
    except (CannotRun, _hosts.HostError) as error:
        print(f"python -m distgrad run: error: {error}", file=sys.stderr)
        return 2
    if arguments.dry_run:
        print(shown(line, environ))
        return 0
    sys.stdout.flush()
    sys.stderr.flush()
    if launcher.family == "openmpi":
        return _become(line, environ)
    # MPICH's mpiexec and its kin take a rank that ends by itself with code 0, and the others with it, for a success.
    return supervise(line, environ)


def _become(line: list[str], environ: Mapping[str, str]) -> NoReturn:
    # In this process's place, so that whoever waits for it, signals it or reads its exit code has mpirun.
    os.execve(line[0], line, environ)


def cores() -> int:
    """The cores this process may use: its affinity, less where a container's quota (cgroup v2) is lower."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, -(-int(quota) // int(period))))


def _check_components(launcher: _mpirun.Launcher) -> None:
    """Whether Open MPI starts with the components that the environment names; else its mpirun may wait for ever."""
    named = {name: value for name, value in os.environ.items() if _COMPONENTS.match(name)}
    named = {name: value for name, value in named.items() if value[:1] not in ("", "^")}
    if launcher.family != "openmpi" or not named:
        return
    command = [sys.executable, "-c", "from mpi4py import MPI"]
    # The prefix is where its error messages lie.
    environ = _mpirun.clean_environment() | named | {"OPAL_PREFIX": str(launcher.path.parent.parent)}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, env=environ, check=False
        )
    except subprocess.TimeoutExpired:
        return
    if done.returncode:
        words = " ".join(f"{name}={value}" for name, value in named.items())
        raise CannotRun(f"MPI does not start with {words}; it says: {_mpirun.first_words(done.stderr)}")


def most_ranks() -> int:
    """How many ranks a machine like this one is given at most; a larger number is a slip of the pen."""
    by_cores = _RANKS_A_CORE * max(4, cores())
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return by_cores
    return max(1, min(by_cores, memory >> 26))


def _prepare(options: argparse.Namespace) -> tuple[list[str], dict[str, str], _mpirun.Launcher]:
    program, extra = _program(options)
    if options.ranks < 1:
        raise CannotRun(f"-n must be at least 1, got {options.ranks}")
    if options.threads is not None and options.threads < 1:
        raise CannotRun(f"--threads must be at least 1, got {options.threads}")
    if options.host and options.hostfile:
        raise CannotRun("--host and --hostfile both name the hosts: give one of them")
    if options.no_bind and options.bind_to not in (None, "none"):
        raise CannotRun(f"--no-bind contradicts --bind-to {options.bind_to}")
    for variable in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        if os.environ.get(variable):
            raise CannotRun(f"this is already a rank of an MPI job ({variable} is set); run starts the ranks itself")
    hosts: dict[str, int] = {}
    if options.hostfile or options.host:
        named = _hosts.parse_hostfile(options.hostfile) if options.hostfile else _hosts.parse_hosts(options.host)
        hosts = _hosts.ranks_per_host(named, options.ranks)
    batch = _hosts.from_batch_system(os.environ, options.ranks)
    local = max(hosts.values()) if hosts else options.ranks if batch is None else batch
    if local > (most := most_ranks()):
        raise CannotRun(
            f"-n {options.ranks} would start {local} ranks on one machine; this one has {cores()} cores, and at most "
            f"{most} ranks are started on it ({_RANKS_A_CORE} a core, 64 MiB of memory each): give a smaller -n, or "
            "more hosts"
        )
    if options.threads is not None and options.threads > (most := _RANKS_A_CORE * max(_RANKS_A_CORE, cores())):
        raise CannotRun(f"--threads must be at most {most} on this machine, got {options.threads}")
    launcher = choose(options.mpi)
    if not options.dry_run:
        _check_components(launcher)
    threads = options.threads or _threads(local)
    environ, crowded = (
        _environment(threads, options.threads is not None),
        not hosts and batch is None and local > cores(),
    )
    spell = _open_mpi if launcher.family == "openmpi" else _mpich
    placing = spell(hosts, options.bind_to or "none", threads, crowded, environ, launcher)
    command = [sys.executable, *program]
    if (launcher.family, launcher.version) in ENDLESS_STDIN and "--stdin" not in extra and not options.dry_run:
        # It does not tell rank 0 where its input ends, which would wait for ever.
        if _nothing_to_read():
            placing += ["--stdin", "none"]
        elif not hosts and batch is None and _can_be_opened_again():
            placing += ["--stdin", "none"]
            command = ["/bin/sh", "-c", _OWN_STDIN.format(os.getpid()), *command]
    if launcher.family == "openmpi" and not options.dry_run:
        _keep_clear_of_leftovers(environ)
    # MPICH's mpiexec takes what is for the whole job only before -n.
    line = [str(launcher.path), *placing, *extra, "-n", str(options.ranks), *command]
    return line, environ, launcher


def _can_be_opened_again() -> bool:
    """Whether another process can open this one's standard input by its path and read what this one would."""
    try:
        kind = os.fstat(0).st_mode
        return os.access(f"/proc/{os.getpid()}/fd/0", os.R_OK) and (
            stat.S_ISFIFO(kind) or (stat.S_ISREG(kind) and os.lseek(0, 0, os.SEEK_CUR) == 0)
        )
    except OSError:
        return False


def _nothing_to_read() -> bool:
    """Whether standard input is closed or /dev/null, as in a batch job."""
    try:
        return os.fstat(0).st_rdev == os.stat(os.devnull).st_rdev
    except OSError:
        return True


def _keep_clear_of_leftovers(environ: dict[str, str]) -> None:
    """Let mpirun, which this process becomes, keep its files where no earlier one of its number has left any.

    Open MPI 5 keeps them in ``ompi.PID``, of mpirun's process.  A job that is killed leaves that folder, and the next
    mpirun of the same number would end at once with exit code 213.  The folder is not removed: where containers share
    /tmp, it can be that of a job that runs.
    """
    place = tempfile.gettempdir()
    if os.path.lexists(os.path.join(place, f"ompi.{os.getpid()}")) and not any(name in environ for name in _FOLDERS):
        environ[_FOLDERS[1]] = tempfile.mkdtemp(prefix="ompi-", dir=place)  # mpirun leaves it empty


def line_for(launcher: _mpirun.Launcher, ranks: int) -> tuple[list[str], dict[str, str]]:
    """The words before the program, and the environment, of ``ranks`` ranks of one thread on this machine."""
    environ = _environment(1, override=True)
    spell = _open_mpi if launcher.family == "openmpi" else _mpich
    placing = spell({}, "none", 1, ranks > cores(), environ, launcher)
    return [str(launcher.path), *placing, "-n", str(ranks)], environ


def _program(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """What Python runs, and what mpirun is given besides: the words behind the last ``--``."""
    words: list[str] = options.program
    extra: list[str] = []
    if "--" in words:
        at = len(words) - 1 - words[::-1].index("--")
        words, extra = words[:at], words[at + 1 :]
    if not words:
        raise CannotRun("which script? python -m distgrad run -n 4 train.py, or -m MODULE")
    if options.module:
        # Only the outermost package is looked for: finding an inner one would import those around it.
        if importlib.util.find_spec(words[0].partition(".")[0]) is None:
            raise CannotRun(f"there is no module {words[0]} (looked for from {os.getcwd()})")
        return ["-m", *words], extra
    if not Path(words[0]).is_file():
        raise CannotRun(f"there is no script {words[0]} (looked for from {os.getcwd()})")
    return words, extra


def choose(wanted: str | None) -> _mpirun.Launcher:
    """The launcher to use.

    Args:
        wanted: a family, the path of a launcher, or None for the one that matches this Python's mpi4py.

    Raises:
        CannotRun: none matches; the message lists what there is and what helps.
    """
    library = _mpirun.library_of()
    if library.problem:
        raise CannotRun(f"{library.problem}. It is needed for ranks: {sys.executable} -m pip install 'distgrad[mpi]'")
    if wanted is not None and wanted not in _mpirun.FAMILIES:
        if not Path(wanted).is_file():
            raise CannotRun(f"--mpi {wanted}: neither {', '.join(_mpirun.FAMILIES)} nor the path of an mpirun")
        found = [_mpirun.launcher_at(Path(wanted).absolute())]
    else:
        found = [one for one in _mpirun.find_launchers() if wanted in (None, one.family)]
    fitting = list(_mpirun.matching(library, found))
    if fitting:
        return fitting[0]
    seen = "; ".join(map(str, found)) or "none beside this Python nor on PATH"
    package = {"openmpi": "openmpi", "intel": "impi-rt"}.get(library.family, "mpich")
    raise CannotRun(
        f"no launcher{'' if wanted is None else f' {wanted}'} fits the MPI of this Python, {library}. Found: {seen}. "
        f"Put the mpirun of that MPI on PATH, or install one beside this Python: "
        f"{sys.executable} -m pip install {package}"
    )


def _threads(local_ranks: int) -> int:
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    allowed = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return int(allowed) if allowed.isdigit() and int(allowed) > 0 else max(1, cores() // local_ranks)


def _environment(threads: int, override: bool) -> dict[str, str]:
    environ = _mpirun.with_home({name: value for name, value in os.environ.items() if name not in _PREFIXES})
    for name in THREADS:
        if override or name not in environ:
            environ[name] = str(threads)
    return environ


def _open_mpi(
    hosts: Mapping[str, int],
    bind: str,
    threads: int,
    crowded: bool,
    environ: dict[str, str],
    launcher: _mpirun.Launcher,
) -> list[str]:
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # a container's usual user, whom Open MPI refuses unless told
        environ["OMPI_ALLOW_RUN_AS_ROOT"] = environ["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    words = ["--host", _joined(hosts)] if hosts else []
    mapping = f"slot:PE={threads}" if bind == "core" else ""
    if crowded:
        # Waiting ranks spin on cores that others need.
        environ.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")
        if launcher.version.startswith("4."):
            words += ["--oversubscribe"]
        else:
            mapping += ":OVERSUBSCRIBE"
    if mapping:
        words += ["--map-by", mapping]
    # Said even where it is none: by itself Open MPI stacks the threads of one or two ranks on one core each.
    words += ["--bind-to", {"socket": "package"}.get(bind, bind) if not launcher.version.startswith("4.") else bind]
    if hosts:  # only its own variables reach other hosts unasked
        names = [*THREADS, *(n for n in sorted(environ) if n.startswith("DISTGRAD_") or n == "PYTHONPATH")]
        words += [word for name in names for word in ("-x", name)]
    return words


def _mpich(
    hosts: Mapping[str, int],
    bind: str,
    threads: int,
    crowded: bool,
    environ: dict[str, str],
    launcher: _mpirun.Launcher,
) -> list[str]:
    words = ["-hosts", _joined(hosts)] if hosts else []
    if any(name in environ for name in _SLURMS) and shutil.which("srun", path=environ.get("PATH")) is None:
        # Inside an allocation it starts its ranks by srun, and waits for ever where that is missing (a container, say).
        elsewhere = bool(hosts) or environ.get("SLURM_JOB_NUM_NODES", environ.get("SLURM_NNODES", "1")) != "1"
        words += ["-launcher", "ssh" if elsewhere else "fork"]
    return [*words, "-bind-to", f"core:{threads}" if bind == "core" else bind]


def _joined(hosts: Mapping[str, int]) -> str:
    return ",".join(f"{name}:{count}" for name, count in hosts.items())


def shown(line: Sequence[str], environ: Mapping[str, str]) -> str:
    """``line`` as it can be pasted into any shell: with the variables that were set for it, and without those taken."""
    names = (*THREADS, "OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_mpi_yield_when_idle")
    settings = [f"{name}={shlex.quote(environ[name])}" for name in names if name in environ]
    settings += [f"HOME={shlex.quote(environ['HOME'])}"] if not os.environ.get("HOME") and "HOME" in environ else []
    taken = [f"-u {name}" for name in _PREFIXES if name in os.environ]
    return " ".join([*(["env", *taken] if taken else []), *settings, shlex.join(line)])
