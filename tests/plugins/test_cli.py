"""``python -m distgrad``, in process and as people run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from distgrad import registry
from distgrad.cli import main
from distgrad.registry import Plugin

GOOD = Plugin("optimizer", "lion", type("Lion", (), {}), "distgrad-lion", "0.1.0", "distgrad_lion")
BROKEN = Plugin("", "bad", None, "stranger", "2.0", "bad_module", "OSError: no such accelerator")
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
    assert "broken: bad (stranger 2.0, bad_module)\n  OSError: no such accelerator\n" in out
    assert "conflict: mse (stranger 2.0, theirs)\n  offered by 2 plugins\n" in out
    assert "distgrad-lion" in out


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    listing(monkeypatch, [BROKEN, CONFLICT, GOOD])
    assert main(["plugins", "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [(r["name"], r["class"], r["status"], r["error"]) for r in rows] == [
        ("bad", "", "broken", "OSError: no such accelerator"),
        ("mse", "MSE", "conflict", "offered by 2 plugins"),
        ("lion", "Lion", "ok", None),
    ]


def test_an_unknown_command_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["plugin"])
    assert "invalid choice: 'plugin' (choose from" in capsys.readouterr().err


def test_as_people_run_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "distgrad", "plugins", "--json"],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    here = [(p.kind, p.name, p.module) for p in registry.plugins()]
    assert [(r["kind"], r["name"], r["module"]) for r in json.loads(done.stdout)] == here
