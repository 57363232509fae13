"""Optimizers step for step: PyTorch's numbers, recorded ones, and the published training runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import optim

STEPS = 25
CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", dict(lr=0.1)),
    ("SGD", dict(lr=0.1, momentum=0.9)),
    ("SGD", dict(lr=0.1, momentum=0.9, dampening=0.3)),
    ("SGD", dict(lr=0.1, momentum=0.9, nesterov=True)),
    ("SGD", dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1, maximize=True)),
    ("SGD", dict(lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.1)),
    ("SGD", dict(lr=0.1, weight_decay=0.1)),
    ("SGD", dict(lr=0.1, maximize=True)),
    ("Adam", dict(lr=0.1)),
    ("Adam", dict(lr=0.1, betas=(0.5, 0.8), eps=1e-3)),
    ("Adam", dict(lr=0.1, weight_decay=0.1)),
    ("Adam", dict(lr=0.1, weight_decay=0.1, decoupled_weight_decay=True)),
    ("Adam", dict(lr=0.1, amsgrad=True)),
    ("Adam", dict(lr=0.1, amsgrad=True, weight_decay=0.1, maximize=True)),
    ("RMSprop", dict(lr=0.05)),
    ("RMSprop", dict(lr=0.05, alpha=0.7, eps=1e-3, weight_decay=0.1)),
    ("RMSprop", dict(lr=0.05, centered=True)),
    ("RMSprop", dict(lr=0.05, momentum=0.9)),
    ("RMSprop", dict(lr=0.05, momentum=0.9, centered=True, weight_decay=0.1, maximize=True)),
]
each_case = pytest.mark.parametrize(("name", "options"), CASES, ids=lambda v: v if isinstance(v, str) else ",".join(v))


def train(t: Any, make: Any, steps: int = STEPS, dtype: str = "float64") -> list[np.ndarray]:
    """The parameters after ``steps`` on a loss with cross terms, of which one parameter is now and then left out."""
    rng = np.random.default_rng(5)
    kind = getattr(t, dtype)
    params = [t.tensor(rng.standard_normal(s), dtype=kind, requires_grad=True) for s in ((3, 4), (4,), ())]
    x = [t.tensor(rng.standard_normal((5, 3)), dtype=kind) for _ in range(steps)]
    optimizer = make(params)
    for k in range(steps):
        optimizer.zero_grad()
        out = (x[k] @ params[0] + params[1]).tanh()
        loss = (out * out).mean() * (params[2] if k % 4 != 2 else 1.0)
        (loss + params[1].sin().sum() * 0.1).backward()
        optimizer.step()
    return [p.detach().numpy() for p in params]


@pytest.mark.torch
@each_case
def test_trajectories_equal_pytorchs(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    ours = train(distgrad, lambda p: getattr(optim, name)(p, **options))
    theirs = train(torch, lambda p: getattr(torch.optim, name)(p, **options))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8)


# |p| and Σ p after 10 steps of train(), from PyTorch 2.13 (float64), so that the suite proves them without it.
RECORDED: dict[int, tuple[float, ...]] = {
    0: (3.11850846566, -0.620445018408, 2.55900927827, -1.0348527647, 0.552000212259, -0.552000212259),
    1: (3.15619072024, -0.634865875228, 2.61254218738, -1.51497656341, 1.7479596889, -1.7479596889),
    2: (3.13577342589, -0.632225189001, 2.58629601713, -1.3417934707, 1.35069434007, -1.35069434007),
    3: (3.19810797517, -0.617001023282, 2.65186345849, -1.6404412463, 2.0530166138, -2.0530166138),
    4: (1.99260430329, -0.392849290744, 1.6876136555, 0.334465964936, 1.66296238127, 1.66296238127),
    5: (2.2379546038, -0.444149635336, 1.86424905009, -1.14140714934, 1.2372905464, -1.2372905464),
    6: (2.82106334225, -0.559667956909, 2.3167244957, -0.9617357099, 0.519014699774, -0.519014699774),
    7: (3.12824240772, -0.632504293914, 2.56441846012, -0.748396374852, 0.388617189084, 0.388617189084),
    8: (3.2963415711, -1.65284947012, 3.45838479465, -1.56264273774, 0.884459967403, -0.884459967403),
    9: (3.61587898491, 0.137720674567, 3.50813288381, -1.40688821268, 0.894266740277, -0.894266740277),
    10: (1.00431988118, 0.376626723722, 1.5894534295, -1.90120929675, 0.860430133216, -0.860430133216),
    11: (3.02347336631, -1.50632098049, 3.20704107236, -1.60950140785, 0.850026221908, -0.850026221908),
    12: (3.29630540058, -1.6527556474, 3.45838354749, -1.56263708128, 0.884459951683, -0.884459951683),
    13: (0.985700082993, 0.362741260747, 1.54795862391, 1.08166024803, 0.698268085647, 0.698268085647),
    14: (3.63614091689, 0.601350358161, 5.6834528521, -1.68533452024, 2.38001431877, -2.38001431877),
    15: (1.74841939888, -0.307594108566, 1.90375168315, -1.50122561279, 0.549539109053, -0.549539109053),
    16: (3.76860296274, 0.833642950568, 5.69122864968, -1.59961102376, 2.4228069939, -2.4228069939),
    17: (16.1977951486, -9.36706440685, 9.4901282628, 1.70716415455, 9.83382296251, -9.83382296251),
    18: (5.0694577238, 2.04904878184, 2.95713736722, 5.10731853929, 7.81108552962, 7.81108552962),
}


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: f"{CASES[n][0]} {','.join(CASES[n][1])}")
def test_trajectories_equal_recorded_ones(number: int) -> None:
    name, options = CASES[number]
    found = train(distgrad, lambda p: getattr(optim, name)(p, **options), steps=10)
    summary = [float(v) for p in found for v in (np.linalg.norm(p), p.sum())]
    np.testing.assert_allclose(summary, RECORDED[number], rtol=1e-9)


@each_case
def test_block_size_changes_no_bit(name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def bits(block: int, dtype: str) -> list[bytes]:
        monkeypatch.setattr("distgrad.optim.flat.BLOCK_BYTES", block)
        return [p.tobytes() for p in train(distgrad, lambda p: getattr(optim, name)(p, **options), 8, dtype)]

    for dtype in ("float32", "float64"):
        assert bits(1 << 20, dtype) == bits(8, dtype) == bits(24, dtype) == bits(56, dtype)


# --- the published training runs ---

T_C = [0.5, 14.0, 15.0, 28.0, 11.0, 8.0, 3.0, -4.0, 6.0, 13.0, 21.0]
T_U = [35.7, 55.9, 58.2, 81.9, 56.3, 48.9, 33.9, 21.8, 48.4, 60.4, 68.4]


def thermometer(t_u: Any, params: Any) -> Any:
    w, b = params
    return ((w * t_u + b - distgrad.tensor(T_C)) ** 2).mean()


def test_the_gradient_at_the_start() -> None:
    params = distgrad.tensor([1.0, 0.0], requires_grad=True)
    thermometer(distgrad.tensor(T_U), params).backward()
    assert str(params.grad) == "tensor([4517.2969,   82.6000])"


@pytest.mark.parametrize(
    ("name", "lr", "scale", "losses", "end"),
    [
        ("SGD", 1e-2, 0.1, {500: 7.860115, 1000: 3.828538, 2000: 2.957698, 5000: 2.927647}, "[  5.3671, -17.3012]"),
        ("Adam", 1e-1, 1.0, {500: 7.612898, 1000: 3.086700, 1500: 2.928579, 2000: 2.927644}, "[  0.5367, -17.3021]"),
    ],
)
def test_the_published_runs(name: str, lr: float, scale: float, losses: dict[int, float], end: str) -> None:
    params = distgrad.tensor([1.0, 0.0], requires_grad=True)
    optimizer = getattr(optim, name)([params], lr=lr)
    t_u = distgrad.tensor(T_U) * scale
    found = {}
    for epoch in range(1, max(losses) + 1):
        loss = thermometer(t_u, params)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch in losses:
            found[epoch] = loss.item()
    assert found == pytest.approx(losses, abs=2e-6)
    assert str(params) == f"tensor({end}, requires_grad=True)"
