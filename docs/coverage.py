"""What of PyTorch is there, asked of the library itself: writes coverage.md beside this file.

``python docs/coverage.py`` after a change of names; a test compares.  PyTorch's names are in pytorch-names.txt.
"""

from __future__ import annotations

import functools
import textwrap
from pathlib import Path
from typing import Any

import distgrad
import distgrad.distributed
import distgrad.utils.checkpoint
import distgrad.utils.data

HERE = Path(__file__).resolve().parent
NAMES, PAGE = HERE / "pytorch-names.txt", HERE / "coverage.md"


def sections() -> dict[str, list[str]]:
    """PyTorch's public names by namespace."""
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for line in NAMES.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            names = found[line.strip("[]")] = []
        elif not line.startswith("#"):
            names += line.split()
    return found


def has(namespace: str, name: str) -> bool:
    """Whether distgrad has what PyTorch calls ``namespace.name``."""
    path = namespace.split(".")[1:]
    try:
        owner: Any = functools.reduce(getattr, path, distgrad)
        return hasattr(owner, name)
    except AttributeError:
        return False


def page() -> str:
    """The text of coverage.md."""
    rows, absent = [], []
    for namespace, names in sections().items():
        missing = [name for name in names if not has(namespace, name)]
        rows.append(f"| `{namespace}` | {len(names) - len(missing)} | {len(names)} |")
        if missing:
            text = textwrap.fill(", ".join(f"`{name}`" for name in missing), 118, break_long_words=False,
                                 break_on_hyphens=False)  # fmt: skip
            absent.append(f"## {namespace}: absent\n\n{text}\n")
    return "\n".join(
        [
            "# What of PyTorch is there",
            "",
            "Made by `docs/coverage.py` from PyTorch 2.13's public names (internal ones, too, where it lists them)",
            "and from what distgrad has under the same names. That a name is there says that it is meant to do what",
            "PyTorch's does; how it differs on purpose is in [differences](differences-from-pytorch.md).",
            "",
            "| namespace | there | of |",
            "|---|---|---|",
            *rows,
            "",
            *absent,
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
