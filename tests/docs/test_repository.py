"""What is there for those who work on it: the issue form, the checks before a commit, and what they name."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.docs.blocks import ROOT


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_issue_form_asks_for_the_doctor() -> None:
    form = read(".github/ISSUE_TEMPLATE/bug.yml")
    assert {"name", "description", "body"} <= set(form)
    fields = {field["id"]: field for field in form["body"]}
    assert len(fields) == len(form["body"])
    assert fields["doctor"]["attributes"]["label"] == "python -m distgrad doctor --json"
    assert fields["doctor"]["validations"]["required"]
    assert {field["type"] for field in form["body"]} <= {"textarea", "input", "checkboxes", "dropdown", "markdown"}


def test_checks_before_a_commit_name_what_is_there() -> None:
    hooks = [hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    entries = " ".join(hook.get("entry", "") for hook in hooks)
    assert {"ruff", "mypy", "fast-tests"} <= {hook["id"] for hook in hooks}
    assert [p for p in re.findall(r"\btests/[\w./]+", entries) if not (ROOT / p).exists()] == []


def test_every_failure_is_defined() -> None:
    """The names F1 to F21, which tests and docstrings use, are each a heading of the page."""
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    defined = re.findall(r"^F(\d+), .*\n: ", page, flags=re.MULTILINE)
    assert sorted(map(int, defined)) == list(range(1, 22))
