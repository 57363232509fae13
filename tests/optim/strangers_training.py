"""The training that strangers' optimizers make, in one process and on ranks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

import distgrad
from distgrad import nn
from distgrad.distributed.optim import ZeroRedundancyOptimizer
from tests.optim.strangers import ALL

BATCHES, ROWS = 8, 12
_rng = np.random.default_rng(3)
X, Y = _rng.standard_normal((BATCHES, ROWS, 5)), _rng.standard_normal((BATCHES, ROWS, 3))
START = [_rng.standard_normal(shape) * 0.4 for shape in ((7, 5), (7,), (3, 7), (3,))]


def network() -> nn.Module:
    made = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    with distgrad.no_grad():
        for p, values in zip(made.parameters(), START, strict=True):
            p.copy_(distgrad.tensor(values))
    return made


def batch(k: int, rank: int = 0, size: int = 1) -> tuple[Any, Any]:
    return distgrad.tensor(X[k][rank::size]), distgrad.tensor(Y[k][rank::size])


def train(
    name: str, rank: int = 0, size: int = 1, wrap: Callable[..., Any] = lambda m: m, zero: bool = False
) -> dict[str, Any]:
    """Parameters, the whole state, the groups' numbers, and the state that a user sees, after some steps."""
    cls, methods = ALL[name]
    net = network()
    model = wrap(net)
    optimizer: Any = ZeroRedundancyOptimizer(net.parameters(), cls) if zero else cls(net.parameters())
    for k in range(BATCHES):
        optimizer.zero_grad()
        x, y = batch(k, rank, size)
        nn.functional.mse_loss(model(x), y).backward()
        for method in () if zero else methods:
            getattr(optimizer, method)()
        optimizer.step()
    if zero:
        optimizer.consolidate_state_dict(0)
        if rank:
            return {"parameters": [p.tolist() for p in net.parameters()]}
    saved = copy.deepcopy(optimizer.state_dict())
    seen = {} if zero else {i: dict(optimizer.state[p]) for i, p in enumerate(net.parameters())}
    # the ranks let go of their state together, when the group has ended
    return {
        "parameters": [p.tolist() for p in net.parameters()],
        "state": {i: {n: v.tolist() for n, v in entry.items()} for i, entry in saved["state"].items()},
        "numbers": [{k: v for k, v in g.items() if k in cls.common} for g in saved["param_groups"]],
        "seen": {i: {n: v.tolist() for n, v in entry.items()} for i, entry in seen.items()},
        "kept": [net, model, optimizer],
    }


def same(a: Any, b: Any) -> None:
    """Equal to rounding, with the same keys in the same order."""
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list) and any(isinstance(x, (list, dict)) for x in a):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
