"""DistributedDataParallel beside PyTorch's, over gloo: the same program on as many ranks ends with the same numbers."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.ranks import run_ranks

PROGRAM = Path(__file__).parent / "helpers" / "beside_torch.py"
LIMITS = {"float16": 1e-4}  # sums of rounded gradients are rounded in another order; else float32's own rounding


@pytest.mark.mpi
@pytest.mark.torch
@pytest.mark.parametrize("ranks", [2, 3])
def test_trainings_end_where_pytorchs_do(ranks: int, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    found = {}
    for library, backend in (("torch", "gloo"), ("distgrad", "shared"), ("distgrad", "mpi")):
        file = tmp_path / f"{library}-{backend}.npz"
        job = run_ranks(ranks, PROGRAM, library, backend, str(file), port)
        assert job.returncode == 0, job
        with np.load(file) as arrays:
            found[backend] = dict(arrays)
    wanted = found.pop("gloo")
    for backend, ours in found.items():
        assert ours.keys() == wanted.keys()
        for name, want in wanted.items():
            worst = np.abs(ours[name] - want).max()
            assert worst < LIMITS.get(name, 3e-6), f"{backend}: {name}: {worst:.2g}"
