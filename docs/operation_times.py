"""Writes ``operation-times.md``: each operation's time over PyTorch's, from the newest recorded run, with reasons.

python docs/operation_times.py [--check]
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = Path(__file__).with_name("operation-times.md")
sys.path.insert(0, str(ROOT / "benchmarks"))

from operation_reasons import reason  # noqa: E402 - found by the line above

SIZES = (10, 10_000, 1_000_000)
LIMIT = 1.5


def _cell(row: dict[str, Any] | None) -> str:
    return "" if row is None else f"{row['ratio']:.2f}"


def page() -> str:
    """The page's text."""
    newest = max((ROOT / "benchmarks" / "results").glob("operations-*.json"))
    found = json.loads(newest.read_text(encoding="utf-8"))
    rows = {(r["name"], r["elements"], r["backward"]): r for r in found["operations"]}
    columns = [(n, backward) for n in SIZES for backward in (False, True)]
    machine = found["machine"]
    packages = ", ".join(f"{k} {v}" for k, v in machine["packages"].items())
    lines = [
        "# Times of single operations", "",
        f"Our time over PyTorch's, of float32, one thread; made by `docs/operation_times.py` from `{newest.name}`:",
        f"{machine['date']}, {machine['processor']}, Python {machine['python']}, {packages}; without numba.", "",
        "F: forward; B: forward and backward; at 10, 10,000 and a million elements.  The reason is that of the largest",
        f"ratio above {LIMIT} at 10,000 and a million.", "",
        "| operation | F 10 | B 10 | F 10⁴ | B 10⁴ | F 10⁶ | B 10⁶ | reason |", "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    medians = [statistics.median(r["ratio"] for (_, *c), r in rows.items() if tuple(c) == column) for column in columns]
    lines.append(f"| **median** | {' | '.join(f'**{m:.2f}**' for m in medians)} | |")
    for name in dict.fromkeys(r["name"] for r in found["operations"]):
        cells = [rows.get((name, *column)) for column in columns]
        worst = max((c for c in cells[2:] if c is not None), key=lambda c: c["ratio"])
        why = reason(name, worst["us"], worst["torch_us"]) if worst["ratio"] > LIMIT else ""
        lines.append(f"| `{name}` | {' | '.join(map(_cell, cells))} | {why} |")
    everything = statistics.median(r["ratio"] for r in rows.values())
    lines += ["", f"The median of all {len(rows)} figures is {everything:.2f}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
