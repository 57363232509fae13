"""What a module says of a name that it does not have."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["absent"]


def absent(module: str, name: str, what: str, known: Iterable[str], also: str = "") -> AttributeError:
    """The error for ``module.name``: what the module has of which nothing bears that name, and the nearest names.

    Args:
        what: e.g. ``"layer, loss or function"``.
        known: all names that could have been meant.
        also: a sentence to end with.
    """
    spellings: dict[str, list[str]] = {}
    for n in known:
        if not n.startswith("_"):
            spellings.setdefault(n.lower(), []).append(n)
    close = difflib.get_close_matches(name.lower(), spellings, n=3, cutoff=0.6)
    nearest = [n for spelling in close for n in spellings[spelling]]
    text = f"module {module!r} has no attribute {name!r}: no {what} has that name"
    text += f"; the nearest: {', '.join(nearest)}" if nearest else ""
    error = AttributeError(f"{text}; {also}" if also else text)
    error.name = name
    return error
