"""distgrad's wheel, built once, however many processes the tests are dealt out to."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from tests.helpers import installs


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout to build in."""
    return installs.copy_of(installs.ROOT, tmp_path_factory.mktemp("source") / "distgrad")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, which the first process that asks builds and the others wait for."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (base / "wheel.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = sorted((base / "wheel").glob("*.whl"))
        if not built:
            copy = installs.copy_of(installs.ROOT, tmp_path_factory.mktemp("core") / "distgrad")
            built = [installs.build_wheel(copy, base / "wheel")]
    return built[0]
