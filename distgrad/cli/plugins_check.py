"""Run the conformance kit on an optimizer, loss or communicator.

Prints every check with what became of it and why; exit code 1 where one fails.  Settings that a class needs (options,
inputs, a check that does not apply) it has as its attribute conformance: see distgrad.testing.

A communicator whose ranks are processes is checked on the ranks that there are:
mpirun -n 3 python -m distgrad plugins check mpi
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
from typing import Any

COMMAND = ("plugins", "check")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the registered name, or the name of the class")
    parser.add_argument("--kind", help="optimizer, loss or communicator; needed where two kinds have the name")
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an argument of its constructor, such as --option lr=0.01; may be given again",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of a table")


def run(arguments: argparse.Namespace) -> int:
    from distgrad import registry, testing

    try:
        kind = arguments.kind or _kind_of(arguments.name)
        settings: dict[str, Any] = {"options": dict(map(_option, arguments.option))} if arguments.option else {}
        told = None if arguments.json else functools.partial(print, flush=True)  # who waits sees how far it has come
        report = testing.check(kind, arguments.name, told, **settings)
    except (registry.PluginError, TypeError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if arguments.json:
        print(json.dumps({**dataclasses.asdict(report), "ok": report.ok}, indent=2))
    return int(not report.ok)


def _kind_of(name: str) -> str:
    """The kind of the plugin ``name``; PluginError where none has it, ValueError where several do."""
    from distgrad import registry
    from distgrad.hookspecs import HOOKS

    kinds = []
    for kind in HOOKS:
        try:
            registry.get(kind, name)
        except registry.UnknownPluginError:
            continue
        kinds.append(kind)
    if len(kinds) > 1:
        raise ValueError(f"{name!r} names plugins of the kinds {' and '.join(kinds)}; say which by --kind")
    if not kinds:
        raise registry.UnknownPluginError(
            "; ".join(registry.explain(kind, name) for kind in HOOKS) + "; is its distribution installed? "
            "python -m distgrad plugins lists what is"
        )
    return kinds[0]


def _option(text: str) -> tuple[str, Any]:
    name, given, value = text.partition("=")
    if not (name.isidentifier() and given):
        raise ValueError(f"an option is NAME=VALUE, such as lr=0.01, got {text!r}")
    try:
        found = json.loads(value)
    except json.JSONDecodeError:
        return name, value
    return name, tuple(found) if isinstance(found, list) else found
