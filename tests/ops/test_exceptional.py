"""Every operation at its exceptional points, against what PyTorch answered there, and against PyTorch itself."""

from __future__ import annotations

from typing import Any

import pytest

import distgrad
from tests.ops.exceptional import KNOWN, Case, cases, differs, outcome, recorded

CASES = list(cases())


def wrong(answers: Any) -> list[str]:
    """The cases, and what in them, that come out otherwise here than in ``answers``."""
    found = []
    for case in CASES:
        if case.name not in KNOWN:
            what = differs(answers(case), outcome(distgrad, case))
            if what is not None:
                found.append(f"{case.name}: {what}")
    return found


def test_every_case_comes_out_as_recorded() -> None:
    answers = recorded()
    assert sorted(answers) == sorted(c.name for c in CASES if c.name not in KNOWN)
    assert wrong(lambda case: answers[case.name]) == []


@pytest.mark.torch
def test_every_case_comes_out_as_in_torch() -> None:
    import torch

    answers = recorded()

    def live(case: Case) -> Any:
        answer = outcome(torch, case)
        assert differs(answer, answers[case.name]) is None, f"{case.name}: the record is out of date"
        return answer

    assert wrong(live) == []


def test_what_is_known_to_differ_is_a_case() -> None:
    assert not set(KNOWN) - {c.name for c in CASES}
