"""Write a new plugin: a complete distribution, to install, test and edit.

It is a folder distgrad-NAME with pyproject.toml (the entry point in it is all that makes the plugin known), README.md,
one module and its tests, which run the conformance kit.  It works as written.
"""

from __future__ import annotations

import argparse
import sys

COMMAND = ("plugins", "new")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="such as my-optimizer: lower-case words, joined by hyphens")
    parser.add_argument("--kind", default="optimizer", help="optimizer (default), loss or communicator")
    parser.add_argument("--directory", default=".", help="where the folder is made; default here")


def run(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from distgrad.cli import _scaffold

    try:
        made = _scaffold.write(arguments.name, arguments.kind, Path(arguments.directory))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    print(f"{made.folder}: {made.kind} {made.name!r}, class {made.cls}, written to {made.folder / made.module_file}")
    print(
        "\nNow\n"
        f"    python -m pip install -e {made.folder}      # once; edits need no second time\n"
        f"    python -m distgrad plugins check {made.name} --kind {made.kind}\n"
        f"    python -m pytest {made.folder}\n"
    )
    return 0
