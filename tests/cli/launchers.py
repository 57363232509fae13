"""Launchers that start nothing: each says what it is, else prints its arguments and its environment."""

from __future__ import annotations

from pathlib import Path

VERSIONS = {
    "openmpi": "mpirun (Open MPI) 5.0.11",
    "openmpi4": "mpirun (Open MPI) 4.1.6",
    "mpich": "HYDRA build details:\n    Version:                                 4.3.1",
    "intel": "Intel(R) MPI Library for Linux* OS, Version 2021.17 Build 20251010",
    "stranger": "a launcher of something else 1.0",
}


def make(folder: Path, kind: str, name: str = "mpirun") -> Path:
    """An executable ``folder/name`` that claims to be of ``kind``."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(
        f'#!/bin/sh\nif [ "$1" = --version ]; then cat <<END\n{VERSIONS[kind]}\nEND\nexit 0\nfi\n'
        'printf "%s\\n" "$@"\nenv | sort\nexit ${EXIT_CODE:-0}\n',
        encoding="utf-8",
    )
    file.chmod(0o755)
    return file
