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
    ("SGD", dict(lr=0.1, momentum=0.9, nesterov=True, foreach=True, differentiable=False, fused=False)),
    ("Adam", dict(lr=0.1, foreach=True, capturable=False, differentiable=False, fused=False)),
    ("RMSprop", dict(lr=0.05, momentum=0.9, foreach=True, maximize=True)),
    ("AdamW", dict()),
    ("AdamW", dict(lr=0.1, betas=(0.5, 0.8), eps=1e-3, weight_decay=0.3)),
    ("AdamW", dict(lr=0.1, weight_decay=0.1, amsgrad=True, maximize=True)),
    ("Adamax", dict(lr=0.1)),
    ("Adamax", dict(lr=0.1, betas=(0.5, 0.8), eps=1e-3, weight_decay=0.1, maximize=True)),
    ("NAdam", dict(lr=0.1)),
    ("NAdam", dict(lr=0.1, betas=(0.5, 0.8), eps=1e-3, weight_decay=0.1, momentum_decay=0.1)),
    ("NAdam", dict(lr=0.1, weight_decay=0.1, decoupled_weight_decay=True, maximize=True)),
    ("RAdam", dict(lr=0.1)),
    ("RAdam", dict(lr=0.1, betas=(0.5, 0.8), eps=1e-3, weight_decay=0.1)),
    ("RAdam", dict(lr=0.1, weight_decay=0.1, decoupled_weight_decay=True, maximize=True)),
    ("Adadelta", dict()),
    ("Adadelta", dict(lr=0.5, rho=0.5, eps=1e-3, weight_decay=0.1, maximize=True)),
    ("Adagrad", dict(lr=0.1)),
    ("Adagrad", dict(lr=0.1, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.5, eps=1e-3, maximize=True)),
    ("Rprop", dict()),
    ("Rprop", dict(lr=0.1, etas=(0.4, 1.5), step_sizes=(1e-3, 0.2), maximize=True)),
    ("ASGD", dict(lr=0.1)),
    ("ASGD", dict(lr=0.1, lambd=0.1, alpha=0.5, t0=5, weight_decay=0.1)),
    ("ASGD", dict(lr=0.1, maximize=True)),
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


def changing(t: Any, name: str) -> list[np.ndarray]:
    """Groups with their own options, a learning rate in a tensor, and options that change between steps."""
    rng = np.random.default_rng(6)
    params = [t.tensor(rng.standard_normal(s), dtype=t.float64, requires_grad=True) for s in ((3, 4), (4,), ())]
    cls = getattr(t.optim, name)
    own = {k: v for k, v in cls(params).defaults.items() if k in ("weight_decay", "eps", "betas", "rho", "etas")}
    for k, v in dict(weight_decay=0.2, eps=1e-2, betas=(0.6, 0.7), rho=0.4, etas=(0.3, 1.3)).items():
        if k in own:
            own[k] = v
    optimizer = cls([{"params": params[:1]}, {"params": params[1:], **own}], lr=t.tensor(0.05, dtype=t.float64))
    for k in range(STEPS):
        optimizer.zero_grad()
        sum((p * p).sum() * (k % 3 + 1) + (p * 3).sin().sum() for p in params if p.ndim or k % 4 != 2).backward()
        optimizer.step()
        first, second = optimizer.param_groups
        second["lr"] = 0.03 / (k + 1)
        first["maximize"] = k % 5 == 3
        if k == 7:
            first["lr"].mul_(0.5)
        for option, value in dict(weight_decay=0.1, momentum=0.5, dampening=0.2, rho=0.7, lr_decay=0.1).items():
            if option in first and k == 9 and not (name == "RMSprop" and option == "momentum"):
                first[option] = value
        if "betas" in first and k == 11:
            first["betas"] = (0.7, 0.8)
        if k == 15 and name == "SGD":
            first["momentum"] = 0  # PyTorch keeps the buffer meanwhile
        if k == 18 and name == "SGD":
            first["momentum"] = 0.8
    return [p.detach().numpy() for p in params]


NAMES = sorted({name for name, _ in CASES})


# PyTorch has no Lion; SparseAdam takes other gradients.  Both have tests of their own.
ELSEWHERE = {"Lion", "SparseAdam"}


def test_every_elementwise_optimizer_has_its_cases() -> None:
    found = {n: getattr(optim, n) for n in dir(optim) if isinstance(getattr(optim, n), type)}
    built_in = {n for n, c in found.items() if c.__module__.startswith("distgrad_optimizers") and c.elementwise}
    assert built_in - ELSEWHERE == set(NAMES)


@pytest.mark.parametrize("maximize", [False, True])
def test_lion_is_the_papers_algorithm(maximize: bool) -> None:
    rng = np.random.default_rng(4)
    p, m, sign = rng.standard_normal(40), np.zeros(40), -1 if maximize else 1
    param = distgrad.tensor(p, requires_grad=True)
    optimizer = optim.Lion([param], lr=0.01, betas=(0.8, 0.95), weight_decay=0.1, maximize=maximize)
    for _ in range(STEPS):
        g = rng.standard_normal(40)
        param.grad = distgrad.tensor(g)
        optimizer.step()
        c = 0.8 * m + 0.2 * sign * g
        p = p - 0.01 * (np.sign(c) + 0.1 * p)
        m = 0.95 * m + 0.05 * sign * g
    np.testing.assert_allclose(param.detach().numpy(), p, rtol=1e-12)
    np.testing.assert_allclose(optimizer.state[param]["exp_avg"].numpy(), m, rtol=1e-12)
    assert (optim.Lion([param]).defaults) == dict(lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, maximize=False)


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
def test_changing_options_are_followed_as_pytorch_follows_them(name: str) -> None:
    torch = pytest.importorskip("torch")
    for a, b in zip(changing(distgrad, name), changing(torch, name), strict=True):
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
    19: (3.19810797517, -0.617001023282, 2.65186345849, -1.6404412463, 2.0530166138, -2.0530166138),
    20: (3.2963415711, -1.65284947012, 3.45838479465, -1.56264273774, 0.884459967403, -0.884459967403),
    21: (25.4697805358, -1.34263278716, 8.61507131106, -0.349422888556, 9.62857003329, 9.62857003329),
    22: (3.11262803639, -0.631206525761, 2.55070757403, -0.899274530453, 0.0916716206405, -0.0916716206405),
    23: (2.90365007451, 0.33064914303, 2.31848309675, -2.53038800479, 0.792378570798, -0.792378570798),
    24: (3.36034538387, -1.24099625609, 3.1438579686, 0.389542731812, 0.695275950046, 0.695275950046),
    25: (3.13042104111, -1.18200113015, 3.15313682397, -1.51574199049, 0.795006266251, -0.795006266251),
    26: (1.08894852874, 0.0593549847001, 1.50557649809, 1.03127177472, 0.737761837624, 0.737761837624),
    27: (3.42346343168, -1.34133879902, 3.44345522401, -1.21365978959, 0.741289925753, -0.741289925753),
    28: (1.1743632391, -0.0309860286237, 1.82271411701, -2.24572853656, 0.822481973564, -0.822481973564),
    29: (3.64601315641, -1.1419777764, 3.0189289569, -0.0387290604153, 0.563748298424, 0.563748298424),
    30: (3.12052341604, -0.624185527266, 2.54960775751, -0.989588786627, 0.379874447706, -0.379874447706),
    31: (2.37717229863, -0.487664026863, 2.07621352, -1.03179994448, 0.5100569877, -0.5100569877),
    32: (2.83329436782, -0.535654867852, 2.32237570467, -0.695510885797, 0.204221981979, 0.204221981979),
    33: (3.11829969525, -0.621508216832, 2.54822739005, -0.927388350967, 0.110546536174, -0.110546536174),
    34: (2.42144517291, -0.461792940569, 2.10743414028, -0.371090114338, 0.156316045138, 0.156316045138),
    35: (3.17380236234, -1.20857330243, 3.04990639389, -1.07407481042, 0.527430006971, -0.527430006971),
    36: (2.84031448059, -0.564928187282, 2.33522238246, -0.663860662969, 0.189965483282, 0.189965483282),
    37: (3.14097722885, -0.675311903473, 2.59865590482, -1.20003241661, 0.248687040817, -0.248687040817),
    38: (3.854143422, -1.54493262347, 4.52533372131, 0.986501481632, 1.36630380718, 1.36630380718),
    39: (3.11819687949, -0.62038180492, 2.55875532902, -1.03477137018, 0.551954142763, -0.551954142763),
    40: (2.5602295491, -0.506982132311, 2.1042187187, -0.893053284383, 0.481142407971, -0.481142407971),
    41: (3.12793055109, -0.632440835334, 2.56416108879, -0.748300470414, 0.388583984767, 0.388583984767),
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
        monkeypatch.setattr("distgrad.optim.update.pieces.BLOCK_BYTES", block)
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
