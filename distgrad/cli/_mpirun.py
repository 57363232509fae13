"""Which MPI this Python uses, and which of the launchers on this machine belongs to it.

Nothing here imports an MPI: a process that has started one can start no ranks of its own, and asking must not be able
to crash the one who asks.  So the library is asked in a child process, and a launcher by ``--version``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pwd
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = [
    "FAMILIES", "Launcher", "Library", "clean_environment", "find_launchers", "first_words", "launcher_at",
    "library_of", "matching", "with_home",
]  # fmt: skip

# Families of MPIs whose libraries and launchers understand each other.  Intel's and MVAPICH's are MPICH's descendants:
# one binary interface and one process-manager protocol.
FAMILIES = {"openmpi": "Open MPI", "mpich": "MPICH", "intel": "Intel MPI"}
_KIN = {"openmpi": "openmpi", "mpich": "mpich", "intel": "mpich"}
_NAMES = ("mpirun", "mpiexec", "mpiexec.hydra", "mpirun.openmpi", "mpirun.mpich")
_LAUNCHED = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "HYDRA_", "MPIR_", "MPI_LOCAL")

# Run by the interpreter whose MPI is in question.  Asking for the version does not need MPI_Init.
_ASK = """
import json
try:
    import mpi4py
except ImportError as error:
    print(json.dumps({"missing": str(error)}))
    raise SystemExit
mpi4py.rc.initialize = False
try:
    from mpi4py import MPI
except Exception as error:
    print(json.dumps({"broken": str(error), "mpi4py": mpi4py.__version__}))
    raise SystemExit
print(json.dumps({"library": MPI.Get_library_version().strip("\\x00 \\n"), "mpi4py": mpi4py.__version__}))
"""


@dataclasses.dataclass(frozen=True)
class Library:
    """The MPI library that an interpreter's mpi4py loads.

    Attributes:
        family: a key of :data:`FAMILIES`, or ``""`` for one that is not known.
        version: such as ``"5.0.11"``; ``""`` where it is not told.
        text: what the library calls itself, its first line.
        mpi4py: the version of mpi4py.
        problem: why there is none; ``""`` where there is.
    """

    family: str = ""
    version: str = ""
    text: str = ""
    mpi4py: str = ""
    problem: str = ""

    def __str__(self) -> str:
        return f"{FAMILIES.get(self.family, self.text)} {self.version}".strip()


@dataclasses.dataclass(frozen=True)
class Launcher:
    """An ``mpirun`` or ``mpiexec`` of this machine; ``family`` and ``version`` as in :class:`Library`.

    Attributes:
        said: what it wrote in place of a version.
    """

    path: Path
    family: str
    version: str
    said: str = dataclasses.field(default="", compare=False)

    def __str__(self) -> str:
        name = f"{FAMILIES.get(self.family, 'of no known MPI')} {self.version}".rstrip()
        return f"{self.path} ({name})" if not self.said else f"{self.path} ({name}; it says: {self.said})"


def clean_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """``environ`` without what a launcher left there, so that a process started with it is a job of its own."""
    return with_home({name: value for name, value in environ.items() if not name.startswith(_LAUNCHED)})


def with_home(environ: dict[str, str]) -> dict[str, str]:
    """``environ`` with a ``HOME``, without which Open MPI's mpirun does not even tell its version."""
    if not environ.get("HOME"):
        try:
            environ["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:  # a container's user without a name
            environ["HOME"] = tempfile.gettempdir()
    return environ


def first_words(text: str) -> str:
    """The beginning of what a program said, on one line."""
    lines = [line.strip(" *-=\0") for line in text.splitlines()]
    words = " ".join(line for line in lines if line)
    return words if len(words) <= 1000 else f"{words[:1000]} …"


def library_of(python: str = sys.executable, timeout: float = 60.0) -> Library:
    """Ask ``python``, in a child process, for its MPI library."""
    command = [python, "-c", _ASK]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=clean_environment(),
            check=False,
        )
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return Library(problem=f"importing mpi4py took longer than {timeout:g} s")
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return Library(problem=f"importing mpi4py ended with exit code {done.returncode}: {last}")
    if "missing" in found:
        return Library(problem=f"mpi4py is not installed ({found['missing']})")
    if "broken" in found:
        return Library(
            mpi4py=found["mpi4py"], problem=f"mpi4py finds no MPI library: {found['broken'].splitlines()[0]}"
        )
    text = found["library"]
    return Library(*_recognised(text), text=text.splitlines()[0], mpi4py=found["mpi4py"])


def _recognised(text: str) -> tuple[str, str]:
    """Family and version from what a library or a launcher says of itself."""
    for family, pattern in (
        ("openmpi", r"Open MPI\)?\s+v?(\d[\w.]*)"),
        ("intel", r"Intel\(R\) MPI Library[^\d]*(\d[\w.]*)"),
        ("mpich", r"(?:MPICH|MVAPICH2?)[\w ]*:?\s*(?:Version:)?\s*(\d[\w.]*)"),
        ("mpich", r"HYDRA build details:\s*Version:\s*(\d[\w.]*)"),
    ):
        if found := re.search(pattern, text):
            return family, found.group(1)
    return "", ""


def find_launchers(python: str = sys.executable, path: str | None = None) -> list[Launcher]:
    """The launchers beside ``python`` and then those on ``path`` (default: ``PATH``), in that order."""
    folders = [Path(python).absolute().parent]
    folders += [Path(folder) for folder in (os.environ.get("PATH", "") if path is None else path).split(os.pathsep)]
    found: list[Launcher] = []
    seen: set[Path] = set()
    for file in (folder / name for folder in folders for name in _NAMES):
        # By its own name, not the one it links to: some launchers look at how they were called.
        if os.access(file, os.X_OK) and file.is_file() and file.resolve() not in seen:
            seen.add(file.resolve())
            found.append(launcher_at(file))
    return found


def launcher_at(file: Path) -> Launcher:
    """Ask the launcher ``file`` what it is; one that does not say has no family."""
    said = ""
    for question in ("--version", "-info"):
        try:
            done = subprocess.run(
                [str(file), question],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=20,
                env=clean_environment() | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"},
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            said = said or str(error)
            break
        family, version = _recognised(done.stdout + done.stderr)
        if family:
            return Launcher(file, family, version)
        if done.returncode:
            said = said or first_words(done.stderr + done.stdout) or f"exit code {done.returncode}"
    return Launcher(file, "", "", said)


def matching(library: Library, launchers: list[Launcher]) -> Iterator[Launcher]:
    """Those of ``launchers`` that start ranks of ``library``, best first.

    Open MPI's must have the library's major version; within it, and in MPICH's family, releases understand each other,
    and the same release comes before others.
    """
    kin = [found for found in launchers if found.family and _KIN[found.family] == _KIN.get(library.family)]
    if library.family == "openmpi":
        kin = [found for found in kin if found.version.partition(".")[0] == library.version.partition(".")[0]]
    yield from sorted(kin, key=lambda found: (found.family, found.version) != (library.family, library.version))
