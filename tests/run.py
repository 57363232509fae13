"""Set everything up and pass every test: ``python3 tests/run.py``, from a fresh clone, with nothing installed.

Two environments are made, ``.venv`` with Open MPI and, beside it and with its packages, ``.venv-mpich`` with MPICH.
Linter, type checker and all tests run in the first; the tests that start ranks (marker ``mpi``) run in the second as
well, those on several numbers of ranks on the largest.  Tests are dealt out to one process more than there are cores,
since those that start ranks wait now and then.

``--quick`` answers in about four minutes on two cores, once the first environment is there: the linter, the tests in
one process that are not slow, and a job or two of ranks (marker ``smoke``).  Other arguments are handed to pytest,
in one process, and then only pytest runs: ``python3 tests/run.py -x tests/plugins``.

Standard library only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "launch"))

import environment  # noqa: E402 - found through the line above

PLUGIN_FOLDERS = {f"distgrad_{kind}": f"plugins/{kind}" for kind in ("optimizers", "losses", "communicators", "pytest")}
NOTHING_COLLECTED = 5  # pytest's exit code
QUICK = "not (mpi or packaging or slow) or smoke"


@dataclass
class Outcome:
    """What one step did: its name, and how many checks passed, failed and were skipped."""

    step: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0


def main(arguments: list[str]) -> int:
    """Run all steps, each whatever the earlier ones said, and return 0 only if nothing failed."""
    openmpi = environment.ensure(ROOT / ".venv", ["mpi", "demo", "test", "docs"])
    if "--quick" in arguments:
        rest = [word for word in arguments if word != "--quick"]
        selection = [*_dealt_out(spare=0), "-m", QUICK, *rest]  # next to none of these wait
        return _report([_linter(openmpi), _pytest("quick tests", openmpi, selection, partial=bool(rest))])
    if arguments:
        mpich = _mpich(openmpi)
        return _report([
            _pytest("tests, Open MPI", openmpi, arguments, partial=True),
            _pytest("mpi tests, MPICH", mpich, ["-m", "mpi", *arguments], partial=True),
        ])
    with ThreadPoolExecutor() as meanwhile:
        made, checks = meanwhile.submit(_mpich, openmpi), meanwhile.submit(_checks, openmpi)
        tests = _pytest("tests, Open MPI", openmpi, _dealt_out())
        mpi_tests = _pytest("mpi tests, MPICH", made.result(), ["-m", "mpi", "--most-ranks", *_dealt_out()])
        return _report([*checks.result(), tests, mpi_tests])


def _mpich(openmpi: Path) -> Path:
    return environment.ensure(ROOT / ".venv-mpich", ["mpich"], beside=openmpi)


def _dealt_out(spare: int = 1) -> list[str]:
    return ["-n", str(min(environment.cores() + spare, 16)), "--dist", "worksteal"]


def _linter(python: Path) -> Outcome:
    return _command("ruff", python, ["-m", "ruff", "check", "."])


def _checks(python: Path) -> list[Outcome]:
    """Linter and type checker."""
    _link_packages()
    packages = [word for name in ("distgrad", *PLUGIN_FOLDERS) for word in ("-p", name)]
    return [
        _linter(python),
        _command("mypy, packages", python, ["-m", "mypy", *packages]),
        _command("mypy, scripts", python, ["-m", "mypy", "launch", "tests/run.py"]),
    ]


def _link_packages() -> None:
    """Let the type checker see ``plugins/optimizers`` as ``distgrad_optimizers``: it follows no editable install."""
    links = ROOT / ".mypy_cache" / "links"
    links.mkdir(parents=True, exist_ok=True)
    for name, folder in PLUGIN_FOLDERS.items():
        if not (links / name).exists():
            (links / name).symlink_to(Path("..", "..", folder), target_is_directory=True)


def _run(title: str, command: list[str], together: bool = False) -> int:
    """Run a step; what it says is shown as it comes, or ``together`` at its end, since other steps run meanwhile."""
    heading = f"\n== {title}: {' '.join(command[1:])}"
    if not together:
        print(heading, flush=True)
    started = time.monotonic()
    # A plain environment: no thread or MPI settings of the caller's, but what the tests set for their ranks themselves.
    settings = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    settings |= dict.fromkeys(environment.THREAD_VARIABLES, "1")  # several tests run at once
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, env=settings, check=False, text=True,
        stdout=subprocess.PIPE if together else None, stderr=subprocess.STDOUT if together else None,
    )  # fmt: skip
    how = "ok" if done.returncode == 0 else f"exit code {done.returncode}"
    said = f"{heading}\n{done.stdout}" if together else ""
    print(f"{said}== {title}: {how} in {time.monotonic() - started:.0f} s", flush=True)
    return done.returncode


def _command(step: str, python: Path, arguments: list[str]) -> Outcome:
    failed = _run(step, [str(python), *arguments], together=True) != 0
    return Outcome(step, passed=int(not failed), failed=int(failed))


def _pytest(step: str, python: Path, arguments: list[str], partial: bool = False) -> Outcome:
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
