"""Fields that others than their owner could write, and the one room that does."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from pathlib import Path

import distgrad
from distgrad import nn, storage

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("distgrad", "plugins") for path in sorted((ROOT / folder).rglob("*.py"))]
OWN = "distgrad/autograd/"


def written(tree: ast.AST) -> Iterator[ast.Attribute]:
    """The attributes that are assigned to, but for those of ``self``."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, (ast.Store, ast.Del)):
            continue
        if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            yield node


def test_autograd_alone_writes_what_a_leaf_says_of_its_gradient() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        if not str(path.relative_to(ROOT)).startswith(OWN)
        for node in written(ast.parse(path.read_text()))
        if node.attr in ("slot", "bound", "factors")
    ]
    assert not found


def test_where_a_parameter_lies_is_asked_of_one_function() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value == "_flat"
    ]
    rooms = {line.split(":")[0] for line in found}
    assert rooms == {"distgrad/autograd/gradient_slots.py", "distgrad/autograd/copying.py"}  # copies lie elsewhere


def test_storage_alone_counts_its_layouts() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in written(ast.parse(path.read_text()))
        if node.attr == "changes" and isinstance(node.value, ast.Name) and node.value.id == "storage"
    ]
    assert not found


def test_a_bound_is_told_where_somebody_asks_and_taken_once() -> None:
    leaf = distgrad.ones(2, requires_grad=True)._node
    leaf.tell_bound(3.0)
    assert leaf.bound is None
    assert leaf.take_bound() == math.inf
    leaf.tell_bound(3.0)
    assert (leaf.take_bound(), leaf.take_bound()) == (3.0, math.inf)
    leaf.ask_no_bound()
    assert leaf.bound is None


def test_a_place_outlives_a_move_and_a_home_does_not() -> None:
    p = nn.Parameter(distgrad.ones(3))
    assert storage.place(p) is None
    (flat,) = storage.flatten([p])
    assert storage.place(p) == (flat, 0)
    assert storage.home(p) is flat
    p.data = distgrad.zeros(3)
    assert storage.place(p) == (flat, 0)
    assert storage.home(p) is None
