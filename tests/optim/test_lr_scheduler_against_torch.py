"""PyTorch's schedules beside ours: values, momentum, state dicts, signatures."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import distgrad
from tests.optim.schedules import CASES, STEPS, optimizer, run, seen

pytestmark = pytest.mark.torch
each = pytest.mark.parametrize("name", CASES)


@pytest.fixture(name="torch")
def _torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def both(torch: Any, name: str, *args: Any, **options: Any) -> list[tuple[Any, Any]]:
    found = []
    for t in (distgrad, torch):
        o = optimizer(t, *args, **options)
        found.append((o, CASES[name][0](t.optim.lr_scheduler, o)))
    return found


# what schedules keep in groups
KEPT = ("lr", "initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum", "momentum", "betas")


def same(a: Any, b: Any) -> None:
    """Of nested structures, numbers to rounding."""
    if isinstance(b, dict):
        assert a.keys() == b.keys()
        for key in b:
            same(a[key], b[key])
    elif isinstance(b, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(b, (str, bool, type(None))):
        assert a == b
    else:
        np.testing.assert_allclose(float(a), float(b), rtol=1e-12, atol=1e-18)


@each
@pytest.mark.parametrize("kind", ["SGD", "AdamW", "a tensor"])
def test_values(name: str, kind: str, torch: Any) -> None:
    (o, ours), (p, theirs) = both(torch, name, "AdamW" if kind == "AdamW" else "SGD", tensor=kind == "a tensor")
    np.testing.assert_allclose(run(o, ours), run(p, theirs), rtol=1e-12, atol=1e-18)
    same(ours.get_last_lr(), theirs.get_last_lr())
    same(ours.state_dict(), theirs.state_dict())
    same(*[[{k: group[k] for k in KEPT if k in group} for group in x.param_groups] for x in (o, p)])


@each
def test_pytorchs_state_loads(name: str, torch: Any) -> None:
    _, (p, theirs) = both(torch, name)
    run(p, theirs, 17)
    o, ours = both(torch, name)[0]
    ours.load_state_dict(theirs.state_dict())
    for mine, given in zip(o.param_groups, p.param_groups, strict=True):
        mine.update({k: v for k, v in given.items() if k != "params"})
    np.testing.assert_allclose(run(o, ours, 50), run(p, theirs, 50), rtol=1e-12, atol=1e-18)


@each
def test_going_to_a_step(name: str, torch: Any) -> None:
    if name.startswith(("sequential", "chained")):
        pytest.skip("their step() takes no number")
    (o, ours), (p, theirs) = both(torch, name)
    for t in (3, None, 31, 5, None, None, 12):
        for scheduler in (ours, theirs):
            scheduler.step(t)
        np.testing.assert_allclose(seen(o), seen(p), rtol=1e-12, atol=1e-18)
        same(ours.state_dict(), theirs.state_dict())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "max", "patience": 2},
        {"factor": 0.5, "patience": 1, "threshold": 0.1, "cooldown": 2},
        {"patience": 0, "threshold": 0.2, "threshold_mode": "abs", "min_lr": [0.001, 0.01]},
        {"mode": "max", "threshold_mode": "abs", "patience": 3, "eps": 1e-3, "min_lr": 1e-4},
    ],
    ids=str,
)
def test_on_a_plateau(options: dict[str, Any], torch: Any) -> None:
    metrics = np.random.default_rng(3).random(STEPS) + np.linspace(1, 0, STEPS)
    pairs = []
    for t in (distgrad, torch):
        o = optimizer(t)
        pairs.append((o, t.optim.lr_scheduler.ReduceLROnPlateau(o, **options)))
    (o, ours), (p, theirs) = pairs
    for i, metric in enumerate(metrics):
        for scheduler in (ours, theirs):
            scheduler.step(metric, 7) if i == 30 else scheduler.step(metric)
        same(seen(o), seen(p))
        same(ours.state_dict(), theirs.state_dict())


@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize("epochs", [0, 1, 10, 30])
def test_to_a_rate_for_averaging(anneal: str, epochs: int, torch: Any) -> None:
    pairs = []
    for t in (distgrad, torch):
        o = optimizer(t)
        utils = importlib.import_module(f"{t.__name__}.optim.swa_utils")
        pairs.append((o, utils.SWALR(o, [0.05, 0.3], anneal_epochs=epochs, anneal_strategy=anneal)))
    (o, ours), (p, theirs) = pairs
    np.testing.assert_allclose(run(o, ours), run(p, theirs), rtol=1e-12, atol=1e-18)
    same(ours.state_dict(), theirs.state_dict())


def test_signatures(torch: Any) -> None:
    ours, theirs = distgrad.optim.lr_scheduler, torch.optim.lr_scheduler
    assert set(ours.__all__) == set(theirs.__all__)
    for name in ours.__all__:
        for method in ("__init__", "step", "get_lr", "get_last_lr", "state_dict", "load_state_dict"):
            a = inspect.signature(getattr(getattr(ours, name), method)).parameters
            b = inspect.signature(getattr(getattr(theirs, name), method)).parameters
            assert [(p.name, p.kind, p.default) for p in a.values()] == [
                (p.name, p.kind, p.default) for p in b.values()
            ], f"{name}.{method}"


@pytest.mark.parametrize("name", ["exponential", "step", "lambda", "cosine", "restarts", "cyclic", "one cycle"])
def test_a_group_added_later(name: str, torch: Any) -> None:
    """The same rates, or the same class of error."""
    results: list[Any] = []
    for (o, scheduler), t in zip(both(torch, name), (distgrad, torch), strict=True):
        o.step()
        scheduler.step()
        o.add_param_group({"params": [t.ones(1, requires_grad=True)], "lr": 1.0})
        try:
            o.step()
            scheduler.step()
            results.append(seen(o))
        except Exception as error:  # whichever PyTorch raises
            results.append(type(error))
    if isinstance(results[1], list):
        same(results[0], results[1])
    else:
        assert results[0] is results[1]
