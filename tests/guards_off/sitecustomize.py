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


class _After(importlib.abc.MetaPathFinder):
    """Finds modules as the others do, and has guards in them replaced once they are there."""

    def __init__(self, guards: Sequence[guard_rows.Guard]) -> None:
        self._guards = guards
        self._modules = {guard.module for guard in guards}

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self._modules:
            return None
        self._modules.remove(name)  # so that the search below passes by here
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def then_replace(module: ModuleType) -> None:
            execute(module)
            for guard in self._guards:
                if guard.module == name:
                    guard.take_out(module)

        spec.loader.exec_module = then_replace  # type: ignore[method-assign]
        return spec


if wanted := os.environ.get(guard_rows.VARIABLE):
    sys.meta_path.insert(0, _After(guard_rows.row(wanted).guards))
