"""Every guard seen to fail: ``python tests/guards.py [F4 F5b …]`` runs each guard's tests with it, and without it.

With the guard a test must pass; without, it must fail, for the reason that ``guards_off/guard_rows.py`` expects, and
soon: a job that hangs is killed after ``HANG_SECONDS``.  It runs under the MPI of the Python that runs it, of which the
tests need pytest and mpirun.  ``--write`` records what was seen in ``guards_off/results.json`` and in ``GUARDS.md``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OFF = ROOT / "tests" / "guards_off"
sys.path[:0] = [str(OFF), str(ROOT / "launch")]

import guard_rows  # noqa: E402 - found through the line above

RESULTS, PAGE = OFF / "results.json", ROOT / "tests" / "GUARDS.md"
HANG_SECONDS = 9  # longer than any of these jobs takes with its guard
MPIS = ("Open MPI", "MPICH")


@dataclass
class Seen:
    """What a test did with its guard and without: how it ended, in how many seconds; of the failure, its last words."""

    with_guard: str
    seconds_with: float
    without_guard: str
    seconds_without: float
    words: str = ""

    @property
    def right(self) -> bool:
        return (self.with_guard, self.without_guard) == ("passed", "failed as expected")


def mpi() -> str:
    """The MPI of this environment."""
    return MPIS[0] if Path(sys.executable).with_name("ompi_info").exists() else MPIS[1]


def mpi_version() -> str:
    """Its library's name and version."""
    ask = "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; print(MPI.Get_library_version())"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=150, check=True)
    found = re.search(r"Open MPI v[\d.]+|MPICH Version:\s*[\d.]+", done.stdout)
    assert found is not None, done.stdout
    return re.sub(r"v|Version:\s*", "", found.group(0))


def run_tests(tests: Iterable[str], without: str = "") -> dict[str, tuple[str, float, str]]:
    """How each test ended (passed, failed, skipped or missing), in how many seconds, and its failure's text.

    Args:
        without: the key of the row whose guards are off.
    """
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    if without:  # with its guard a job ends by itself, on a busy machine later
        hang = {"DISTGRAD_TEST_JOB_SECONDS": str(HANG_SECONDS)}
        environ |= {guard_rows.VARIABLE: without, "PYTHONPATH": str(OFF), **hang}
    names = list(tests)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-vv", "--no-header", "-p", "no:cacheprovider", "-o"]
        command += ["junit_family=xunit1", f"--junitxml={report}", *names]
        command += ["-p", "guards_first"] if without else []
        done = subprocess.run(
            command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if not report.exists():
            print(done.stdout[-1500:], done.stderr[-1500:], sep="\n")
            return dict.fromkeys(names, ("missing", 0.0, done.stdout + done.stderr))
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    found: dict[str, tuple[str, float, str]] = {}
    for case in cases:
        ended, text = "passed", ""
        for kind in ("failure", "error", "skipped"):
            if (node := case.find(kind)) is not None:
                ended = "skipped" if kind == "skipped" else "failed"
                text = f"{node.get('message', '')}\n{node.text or ''}"
        found[f"{case.get('file')}::{case.get('name')}"] = (ended, float(case.get("time", 0)), text)
    return {name: found.get(name, ("missing", 0.0, done.stdout[-2000:])) for name in names}


def last_words(text: str) -> str:
    """Of a failure's text what tells it: that the job hung, or its last assertion or error; no path of this machine."""
    if "hung: " in text:
        return f"hung: killed after {HANG_SECONDS} s"
    text = text.replace("\\n", "\n")  # of a job's output, where pytest shows it quoted
    in_ranks = re.findall(r"^(?:E\s)?\W*(\[rank\d\]: [\w.]*(?:Error|Exception)\b.*)", text, re.MULTILINE)
    lines = [line[1:].strip() for line in text.splitlines() if re.match(r"E\s+\S", line)]
    chosen = [line for line in lines if re.match(r"assert |Failed|[\w.]*Error: (?!exit code|Finished)", line)]
    words = next(iter([*chosen[-1:], *in_ranks, *lines, *text.strip().splitlines()]), "")
    if in_ranks and re.match(r"assert \d+ [!=]= \d+$|AssertionError: exit code", words):
        words = in_ranks[0]
    for place in (str(Path(sys.executable).parent), str(ROOT), tempfile.gettempdir(), str(Path.home())):
        words = words.replace(place, "…")
    return re.sub(r"\s+", " ", words)[:110]


def compare(row: guard_rows.Row) -> dict[str, Seen]:
    """The row's tests with the guards and without."""
    on, off = run_tests(row.tests), run_tests(row.tests, without=row.key)
    seen = {}
    for test in row.tests:
        (first, first_seconds, first_text), (then, then_seconds, text) = on[test], off[test]
        words = last_words(text if then == "failed" else first_text) if (first, then) != ("passed", "passed") else ""
        if then == "failed":
            then = "failed as expected" if re.search(row.seen, text) else "failed for another reason"
            if then != "failed as expected":
                sys.stdout.write(f"{text[:6000]}\n")
        seen[test] = Seen(first, round(first_seconds, 1), then, round(then_seconds, 1), words)
    return seen


def page(results: dict[str, Any]) -> str:
    """The Markdown table of what was recorded."""
    text = (
        "# Every guard, seen to fail\n\n"
        "Each test below passes with its guard and fails without it; `python tests/guards.py --write`, run by the\n"
        "Python of an environment, writes this page. Without its guard a job that hangs is killed. The failures are\n"
        "those of docs/reliability.md: F1 an exception, F2 a rank that leaves, F3 a thread, F4 a rank that never\n"
        "comes or does something else, F5 models or training that differ, F6 unused parameters, F7 uneven data,\n"
        "F8 not-a-number, F13 large messages, F14 fork, F15 thread level, F16 threads, F17 a GPU a rank,\n"
        "F18 device pointers, F19 another MPI's launcher, F20 standard input and hostfiles.\n"
    )
    for name in MPIS:
        if name not in results:
            continue
        found = results[name]
        text += f"\n## {found['version']}, {found['date']}\n\n| | without the guard | guard | test | with | without |\n"
        text += "|---|---|---|---|---|---|\n"
        for row in guard_rows.ROWS:
            for i, (test, seen) in enumerate(found["rows"].get(row.key, {}).items()):
                head = [row.key, row.off, " + ".join(f"`{g.name}`" for g in row.guards)] if i == 0 else [""] * 3
                once = Seen(**seen)
                short = test.partition("::")[2].replace("|", "\\|")
                cells = [
                    *head, f"`{short}`", f"{once.with_guard}, {once.seconds_with} s",
                    f"{once.words}, {once.seconds_without} s".replace("|", "\\|").replace("<", "&lt;"),
                ]  # fmt: skip
                text += f"| {' | '.join(cells)} |\n"
    return text


def recorded() -> dict[str, Any]:
    """What ``--write`` has recorded, by MPI."""
    return dict(json.loads(RESULTS.read_text(encoding="utf-8"))) if RESULTS.exists() else {}


def record(rows: dict[str, dict[str, Seen]]) -> None:
    results = recorded()
    mine = results.setdefault(mpi(), {"rows": {}})
    mine.update(version=mpi_version(), date=datetime.date.today().isoformat())
    known = {row.key: row for row in guard_rows.ROWS}
    mine["rows"].update({key: {test: asdict(one) for test, one in seen.items()} for key, seen in rows.items()})
    mine["rows"] = {key: mine["rows"][key] for key in known if key in mine["rows"]}
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(results), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the rows asked for; 0 only if every test passes with its guard and fails as expected without."""
    parser = argparse.ArgumentParser(description="Run tests with their guards and without.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="F4: all rows of F4; F4b: that one; default: all")
    parser.add_argument("--exact", action="store_true", help="F4: only the row of that key")
    parser.add_argument("--write", action="store_true", help="record what was seen")
    options = parser.parse_args(arguments)
    known = {name for row in guard_rows.ROWS for name in (row.key, row.failure)}
    if unknown := set(options.rows) - known:
        parser.error(f"no rows {', '.join(sorted(unknown))}; there are {', '.join(r.key for r in guard_rows.ROWS)}")
    wanted = set(options.rows)
    chosen = [r for r in guard_rows.ROWS if not wanted or {r.key, r.key if options.exact else r.failure} & wanted]
    seen: dict[str, dict[str, Seen]] = {}
    for row in chosen:
        if row.only in ("", mpi()):
            seen[row.key] = compare(row)
            for test, one in seen[row.key].items():
                mark = "ok " if one.right else "BAD"
                print(
                    f"{mark} {row.key:<5}{test.partition('::')[2]}: with {one.with_guard} ({one.seconds_with} s), "
                    f"without {one.without_guard} ({one.seconds_without} s) {one.words}",
                    flush=True,
                )
            if options.write and all(one.right for one in seen[row.key].values()):
                record({row.key: seen[row.key]})
    bad = sum(not one.right for tests in seen.values() for one in tests.values())
    print(f"{mpi()}: {sum(map(len, seen.values()))} tests of {len(seen)} rows, {bad} not as they should be")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
