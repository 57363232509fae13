"""The command line, ``python -m distgrad COMMAND``; each module here is one command.

A command's module has

- its help as docstring, the first line being the summary;
- ``COMMAND``, its words: ``("plugins",)``, or ``("plugins", "check")`` for a command below another;
- ``configure(parser)``, which adds its arguments;
- ``run(arguments)``, which does it and returns the exit code.

A module is imported for every command, so what is slow to import is imported in ``run``.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
from collections.abc import Sequence
from typing import Any

from distgrad.version import distgrad as _version

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` (default: this process's arguments) asks for, and return its exit code."""
    arguments = _parser().parse_args(argv)
    return int(arguments.run(arguments))


def _parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m distgrad", description="distgrad's command line")
    root.add_argument("--version", action="version", version=f"distgrad {_version}")
    parsers: dict[tuple[str, ...], argparse.ArgumentParser] = {(): root}
    children: dict[tuple[str, ...], Any] = {(): root.add_subparsers(metavar="COMMAND", required=True)}
    for command in sorted(_commands(), key=lambda module: (len(module.COMMAND), module.COMMAND)):
        words, above = command.COMMAND, command.COMMAND[:-1]
        if above not in children:
            children[above] = parsers[above].add_subparsers(metavar="COMMAND")
        help_text = inspect.getdoc(command) or ""
        parsers[words] = children[above].add_parser(
            words[-1],
            help=help_text.partition("\n")[0],
            description=help_text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.configure(parsers[words])
        parsers[words].set_defaults(run=command.run)
    return root


def _commands() -> list[Any]:
    found = [m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")]
    return [importlib.import_module(f"{__name__}.{name}") for name in found]
