"""A stranger's optimizer, built, installed beside an untouched distgrad, and trained with by name."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

import installs

pytestmark = [pytest.mark.packaging, pytest.mark.slow]

TEMPLATE = installs.ROOT / "plugins" / "template"

TRAIN = """
import distgrad
from distgrad import nn, optim

assert optim.get("lion") is optim.Lion and "Lion" in dir(optim)
assert optim.Lion.__module__ == "distgrad_lion"
x = distgrad.tensor([[float(i)] for i in range(11)])
y = 2 * x / 10 + 1
model = nn.Linear(1, 1)
optimizer = optim.get("lion")(model.parameters(), lr=2e-3)
for _ in range(3000):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
print(loss.item())
"""


def test_lion_is_found_and_trains(tmp_path: Path) -> None:
    made = installs.create(tmp_path / "venv")
    core = installs.build_wheel(installs.copy_of(installs.ROOT, tmp_path / "core"), tmp_path / "wheels")
    made.install(core)
    before = made.run("-m", "distgrad", "plugins", cwd=tmp_path).stdout
    assert "lion" not in before

    made.install(installs.build_wheel(installs.copy_of(TEMPLATE, tmp_path / "lion"), tmp_path / "lions"))

    rows = json.loads(made.run("-m", "distgrad", "plugins", "--json", cwd=tmp_path).stdout)
    (lion,) = [row for row in rows if row["name"] == "lion"]
    assert lion == {
        "kind": "optimizer",
        "name": "lion",
        "class": "Lion",
        "distribution": "distgrad-lion",
        "version": "0.1.0",
        "module": "distgrad_lion",
        "status": "ok",
        "error": None,
    }
    assert float(made.run("-c", TRAIN, cwd=tmp_path).stdout) < 1e-2
    made.run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "lion" / "tests"), cwd=tmp_path / "lion")


def lion_of(source: str) -> str:
    """The class and the hook in ``source``, without annotations and blank lines."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in [*node.args.args, *node.args.kwonlyargs]:
                argument.annotation = None
    return "\n".join(ast.unparse(n) for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef)))


def test_the_readme_shows_this_lion() -> None:
    readme = (installs.ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(# distgrad_lion\.py\n.*?)```", readme, flags=re.DOTALL)
    assert lion_of(shown) == lion_of((TEMPLATE / "src" / "distgrad_lion.py").read_text(encoding="utf-8"))
