"""What all tests share: skips for what a machine lacks, and hypothesis without deadlines."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from pathlib import Path

import hypothesis
import pytest

# Time is never asserted, and on a shared machine a deadline fails at random.
hypothesis.settings.register_profile("distgrad", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("distgrad")


gc.disable()  # till all tests are collected: nothing is freed meanwhile, and looking for it takes seconds


def pytest_collection_finish() -> None:
    """The tests themselves stay to the end: no collection need look at them again, and many tests ask for one."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="module", autouse=True)
def _nothing_older_is_looked_at() -> None:
    """What earlier files left alive is set aside: a collection, which many tests ask for, then takes 10 ms, not 500."""
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--most-ranks", action="store_true", help="of a test on several numbers of ranks, run that on most of them only"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``-m mpi…``, files without that mark are not even imported: most have none."""
    if config.option.markexpr.startswith("mpi") and collection_path.suffix == ".py":
        return "mark.mpi" not in collection_path.read_text(encoding="utf-8") or None
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.most_ranks:
        most = _on_most_ranks(items)
        config.hook.pytest_deselected(items=[item for item in items if item not in most])
        items[:] = [item for item in items if item in most]
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)  # so that no worker ends with a slow one
    torch = importlib.util.find_spec("torch") is not None
    for item in items:
        if not torch and item.get_closest_marker("torch"):
            item.add_marker(pytest.mark.skip(reason="PyTorch is not installed"))
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skipif(_no_gpu(), reason="no GPU, or CuPy is not installed"))
        if item.get_closest_marker("mpi"):
            item.add_marker(pytest.mark.skipif(_no_mpi(), reason="no mpirun beside this Python; pip install '.[mpi]'"))


def _on_most_ranks(items: list[pytest.Item]) -> set[pytest.Item]:
    """Of tests that differ in their number of ranks alone that with the largest, and all others."""
    best: dict[object, tuple[int, pytest.Item]] = {}
    for item in items:
        given = dict(item.callspec.params) if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        name = next((n for n in ("size", "ranks") if type(given.get(n)) is int), None)
        ranks = given.pop(name) if name else 0
        key = item.nodeid if name is None else (item.nodeid.split("[")[0], repr(sorted(given.items(), key=str)))
        if key not in best or ranks > best[key][0]:
            best[key] = ranks, item
    return {item for _, item in best.values()}


def _no_gpu() -> bool:
    from distgrad import backend

    return backend.device_count() == 0


def _no_mpi() -> bool:
    return not os.environ.get("CI") and not Path(sys.executable).with_name("mpirun").exists()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say it where ``-m gpu`` has run nothing at all."""
    ran = any(terminalreporter.stats.get(key) for key in ("passed", "failed", "error"))
    if config.option.markexpr == "gpu" and not ran:
        terminalreporter.write_line("no test was run: there is no GPU here, or CuPy is not installed", yellow=True)
