"""The doctor's questions: each returns findings, and none raises for what it finds."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from distgrad.cli import _mpirun, _probes, run

__all__ = ["Finding", "blas", "cores", "gpus", "kernels", "mpi", "python"]

INSTALL = f"{sys.executable} -m pip install"
_SMALL_SHM = 512 << 20  # bytes; MPIs keep messages between ranks of a node and their windows there


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line: ``status`` is "ok", "warn" (works, but slower or with less) or "fail"; with a remedy if not ok."""

    name: str
    status: str
    found: str
    remedy: str = ""


def python() -> list[Finding]:
    """Interpreter, NumPy and distgrad."""
    import numpy as np

    import distgrad
    from distgrad import registry

    version = (
        f"Python {platform.python_version()}, NumPy {np.__version__}, distgrad at {Path(distgrad.__file__).parent}"
    )
    broken = [f"{p.name} ({p.error})" for p in registry.plugins() if p.error]
    if not broken:
        return [Finding("python", "ok", version)]
    remedy = "python -m distgrad plugins tells more; reinstall or remove what is broken"
    return [Finding("python", "ok", version), Finding("plugins", "warn", f"broken: {'; '.join(broken)}", remedy)]


def mpi(timeout: float) -> list[Finding]:
    """The library, its launcher, and what two ranks of it can do."""
    library = _mpirun.library_of(timeout=timeout)
    if library.problem:
        missing = not library.mpi4py and "not installed" in library.problem
        remedy = f"{INSTALL} 'distgrad[mpi]' (or 'distgrad[mpich]')"
        found = f"{library.problem}: one process works, ranks do not" if missing else library.problem
        return [Finding("mpi library", "warn" if missing else "fail", found, remedy)]
    findings = [Finding("mpi library", "ok", f"{library.text} (mpi4py {library.mpi4py})")]
    try:
        launcher = run.choose(None)
    except run.CannotRun as error:
        return [*findings, Finding("mpirun", "fail", str(error), "the sentence before says what to install")]
    others = [one for one in _mpirun.find_launchers() if one.family and not list(_mpirun.matching(library, [one]))]
    findings.append(Finding("mpirun", "ok", f"{launcher} matches"))
    first = shutil.which("mpirun")
    if first and any(one.path == Path(first) for one in others):
        findings.append(
            Finding(
                "mpirun on PATH", "warn", f"{first} belongs to another MPI than this Python's, {library}",
                f"use python -m distgrad run, or {launcher.path} by its full name",
            )
        )  # fmt: skip
    if (launcher.family, launcher.version) in run.ENDLESS_STDIN:
        findings.append(
            Finding(
                "standard input", "ok",
                f"{launcher.path.name} of this release never tells rank 0 where its input ends; python -m distgrad run "
                "lets rank 0 read a pipe, a file or nothing itself (plain mpirun: --stdin none, and a file's name)",
            )
        )  # fmt: skip
    return findings + _ranks(library, launcher, timeout) + _cuda_of_mpi(timeout)


def _ranks(library: _mpirun.Library, launcher: _mpirun.Launcher, timeout: float) -> list[Finding]:
    line, settings = run.line_for(launcher, 2)
    got = _probes.ask(_probes.SMOKE, timeout, tuple(line), settings)
    if "problem" in got:
        remedy = f"try: {run.shown([*line, sys.executable, '-c', 'from mpi4py import MPI'], settings)}"
        return [Finding("2 ranks", "fail", str(got["problem"]), remedy)]
    if (got["size"], got["sum"]) != (2, 3.0):
        found = f"a world of {got['size']} ranks, a sum of {got['sum']} where 2 and 3.0 are right"
        return [Finding("2 ranks", "fail", found, "the mpirun does not fit the library: see the lines above")]
    findings = [Finding("2 ranks", "ok", f"a sum over them is right; {got['seconds'] * 1e6:.0f} µs for a small one")]
    level, enough = got["thread_level"], got["thread_level"] == "MULTIPLE"
    remedy = "" if enough else "unset MPI4PY_RC_THREAD_LEVEL, or use an MPI built with thread support"
    found = level if enough else f"{level}: only the thread that started MPI may communicate"
    findings.append(Finding("thread level", "ok" if enough else "warn", found, remedy))
    return [*findings, *_memory_of_nodes(got), _ulfm(library, line, settings, timeout)]


def _memory_of_nodes(got: dict[str, Any]) -> list[Finding]:
    """How ranks of a node share parameters: as two of them have tried it, and MPI's own way, which is not used."""
    problem = got["memory"]
    remedy = (
        "each rank then has its own copy, and gradients are sent over plain MPI; let ranks of one user open each "
        "other's /proc/PID/fd (Docker: --cap-add SYS_PTRACE, and one process namespace for all ranks of a node)"
    )
    findings = [
        Finding("shared parameters", "warn", f"not in memory of the node (memfd): {problem}", remedy)
        if problem
        else Finding("shared parameters", "ok", "once in memory of the node (memfd), which two ranks have shared")
    ]
    problem = got["windows"]
    remedy = "distgrad does without (see shared parameters); for other programs, give the container a larger /dev/shm"
    findings.append(
        Finding("mpi-3 windows", "warn", problem, remedy)
        if problem
        else Finding("mpi-3 windows", "ok", "work between two ranks; not used, parameters lie in memory of the node")
    )
    with contextlib.suppress(OSError):
        size = os.statvfs("/dev/shm")
        total = size.f_frsize * size.f_blocks
        small = total < _SMALL_SHM
        remedy = "start the container with --shm-size=8g (Kubernetes: an emptyDir of medium Memory)" if small else ""
        findings.append(Finding("/dev/shm", "warn" if small else "ok", f"{total / 2**20:.0f} MiB", remedy))
    return findings


def _ulfm(library: _mpirun.Library, line: list[str], settings: dict[str, str], timeout: float) -> Finding:
    """Fault tolerance: whether ranks can outlive one that is killed.  That a function exists proves nothing."""
    if library.family != "openmpi":
        return Finding("ulfm", "ok", f"not with {library}: a killed rank ends the job (Open MPI 5 can outlive it)")
    got = _probes.ask(_probes.SMOKE, timeout, (line[0], "--with-ft", "ulfm", *line[1:]), settings)
    if got.get("ft") == "1":
        found = (
            "with mpirun --with-ft ulfm a killed rank does not end the job by itself: the others name it and end with "
            "a code that is not 0; without the option mpirun ends the job"
        )
        return Finding("ulfm", "ok", found)
    return Finding("ulfm", "ok", "mpirun --with-ft ulfm is not supported here: a killed rank ends the job")


def _cuda_of_mpi(timeout: float) -> list[Finding]:
    got = _probes.ask(_probes.CUDA_OF_MPI, timeout)
    if "problem" in got:
        return [Finding("cuda-aware mpi", "warn", str(got["problem"]), "arrays on a GPU travel through host memory")]
    words = {True: "yes", False: "no", None: "not told"}[got["cuda"]]
    return [
        Finding(
            "cuda-aware mpi",
            "ok",
            f"{words}; arrays on a GPU travel {'directly' if got['cuda'] else 'through host memory'}",
        )
    ]


def gpus() -> list[Finding]:
    """GPUs, and the CuPy that drives them."""
    from distgrad import backend

    seen = bool(shutil.which("nvidia-smi")) or Path("/proc/driver/nvidia/version").exists()
    if importlib.util.find_spec("cupy") is None:
        if seen:
            return [
                Finding(
                    "gpu", "warn", "NVIDIA's driver is here, CuPy is not", f"{INSTALL} 'distgrad[cuda12]' (or cuda13)"
                )
            ]
        return [Finding("gpu", "ok", "none, and no CuPy: training runs on the CPU")]
    count = backend.device_count()
    if count == 0 and seen:
        remedy = "CuPy must fit the driver (nvidia-smi shows the newest CUDA it takes): distgrad[cuda12] or [cuda13]"
        return [Finding("gpu", "warn", "NVIDIA's driver is here, but CuPy finds no GPU", remedy)]
    return [Finding("gpu", "ok", f"{count}; a rank takes the one of its number on its node" if count else "none")]


def kernels() -> list[Finding]:
    """Whether oneDNN computes convolutions."""
    from distgrad.kernels import told

    try:
        found = told()
    except RuntimeError as error:
        return [Finding("onednn", "fail", str(error), "install the extra fast, or unset DISTGRAD_KERNELS")]
    if found["onednn"] is None:
        return [Finding("onednn", "ok", "not found: NumPy computes convolutions (the extra fast brings it)")]
    how = "convolutions of float32" if found["serves"] else "turned off by DISTGRAD_KERNELS: NumPy computes"
    return [Finding("onednn", "ok", f"{found['onednn']} at {found['library']}; {how}")]


def blas() -> list[Finding]:
    """The library that multiplies NumPy's matrices, and its threads."""
    import numpy as np

    from distgrad.distributed.launching.environment import blas_threads

    threads = blas_threads()
    name = ""
    with contextlib.suppress(ImportError):
        from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        name = ", ".join(sorted({f"{p['internal_api']} {p.get('version') or ''}".strip() for p in pools}))
    if not name:
        built: Any = np.show_config(mode="dicts")
        name = str(built.get("Build Dependencies", {}).get("blas", {}).get("name", "not told"))
    findings = [Finding("blas", "ok", f"{name}, {threads} thread{'s' * (threads > 1)} in this process")]
    if os.environ.get("OPENBLAS_CORETYPE"):
        found = f"OPENBLAS_CORETYPE={os.environ['OPENBLAS_CORETYPE']} is set"
        findings.append(
            Finding("blas kernels", "warn", found, "unset it, so that OpenBLAS takes the kernels of this CPU")
        )
    return findings


def cores() -> list[Finding]:
    """Whether ranks × threads fit the cores that there are."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    usable = run.cores()
    findings = [Finding("cores", "ok", f"{usable} usable of {os.cpu_count()}")]
    if usable < allowed:
        found = f"{allowed} cores are visible, a quota allows the time of {usable}: BLAS would start {allowed} threads"
        findings.append(Finding("quota", "warn", found, f"set OMP_NUM_THREADS={usable}, or use python -m distgrad run"))
    threads = next((os.environ[name] for name in run.THREADS if os.environ.get(name)), "")
    if not threads and usable > 1:
        found = f"OMP_NUM_THREADS is not set: under plain mpirun each rank would use {allowed} BLAS threads"
        remedy = "python -m distgrad run sets it to cores / ranks; or export OMP_NUM_THREADS before mpirun"
        findings.append(Finding("threads a rank", "warn", found, remedy))
    return findings
