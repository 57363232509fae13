"""What CuPy's namespace holds of NumPy's, written to ``distgrad/testing/fake_device/cupy_namespace.json``.

Run ``python tests/helpers/cupy_namespace.py``.

The file says for each name: ``"ufunc"``, ``"ufunc.at"`` (one that also has ``.at``), ``"numpy"`` (NumPy's own object, a
dtype or a constant) or the list of a function's parameters.  The double of CuPy is held to it, so it has to be recorded
where CuPy can be imported; no GPU is needed.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).resolve().parents[2] / "distgrad" / "testing" / "fake_device" / "cupy_namespace.json"
PARTS = ("", "fft", "lib.stride_tricks", "linalg")
MARK: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


class _Reached(Exception):
    pass


class _Target:
    """Stands in for an array: a ufunc whose ``.at`` CuPy supports calls this method, others raise before it."""

    def _scatter_op(self, *args: Any) -> None:
        raise _Reached


def _part(module: Any, path: str) -> Any:
    for name in filter(None, path.split(".")):
        module = getattr(module, name)
    return module


def _entry(theirs: Any, numpys: Any, ufunc: type) -> Any:
    if isinstance(theirs, ufunc):
        try:
            theirs.at(_Target(), [0], 1)  # type: ignore[attr-defined]
        except _Reached:
            return "ufunc.at"
        except NotImplementedError:
            return "ufunc"
    if theirs is numpys or isinstance(theirs, (float, int, type(None))):
        return None if inspect.ismodule(theirs) else "numpy"
    if not callable(theirs) or inspect.isclass(theirs):
        return None
    try:
        parameters = inspect.signature(theirs).parameters.values()
    except ValueError:
        return None
    return [MARK.get(p.kind, "") + p.name for p in parameters]


def record() -> dict[str, Any]:
    """``{name: entry}`` from the CuPy that is installed."""
    import cupy

    found = {}
    for path in PARTS:
        theirs, numpys = _part(cupy, path), _part(np, path)
        for name in sorted(n for n in dir(theirs) if not n.startswith("_") and hasattr(numpys, n)):
            entry = _entry(getattr(theirs, name), getattr(numpys, name), cupy.ufunc)
            if entry is not None:
                found[f"{path}.{name}" if path else name] = entry
    return found


if __name__ == "__main__":
    lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in record().items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{len(lines)} names in {FILE}")
