"""A plugin of the pytest that runs with a guard off: pytest's own finder, for assertions, has come before ours."""

from __future__ import annotations

import sys

import sitecustomize  # beside this file


def pytest_configure() -> None:
    for finder in [found for found in sys.meta_path if isinstance(found, sitecustomize.After)]:
        sys.meta_path.remove(finder)
        sys.meta_path.insert(0, finder)
