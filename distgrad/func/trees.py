"""Values in tuples, lists and dicts, as functions take and return them: taken apart and put together again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ..return_types import Structure

__all__ = ["broadcast", "leaves_of", "mapped"]


def _children(tree: Any) -> tuple[list[Any], Callable[[list[Any]], Any]] | None:
    """What a tuple, list or dict holds, and what makes another of other contents; None for anything else."""
    kind = type(tree)
    if kind is list:
        return list(tree), list
    if kind is tuple:
        return list(tree), tuple
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return list(tree), lambda found: kind(*found)
    if isinstance(tree, Structure):
        return list(tree), kind
    if kind in (dict, OrderedDict):
        return list(tree.values()), lambda found: kind(zip(tree, found, strict=True))
    return None


def leaves_of(tree: Any) -> list[Any]:
    """What is in ``tree``, from left to right."""
    parts = _children(tree)
    return [tree] if parts is None else [leaf for part in parts[0] for leaf in leaves_of(part)]


def mapped(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """A tree like ``tree`` of ``function`` of its leaves and of those in the same places of ``others``.

    ValueError where one of these has another form.
    """
    parts = _children(tree)
    if parts is None:
        return function(tree, *others)
    inside, made = parts
    rows = []
    for other in others:
        theirs = _children(other)
        if theirs is None or len(theirs[0]) != len(inside) or (isinstance(tree, dict) and list(tree) != list(other)):
            raise ValueError(f"expected a value of the form of {_form(tree)}, got {_form(other)}")
        rows.append(theirs[0])
    return made([mapped(function, part, *[row[i] for row in rows]) for i, part in enumerate(inside)])


def _form(tree: Any) -> str:
    parts = _children(tree)
    if parts is None:
        return type(tree).__name__
    return f"{type(tree).__name__}({', '.join(map(_form, parts[0]))})"


def broadcast(prefix: Any, tree: Any) -> list[Any]:
    """For each leaf of ``tree`` the leaf of ``prefix`` above it; ValueError where ``prefix`` has another form."""
    own = _children(prefix)
    parts = _children(tree)
    if own is None:
        return [prefix] * len(leaves_of(tree))
    if parts is None or len(own[0]) != len(parts[0]):
        raise ValueError(f"expected a value of the form of {_form(tree)}, got {_form(prefix)}")
    return [leaf for p, part in zip(own[0], parts[0], strict=True) for leaf in broadcast(p, part)]
