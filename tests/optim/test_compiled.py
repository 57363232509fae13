"""Compiled updates give NumPy's bits; without numba, or told not to, NumPy does the work."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import distgrad
from distgrad import jit, optim
from distgrad.distributed.communication.reduction import ReduceOp, combine

needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")


@pytest.fixture(autouse=True)
def asked_anew():
    jit.available.cache_clear()
    yield
    jit.available.cache_clear()


def trajectory(name, dtype, **options):
    """Every array of five steps on three parameters, one of which has no gradient in the third step."""
    rng = np.random.default_rng(0)
    params = [distgrad.tensor(rng.standard_normal(n), dtype=dtype, requires_grad=True) for n in (7, 33, 5000)]
    optimizer = getattr(optim, name)(params, lr=0.1, **options)
    seen = []
    for i in range(5):
        for k, p in enumerate(params):
            p.grad = None if (i, k) == (2, 1) else distgrad.tensor(rng.standard_normal(p.shape[0]), dtype=dtype)
        optimizer.step()
        seen += [p.detach().numpy().copy() for p in params]
        seen += [v.numpy().copy() for p in params for v in optimizer.state[p].values()]
    return seen


OPTIONS = [
    ("Adam", {}),
    ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adam", {"amsgrad": True}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1, "maximize": True}),
    ("AdamW", {}),
    ("RMSprop", {}),
    ("RMSprop", {"weight_decay": 0.1, "centered": True}),
    ("RMSprop", {"momentum": 0.9, "maximize": True}),
    ("RMSprop", {"momentum": 0.9, "weight_decay": 0.1, "centered": True}),
    ("SGD", {}),
    ("SGD", {"weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "maximize": True}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
]


def test_every_compiled_optimizer_is_compared():
    compiled_ones = {n for n in dir(optim) if getattr(getattr(optim, n), "one_pass", False)}
    assert compiled_ones == {name for name, _ in OPTIONS}


@needs_numba
@pytest.mark.parametrize("dtype", [distgrad.float32, distgrad.float64], ids=str)
@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_the_compiled_pass_gives_numpys_bits(monkeypatch, name, dtype, options):
    monkeypatch.delenv("DISTGRAD_JIT", raising=False)
    assert jit.usable(np.zeros(1, np.float32))
    fast = trajectory(name, dtype, **options)
    monkeypatch.setenv("DISTGRAD_JIT", "0")
    jit.available.cache_clear()
    assert not jit.usable(np.zeros(1, np.float32))
    slow = trajectory(name, dtype, **options)
    assert len(fast) == len(slow)
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_array_equal(a, b)


@needs_numba
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 5])
def test_a_loop_reads_a_mean_as_if_it_had_been_made(monkeypatch, ranks, dtype):
    monkeypatch.delenv("DISTGRAD_JIT", raising=False)
    rng = np.random.default_rng(ranks)
    parts = [rng.standard_normal(1003).astype(dtype) for _ in range(ranks)]
    parts[0][0], parts[-1][-1] = np.inf, np.nan
    made = np.empty(1003, dtype)
    combine(ReduceOp.AVG, parts, made)
    seen = []
    for g in (made, jit.Mean.of(parts)):
        p, b = (np.random.default_rng(k).standard_normal(1003).astype(dtype) for k in (8, 9))
        options = dict(momentum=0.9, dampening=0.1, weight_decay=0.1, nesterov=False, lr=0.1)
        optim.SGD.update(None, np, p, g, b, step=2, **options)
        seen.append((p.tobytes(), b.tobytes()))
    assert seen[0] == seen[1]


def test_without_numba_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not jit.available()
    assert jit.compiled(lambda p: None, np.zeros(3)) is None


def test_half_precision_and_other_arrays_are_left_to_numpy():
    assert jit.compiled(lambda p: None, np.zeros(3, np.float16)) is None
    assert jit.compiled(lambda p: None, object()) is None


@needs_numba
def test_scratch_is_not_made_where_nothing_needs_it(monkeypatch):
    monkeypatch.delenv("DISTGRAD_JIT", raising=False)
    p = distgrad.zeros(100_000, requires_grad=True)
    optimizer = optim.Adam([p])
    p.grad = distgrad.ones(100_000)
    optimizer.step()
    (segment,) = optimizer._segments[0]
    assert segment.compiled
    assert segment._spare == []
