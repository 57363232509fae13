"""``python -m distgrad``, in process and as people run it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distgrad import hookimpl, registry, testing
from distgrad.cli import main
from distgrad.optim import Optimizer
from distgrad.registry import Plugin

GOOD = Plugin("optimizer", "lion", type("Lion", (), {}), "distgrad-lion", "0.1.0", "distgrad_lion", file="lion.py")
BROKEN = Plugin("", "bad", None, "stranger", "2.0", "bad_module", "OSError: no such accelerator", "bad/module.py")
CONFLICT = Plugin("loss", "mse", type("MSE", (), {}), "stranger", "2.0", "theirs", "offered by 2 plugins")


def listing(monkeypatch: pytest.MonkeyPatch, plugins: list[Plugin]) -> None:
    monkeypatch.setattr(registry, "plugins", lambda: plugins)


def test_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    listing(monkeypatch, [GOOD])
    assert main(["plugins"]) == 0
    assert capsys.readouterr().out == (
        "kind       name  class  distribution   version  module\n"
        "optimizer  lion  Lion   distgrad-lion  0.1.0    distgrad_lion\n"
    )


def test_what_is_wrong_is_listed_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listing(monkeypatch, [BROKEN, CONFLICT, GOOD])
    assert main(["plugins"]) == 1
    out = capsys.readouterr().out
    assert "broken: bad (stranger 2.0, bad/module.py)\n  OSError: no such accelerator\n" in out
    assert "conflict: mse (stranger 2.0, theirs)\n  offered by 2 plugins\n" in out
    assert "distgrad-lion" in out


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    listing(monkeypatch, [BROKEN, CONFLICT, GOOD])
    assert main(["plugins", "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [(r["name"], r["class"], r["file"], r["status"], r["error"]) for r in rows] == [
        ("bad", "", "bad/module.py", "broken", "OSError: no such accelerator"),
        ("mse", "MSE", "", "conflict", "offered by 2 plugins"),
        ("lion", "Lion", "lion.py", "ok", None),
    ]


def test_an_unknown_command_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["plugin"])
    assert "invalid choice: 'plugin' (choose from" in capsys.readouterr().err


def test_as_people_run_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "distgrad", "plugins", "--json"],
        capture_output=True, text=True, timeout=150, check=False, cwd=tmp_path,
    )  # fmt: skip
    here = [(p.kind, p.name, p.module) for p in registry.plugins()]
    assert [(r["kind"], r["name"], r["module"]) for r in json.loads(done.stdout)] == here


def test_check_prints_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "check", "mse"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("loss mse (on numbers)\n")
    for name, check in testing.CHECKS["loss"].items():
        assert re.search(rf"\n  passed +{name} +{re.escape(check.asserts)}\n", out), name
    assert out.endswith(f"\n{len(testing.CHECKS['loss'])} passed, 0 failed, 0 skipped\n")


class Wrong(Optimizer):
    """One that divides zero by zero."""

    defaults = dict(lr=0.1)
    conformance = dict(skip={"rosenbrock": "it is not meant for valleys"})

    def update(self, xp: Any, p: Any, g: Any, *, lr: float) -> None:
        p -= lr * xp.sqrt(g * g) / g


@pytest.fixture
def wrong() -> Iterator[str]:
    class Offer:
        @hookimpl
        def distgrad_optimizers(self) -> dict[str, type]:
            return {"wrong": Wrong, "mse": type("Mse", (Wrong,), {})}

    offer = Offer()
    registry.register(offer)
    yield "wrong"
    registry.unregister(offer)


def test_check_fails_with_the_reason(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "check", wrong]) == 1
    out = capsys.readouterr().out
    assert re.search(r"\n  failed +zero_gradient +after a gradient of zeros a parameter is not finite\n", out), out
    assert re.search(r"\n  skipped +rosenbrock +it is not meant for valleys\n", out), out
    assert re.search(r"\n\d+ passed, [1-9]\d* failed, 1 skipped\n$", out), out


def test_check_as_json_and_with_options(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "check", "Wrong", "--json", "--option", "lr=0.02"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["name"], found["ok"]) == ("optimizer", "Wrong", False)
    assert found["note"] == "on tensors, with lr=0.02"
    assert {r["check"] for r in found["results"]} == set(testing.CHECKS["optimizer"])
    assert {r["outcome"] for r in found["results"]} == {"passed", "failed", "skipped"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["adm"], "unknown optimizer 'adm'; did you mean 'adam'"),
        (["adm"], "python -m distgrad plugins lists what is"),
        (["adm", "--kind", "optimizer"], "unknown optimizer 'adm'; did you mean 'adam'"),
        (["mse"], "'mse' names plugins of the kinds optimizer and loss; say which by --kind"),
        (["adam", "--kind", "layer"], "unknown kind of plugin 'layer'; the kinds are: optimizer, loss, communicator"),
        (["adam", "--option", "lr"], "an option is NAME=VALUE, such as lr=0.01, got 'lr'"),
        (["threads", "--option", "lr=1"], "options"),
    ],
)
def test_check_says_what_it_cannot_check(
    arguments: list[str], words: str, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plugins", "check", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
