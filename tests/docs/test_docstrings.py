"""Examples in docstrings of what is public run and print what they say; which public names have none is known."""

from __future__ import annotations

import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import distgrad
import distgrad.distributed as dist
from distgrad import nn, optim, registry
from distgrad.nn import functional

MODULES = [
    "distgrad", "distgrad.autograd", "distgrad.autograd.forward_ad", "distgrad.autograd.functional", "distgrad.cuda",
    "distgrad.distributed", "distgrad.distributed.algorithms", "distgrad.distributed.optim", "distgrad.fft",
    "distgrad.func", "distgrad.linalg", "distgrad.nn", "distgrad.nn.functional",
    "distgrad.nn.init", "distgrad.nn.parallel", "distgrad.nn.utils",
    "distgrad.nn.utils.parametrizations", "distgrad.optim", "distgrad.optim.lr_scheduler",
    "distgrad.optim.swa_utils", "distgrad.profiler", "distgrad.random", "distgrad.registry", "distgrad.serialization",
    "distgrad.testing", "distgrad.utils.checkpoint",
    "distgrad.utils.data",
]  # fmt: skip
# Public names without an example, which get fewer: a new one comes with an example.
WITHOUT = Path(__file__).with_name("without_examples.txt")
# What stands in front of every example; docs/reference/index.md says so.
NAMES = {"distgrad": distgrad, "torch": distgrad, "nn": nn, "optim": optim, "F": functional, "dist": dist}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def public(module: str) -> Iterator[tuple[str, Any]]:
    """What is callable among a module's public names, built-in plugins included."""
    found = importlib.import_module(module)
    names = list(found.__all__)
    if module == "distgrad.optim":
        names += [p.class_name for p in registry.plugins() if p.kind == "optimizer" and p.distribution == "distgrad"]
    for name in names:
        thing = getattr(found, name)
        if callable(thing) and not inspect.ismodule(thing):
            yield f"{module}.{name}", thing


def each_once() -> dict[str, Any]:
    """Public callables by name, those with several names by the first."""
    found: dict[int, tuple[str, Any]] = {}
    for module in MODULES:
        for name, thing in public(module):
            found.setdefault(id(thing), (name, thing))
    return dict(found.values())


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    finder, runner, said = doctest.DocTestFinder(exclude_empty=True), doctest.DocTestRunner(optionflags=FLAGS), []
    for name, thing in each_once().items():
        if name.rpartition(".")[0] != module:
            continue
        for test in finder.find(thing, name, module=False, globs=dict(NAMES)):
            # Collectives are shown in a group of one process.
            needs_group = module.startswith(("distgrad.distributed", "distgrad.nn.parallel"))
            if needs_group and not any("init_process_group" in e.source for e in test.examples):
                dist.init_process_group("serial")
            distgrad.manual_seed(0)
            try:
                runner.run(test, out=said.append)
            finally:
                if dist.is_initialized():
                    dist.destroy_process_group()
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_public_names_without_an_example_get_fewer() -> None:
    listed = WITHOUT.read_text(encoding="utf-8").split()
    without = sorted(name for name, thing in each_once().items() if ">>>" not in (thing.__doc__ or ""))
    assert sorted(set(without) - set(listed)) == [], "new public names come with an example in their docstring"
    assert sorted(set(listed) - set(without)) == [], f"these have an example now: take them off {WITHOUT.name}"
    assert listed == sorted(listed)
