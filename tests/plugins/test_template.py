"""A stranger's optimizer, built, installed beside an untouched distgrad, and trained with by name."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from tests.helpers import installs

pytestmark = [pytest.mark.packaging, pytest.mark.slow]

TEMPLATE = installs.ROOT / "plugins" / "template"

TRAIN = """
import distgrad
from distgrad import nn, optim

assert optim.get("adabelief") is optim.AdaBelief and "AdaBelief" in dir(optim)
assert optim.AdaBelief.__module__ == "distgrad_adabelief"
x = distgrad.tensor([[float(i)] for i in range(11)])
y = 2 * x / 10 + 1
model = nn.Linear(1, 1)
optimizer = optim.get("adabelief")(model.parameters(), lr=1e-2)
for _ in range(2000):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
print(loss.item())
"""


def test_it_is_found_and_trains(wheel: Path, tmp_path: Path) -> None:
    made = installs.create(tmp_path / "venv")
    made.install(wheel)
    before = made.run("-m", "distgrad", "plugins", cwd=tmp_path).stdout
    assert "adabelief" not in before

    source = installs.copy_of(TEMPLATE, tmp_path / "adabelief")
    made.install(installs.build_wheel(source, tmp_path / "theirs"))

    rows = json.loads(made.run("-m", "distgrad", "plugins", "--json", cwd=tmp_path).stdout)
    (found,) = [row for row in rows if row["name"] == "adabelief"]
    assert Path(found.pop("file")).name == "distgrad_adabelief.py"
    assert found == {
        "kind": "optimizer",
        "name": "adabelief",
        "class": "AdaBelief",
        "distribution": "distgrad-adabelief",
        "version": "0.1.0",
        "module": "distgrad_adabelief",
        "status": "ok",
        "error": None,
    }
    assert float(made.run("-c", TRAIN, cwd=tmp_path).stdout) < 1e-2
    checked = made.run("-m", "distgrad", "plugins", "check", "adabelief", cwd=tmp_path).stdout
    assert re.search(r"\n\d\d passed, 0 failed, 0 skipped\n$", checked), checked
    tested = made.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pyproject.toml", cwd=source).stdout
    assert re.search(r"\n\d\d passed in ", tested), tested


def mathematics_of(source: str) -> str:
    """The class and the hook in ``source``, without annotations and blank lines."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in [*node.args.args, *node.args.kwonlyargs]:
                argument.annotation = None
    return "\n".join(ast.unparse(n) for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef)))


def test_the_tutorial_shows_it() -> None:
    page = (installs.ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(# distgrad_adabelief\.py\n.*?)```", page, flags=re.DOTALL)
    source = (TEMPLATE / "src" / "distgrad_adabelief.py").read_text(encoding="utf-8")
    assert mathematics_of(shown) == mathematics_of(source)
