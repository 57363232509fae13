"""``python -m distgrad plugins new``: what it writes works as written, and what it refuses it explains."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from distgrad.cli import main
from distgrad.hookspecs import HOOKS
from tests.helpers import installs

# kind: the name asked for, a program that uses the plugin by its name, and what that prints
USES = {
    "optimizer": (
        "my-optimizer",
        """
import distgrad
from distgrad import nn, optim
model, x = nn.Linear(1, 1), distgrad.tensor([[0.0], [1.0], [2.0]])
optimizer = optim.get("my_optimizer")(model.parameters(), lr=0.05)
assert type(optimizer) is optim.MyOptimizer
for _ in range(300):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), 2 * x + 1)
    loss.backward()
    optimizer.step()
print(loss.item() < 1e-6)
""",
    ),
    "loss": (
        "distgrad-cauchy",
        """
import distgrad
from distgrad import nn, optim
model, x = nn.Linear(1, 1), distgrad.tensor([[0.0], [1.0], [2.0]])
optimizer, criterion = optim.Adam(model.parameters(), lr=0.05), nn.get_loss("cauchy")()
assert type(criterion) is nn.CauchyLoss
for _ in range(1500):
    optimizer.zero_grad()
    loss = criterion(model(x), 2 * x + 1)
    loss.backward()
    optimizer.step()
print(loss.item() < 1e-6)
""",
    ),
    "communicator": (
        "counting_comm",
        """
import distgrad
import distgrad.distributed as dist
from distgrad import nn, registry
from distgrad.nn.parallel import DistributedDataParallel

def main():
    dist.init_process_group("counting_comm")
    bare = nn.Linear(1, 1)
    model, x = DistributedDataParallel(bare), distgrad.tensor([[dist.get_rank() + 1.0]])
    for _ in range(200):
        model.zero_grad()
        nn.functional.mse_loss(model(x), 2 * x + 1).backward()
        with distgrad.no_grad():
            for p in bare.parameters():
                p -= 0.2 * p.grad
    dist.destroy_process_group()
    return round(bare.weight.item(), 2), round(bare.bias.item(), 2)

print(registry.get("communicator", "counting_comm").run(2, main) == [(2.0, 1.0)] * 2)
""",
    ),
}


@pytest.mark.packaging
@pytest.mark.slow
def test_what_it_writes_works_as_written(wheel: Path, tmp_path: Path) -> None:
    made = installs.create(tmp_path / "venv")
    made.install(wheel)
    for kind, (name, program) in USES.items():
        made.run("-m", "distgrad", "plugins", "new", name, "--kind", kind, "--directory", "mine", cwd=tmp_path)
        plain = name.removeprefix("distgrad-")
        folder = tmp_path / "mine" / f"distgrad-{plain.replace('_', '-')}"
        made.install(folder, "--editable")
        registered = plain.replace("-", "_")
        checked = made.run("-m", "distgrad", "plugins", "check", registered, "--kind", kind, cwd=tmp_path).stdout
        optional = int(kind == "communicator")  # what is written makes no groups, which a communicator need not
        assert re.search(rf"\n\d\d passed, 0 failed, {optional} skipped\n$", checked), checked
        tested = made.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder).stdout
        assert re.search(rf"\n\d\d passed{', 1 skipped' * optional} in ", tested), tested
        assert made.run("-c", program, cwd=tmp_path).stdout == "True\n"
    rows = json.loads(made.run("-m", "distgrad", "plugins", "--json", cwd=tmp_path).stdout)
    theirs = {(r["kind"], r["name"], r["class"], r["distribution"]) for r in rows if r["distribution"] != "distgrad"}
    assert theirs == {
        ("optimizer", "my_optimizer", "MyOptimizer", "distgrad-my-optimizer"),
        ("loss", "cauchy", "CauchyLoss", "distgrad-cauchy"),
        ("communicator", "counting_comm", "CountingComm", "distgrad-counting-comm"),
    }


@pytest.mark.parametrize("kind", HOOKS)
def test_every_kind_has_a_complete_distribution(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "new", "my-thing", "--kind", kind, "--directory", str(tmp_path)]) == 0
    folder = tmp_path / "distgrad-my-thing"
    written = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert written == {"pyproject.toml", "README.md", "src/distgrad_my_thing.py", "tests/test_my_thing.py"}
    for path in (p for p in folder.rglob("*") if p.is_file()):
        text = path.read_text(encoding="utf-8")
        assert "$" not in text, f"{path} has a name that was not put in"
        assert all(len(line) <= 120 for line in text.splitlines())
    out = capsys.readouterr().out
    assert f"python -m pip install -e {folder}" in out
    assert f"python -m distgrad plugins check my_thing --kind {kind}" in out


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["plugins", "new", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "distgrad-mine" / "kept.txt"
    mine.parent.mkdir()
    mine.write_text("mine", encoding="utf-8")
    said = refused(["mine", "--directory", str(tmp_path)], capsys)
    assert said == f"{mine.parent} exists already; nothing was written\n"
    assert [p.name for p in tmp_path.rglob("*")] == ["distgrad-mine", "kept.txt"]


@pytest.mark.parametrize("name", ["My", "my optimizer", "2fast", "", "a--b", "-a", "a-", "../up", "möglich", "a.b"])
def test_a_bad_name_is_told_what_is_allowed(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused([f"--directory={tmp_path}", "--", name], capsys)
    assert said.startswith(f"{name!r} cannot name a plugin: allowed are lower-case letters and digits")
    assert "such as my-optimizer" in said
    assert not list(tmp_path.iterdir())


def test_a_taken_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--directory", str(tmp_path)]
    assert "has the optimizer 'adam' (Adam) already" in refused(["adam", *where], capsys)
    assert "has the loss 'mse' (MSELoss) already" in refused(["mse", "--kind", "loss", *where], capsys)
    assert "a module distgrad_optimizers is installed already" in refused(["optimizers", *where], capsys)
    assert "the kinds are: optimizer, loss, communicator" in refused(["mine", "--kind", "layer", *where], capsys)
    assert not list(tmp_path.iterdir())
