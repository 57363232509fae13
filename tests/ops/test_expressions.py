"""What expressions give, or which error: bounds of dtypes, index checks, shapes, powers, losses of nothing.

``expressions.txt`` holds PyTorch's answer to each; run as a script this file writes it anew.
"""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import distgrad
from tests.ops import expressions_dtypes, expressions_numbers, expressions_shapes, expressions_values
from tests.ops.exceptional import Case, _answer, _word, differs, outcome

RECORD = Path(__file__).with_name("expressions.txt")
FILES = (expressions_numbers, expressions_shapes, expressions_values, expressions_dtypes)


def texts(module: ModuleType) -> list[str]:
    """The source of each of a file's expressions."""
    tree = ast.parse(Path(str(module.__file__)).read_text())
    return [ast.unparse(node.body) for node in ast.walk(tree) if isinstance(node, ast.Lambda)]


TEXTS = [text for file in FILES for text in texts(file)]


def outcomes(t: Any) -> list[Any]:
    """What each expression gives in the module ``t``."""
    calls = [call for file in FILES for call in file.expressions(t)]
    return [outcome(t, Case("", lambda t, call=call: call(), ())) for call in calls]


def wrong(answers: list[Any]) -> list[str]:
    """The expressions that give something else here."""
    return [
        f"{text}: {_word(got)} instead of {_word(expected)}"
        for text, expected, got in zip(TEXTS, answers, outcomes(distgrad), strict=True)
        if differs(expected, got) is not None
    ]


def test_every_expression_gives_what_is_recorded() -> None:
    lines = [line.split("\t") for line in RECORD.read_text().splitlines()]
    assert [text for text, _ in lines] == TEXTS
    assert wrong([_answer(word) for _, word in lines]) == []


@pytest.mark.torch
def test_every_expression_gives_what_it_gives_in_torch() -> None:
    import torch

    assert wrong(outcomes(torch)) == []


if __name__ == "__main__":
    import torch

    RECORD.write_text("".join(f"{e}\t{_word(o)}\n" for e, o in zip(TEXTS, outcomes(torch), strict=True)))
