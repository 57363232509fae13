"""The table of what of PyTorch is there is what the library says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

DOCS = Path(__file__).resolve().parents[2] / "docs"


def made() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_page", DOCS / "coverage.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_library_has() -> None:
    module = made()
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run python docs/coverage.py"


def test_names_are_asked_of_the_library() -> None:
    module = made()
    assert module.has("torch.nn.functional", "relu")
    assert not module.has("torch.nn.functional", "no_such_name")
    assert not module.has("torch.no_such_room", "relu")
    assert sum(map(len, module.sections().values())) > 1900
