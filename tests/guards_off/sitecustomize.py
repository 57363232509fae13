"""Imported by Python itself at its start, where this folder is on PYTHONPATH: takes one guard out of distgrad.

``DISTGRAD_TEST_GUARD_OFF`` names a row of ``guard_rows.py``.  Its guards are replaced as soon as the module that has
them has been imported, so distgrad needs no switch for its tests, and knows of none.  It acts in the process that runs
the tests, in ranks and in whatever else they start.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import guard_rows  # beside this file


class _Then:
    """A module's loader that has guards replaced once it has run the module."""

    def __init__(self, loader: Any, guards: Sequence[guard_rows.Guard]) -> None:
        self._loader, self._guards = loader, guards

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        for guard in self._guards:
            guard.take_out(module)


class After(importlib.abc.MetaPathFinder):
    """Finds modules as the others do, and sees to those with guards."""

    def __init__(self, guards: Sequence[guard_rows.Guard]) -> None:
        self._guards = guards
        self._looking = ""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        guards = [guard for guard in self._guards if guard.module == name]
        if not guards or name == self._looking:
            return None
        self._looking = name  # so that the search below passes by here
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._looking = ""
        if spec is not None:
            spec.loader = _Then(spec.loader, guards)  # type: ignore[assignment]
        return spec


if wanted := os.environ.get(guard_rows.VARIABLE):
    sys.meta_path.insert(0, After(guard_rows.row(wanted).guards))
