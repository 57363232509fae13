"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from distgrad.testing import CHECKS

AUTHOR = """
import numpy as np
import pytest
from distgrad.optim import Optimizer


class Fine(Optimizer):
    defaults = dict(lr=0.1)

    def update(self, xp, p, g, *, lr):
        p -= lr * g


class Fetches(Fine):
    def update(self, xp, p, g, *, lr):
        p -= lr * np.tanh(g)


@pytest.mark.distgrad("optimizer", Fine, skip={"rosenbrock": "it is slow"})
def test_fine(conformance):
    conformance()


@pytest.mark.distgrad("optimizer", Fetches)
def test_fetches(conformance):
    conformance()


@pytest.mark.distgrad("loss", "mse")
def test_by_name(conformance):
    conformance()


def test_on_a_device(device_double):
    import distgrad
    assert str((distgrad.ones(2, device="cuda:0") + 1).device) == "cuda:0"
    assert device_double.transfers == 0
"""


def run_pytest(folder: Path, text: str, *options: str) -> str:
    (folder / "test_author.py").write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")  # whatever lies in the folders above
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--strict-markers", "-rs", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


@pytest.mark.slow
def test_each_check_is_a_test_of_its_own(tmp_path: Path) -> None:
    out = run_pytest(tmp_path, AUTHOR, "-v")
    for check in CHECKS["optimizer"]:
        outcome = "SKIPPED" if check == "rosenbrock" else "PASSED"
        assert f"::test_fine[{check}] {outcome}" in out
        assert f"::test_fetches[{check}] {'FAILED' if check == 'devices' else 'PASSED'}" in out
    for check in CHECKS["loss"]:
        assert f"::test_by_name[{check}] PASSED" in out
    assert ": it is slow" in out
    assert "fails the check devices: TypeError: numpy.tanh was called on a device array" in out
    assert "::test_on_a_device PASSED" in out
    passed = 2 * len(CHECKS["optimizer"]) - 2 + len(CHECKS["loss"]) + 1
    assert f"1 failed, {passed} passed, 1 skipped" in out


@pytest.mark.slow
def test_a_missing_marker_and_a_wrong_kind_are_explained(tmp_path: Path) -> None:
    bare = "def test_it(conformance): conformance()\n"
    out = run_pytest(tmp_path, bare)
    assert "test_it asks for the fixture conformance, so it needs the marker @pytest.mark.distgrad(kind, plugin)" in out
    out = run_pytest(tmp_path, "import pytest\n@pytest.mark.distgrad('layer', 'mse')\n" + bare)
    assert "unknown kind of plugin 'layer'; the kinds are: " in out


@pytest.mark.slow
def test_an_unknown_plugin_is_a_failure_that_names_the_known(tmp_path: Path) -> None:
    out = run_pytest(
        tmp_path, "import pytest\n@pytest.mark.distgrad('loss', 'msee')\ndef test_it(conformance): conformance()\n"
    )
    assert "unknown loss 'msee'; did you mean 'mse'" in out
    assert "0 passed" not in out


def test_pytest_imports_nothing_of_distgrad_unasked(tmp_path: Path) -> None:
    text = """
import sys


def test_nothing():
    assert "distgrad_pytest" in sys.modules
    assert "distgrad" not in sys.modules and "numpy" not in sys.modules
"""
    assert "1 passed" in run_pytest(tmp_path, text)
