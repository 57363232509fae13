"""List the optimizers, losses and communicators that can be used, and what each comes from.

What is broken, or offered twice, comes last, with its file, the reason and what to do; the exit code is then 1.
plugins new writes a new one, plugins check NAME runs the conformance kit.
"""

from __future__ import annotations

import argparse
import json

COMMAND = ("plugins",)
COLUMNS = ("kind", "name", "class", "distribution", "version", "module")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print a JSON list, files included, instead of a table")


def run(arguments: argparse.Namespace) -> int:
    from distgrad import registry

    found = registry.plugins()
    rows = [
        {
            "kind": p.kind,
            "name": p.name,
            "class": p.class_name,
            "distribution": p.distribution,
            "version": p.version,
            "module": p.module,
            "file": p.file,
            "status": "ok" if p.error is None else "broken" if p.cls is None else "conflict",
            "error": p.error,
        }
        for p in found
    ]
    print(json.dumps(rows, indent=2) if arguments.json else _table(rows))
    return int(any(row["error"] for row in rows))


def _table(rows: list[dict[str, str | None]]) -> str:
    cells = [COLUMNS, *(tuple(row[c] or "-" for c in COLUMNS) for row in rows if not row["error"])]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells]
    lines += [
        f"\n{row['status']}: {row['name']} ({row['distribution']} {row['version']}, {row['file'] or row['module']})"
        f"\n  {row['error']}"
        for row in rows
        if row["error"]
    ]
    return "\n".join(lines)
