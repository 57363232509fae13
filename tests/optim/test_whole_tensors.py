"""Optimizers that need whole tensors: L-BFGS, Adafactor, Muon, LARS and LAMB."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import optim

MATRICES, SHAPES = ((3, 4), (6, 2), (5, 5)), ((3, 4), (6,), (2, 3, 5), ())
CASES: list[tuple[str, dict[str, Any]]] = [
    ("Adafactor", dict()),
    ("Adafactor", dict(lr=0.5, beta2_decay=-0.5, d=2.0, eps=(1e-3, 0.1))),
    ("Adafactor", dict(lr=0.1, weight_decay=0.1, maximize=True)),
    ("Muon", dict()),
    ("Muon", dict(lr=0.1, nesterov=False)),
    ("Muon", dict(lr=0.1, adjust_lr_fn="match_rms_adamw", momentum=0.5)),
    ("Muon", dict(lr=0.1, adjust_lr_fn="original", ns_steps=3, weight_decay=0.0, ns_coefficients=(2, -1.5, 0.5))),
    ("LBFGS", dict()),
    ("LBFGS", dict(lr=0.5, history_size=3, max_iter=4, tolerance_grad=1e-3)),
    ("LBFGS", dict(line_search_fn="strong_wolfe")),
    ("LBFGS", dict(lr=0.5, line_search_fn="strong_wolfe", history_size=2, max_iter=5, max_eval=7)),
    ("LBFGS", dict(lr=3, line_search_fn="strong_wolfe", max_iter=8, tolerance_change=1e-5)),
]
each_case = pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: f"{CASES[n][0]} {','.join(CASES[n][1])}")
WHOLE = ("Adafactor", "LAMB", "LARS", "LBFGS", "Muon")


def train(t: Any, number: int, steps: int = 25) -> tuple[list[Any], Any]:
    name, options = CASES[number]
    rng = np.random.default_rng(5)
    shapes = MATRICES if name == "Muon" else SHAPES
    params = [t.tensor(rng.standard_normal(s), dtype=t.float64, requires_grad=True) for s in shapes]
    optimizer = getattr(t.optim, name)(params, **options)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = sum((p.sin() * (1 + j)).sum() * 0.1 + (p * p).sum() * (0.3 + j) for j, p in enumerate(params))
        loss.backward()
        return loss

    for k in range(steps):
        closure()
        if name != "LBFGS" and k % 4 == 2:
            params[1].grad = None
        optimizer.step(closure) if name == "LBFGS" else optimizer.step()
    return params, optimizer


@pytest.mark.torch
@each_case
def test_trajectories_equal_pytorchs(number: int) -> None:
    torch = pytest.importorskip("torch")
    (ours, mine), (theirs, its) = train(distgrad, number), train(torch, number)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-8, atol=1e-12)
    for a, b in zip(ours, theirs, strict=True):
        assert set(its.state[b]) - {"al"} == set(mine.state[a])  # al is scratch
        for name, value in mine.state[a].items():
            if hasattr(value, "shape"):
                assert tuple(value.shape) == tuple(its.state[b][name].shape)


@pytest.mark.torch
@each_case
def test_pytorchs_state_is_taken_over(number: int) -> None:
    torch = pytest.importorskip("torch")
    params, optimizer = train(torch, number, 3)
    saved = optimizer.state_dict()
    ours, mine = train(distgrad, number, 1)
    mine.load_state_dict(saved)
    for p, q in zip(ours, params, strict=True):
        with distgrad.no_grad():
            p.copy_(distgrad.tensor(q.detach().numpy().copy()))
        p.grad, q.grad = distgrad.tensor(np.cos(q.detach().numpy())), q.detach().cos()

    def on(ps: list[Any], o: Any) -> None:
        def closure() -> Any:
            o.zero_grad()
            loss = sum((p**4).sum() + (p * p).sum() for p in ps)
            loss.backward()
            return loss

        o.step(closure if CASES[number][0] == "LBFGS" else None)

    on(ours, mine), on(params, optimizer)
    for p, q in zip(ours, params, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-8, atol=1e-12)


# |p| of each parameter after 10 steps, from PyTorch 2.13 (float64)
RECORDED: dict[int, tuple[float, ...]] = {
    0: (2.84477978196, 2.63124527679, 4.58745494552, 0.211617311732),
    1: (0.607628297971, 0.380337119304, 0.862978136322, 0.0605020611092),
    2: (7.06883886717, 5.13042163622, 10.9741281267, 0.552596003595),
    3: (3.09771835989, 3.09338964318, 4.78378689967),
    4: (1.92058006262, 1.68254550689, 2.66774569466),
    5: (2.41571417768, 2.49517209989, 3.56601843107),
    6: (1.8974781037, 1.51055195724, 3.11922559586),
    7: (0.56956681626, 0.187868644232, 0.356454365589, 0.0604953839493),
    8: (0.568903866627, 0.187801714273, 0.356448841463, 0.060550131869),
    9: (0.569563931471, 0.187872846422, 0.356454119517, 0.0604941735608),
    10: (0.569584150168, 0.187867726984, 0.356455267839, 0.0605010100197),
    11: (0.570963031341, 0.18826922488, 0.356454742814, 0.0604867474381),
}


@each_case
def test_trajectories_equal_recorded_ones(number: int) -> None:
    params, _ = train(distgrad, number, 10)
    lengths = [float(np.linalg.norm(p.detach().numpy())) for p in params]
    np.testing.assert_allclose(lengths, RECORDED[number], rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_finds_rosenbrocks_minimum(search: str | None) -> None:
    p = distgrad.tensor([-1.2, 1.0], dtype=distgrad.float64, requires_grad=True)
    optimizer = optim.LBFGS(
        [p], lr=1 if search else 0.1, max_iter=100, max_eval=500, tolerance_change=1e-15, line_search_fn=search
    )
    for _ in range(20):

        def closure() -> Any:
            optimizer.zero_grad()
            loss = (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
            loss.backward()
            return loss

        optimizer.step(closure)
        if float(closure()) < 1e-14:  # there: what it does from then on only takes time
            break
    np.testing.assert_allclose(p.detach().numpy(), [1, 1], atol=1e-6)


def test_lbfgs_is_exact_on_a_parabola_after_as_many_steps_as_dimensions() -> None:
    curvature = distgrad.tensor([1.0, 10.0, 100.0], dtype=distgrad.float64)
    p = distgrad.tensor([1.0, 1.0, 1.0], dtype=distgrad.float64, requires_grad=True)
    optimizer = optim.LBFGS([p], line_search_fn="strong_wolfe", max_iter=40, max_eval=100)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (curvature * p * p).sum()
        loss.backward()
        return loss

    first = optimizer.step(closure)
    assert float(first) == 111
    np.testing.assert_allclose(p.detach().numpy(), 0, atol=1e-6)


def given(optimizer: Any, p: Any, gradients: list[np.ndarray]) -> np.ndarray:
    for g in gradients:
        p.grad = distgrad.tensor(g.copy())
        optimizer.step()
    return p.detach().numpy()


def walk(seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((4, 3)), [rng.standard_normal((4, 3)) for _ in range(10)]


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("clamp", [math.inf, 0.5])
def test_lamb_follows_the_paper(corrected: bool, clamp: float) -> None:
    start, gradients = walk()
    p = distgrad.tensor(start.copy(), requires_grad=True)
    options = dict(lr=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1, clamp_value=clamp, bias_correction=corrected)
    found = given(optim.LAMB([p], **options), p, gradients)
    x, m, v = start, 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g
        c1, c2 = (1 - 0.8**t, 1 - 0.9**t) if corrected else (1, 1)
        u = (m / c1) / (np.sqrt(v / c2) + 1e-3) + 0.1 * x
        x = x - 0.1 * min(np.linalg.norm(x), clamp) / np.linalg.norm(u) * u
    np.testing.assert_allclose(found, x, rtol=1e-10)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("trust", [0.0, 0.02])
def test_lars_follows_the_paper(nesterov: bool, trust: float) -> None:
    start, gradients = walk()
    p = distgrad.tensor(start.copy(), requires_grad=True)
    options = dict(lr=0.3, momentum=0.8, weight_decay=0.1, trust_coefficient=trust, eps=1e-4, nesterov=nesterov)
    found = given(optim.LARS([p], **options), p, gradients)
    x, b = start, np.zeros((4, 3))
    for g in gradients:
        length = np.linalg.norm(x)
        ratio = trust * length / (np.linalg.norm(g) + 0.1 * length + 1e-4) if trust else 1
        step = 0.3 * ratio * (g + 0.1 * x)
        b = 0.8 * b + step
        x = x - (step + 0.8 * b if nesterov else b)
    np.testing.assert_allclose(found, x, rtol=1e-10)


@pytest.mark.parametrize("name", ["LAMB", "LARS"])
def test_a_tensor_of_zeros_can_leave_zero(name: str) -> None:
    p = distgrad.zeros(3, requires_grad=True)
    optimizer = getattr(optim, name)([p], lr=0.1)
    p.grad = distgrad.ones(3)
    optimizer.step()
    assert (p.detach().numpy() < 0).all()
    p.grad = distgrad.zeros(3)
    optimizer.step()
    assert np.isfinite(p.detach().numpy()).all()


def test_muons_direction_is_near_orthogonal_whatever_the_gradients_size() -> None:
    rng = np.random.default_rng(0)
    for shape in ((8, 3), (3, 8)):
        p = distgrad.zeros(shape, requires_grad=True)
        p.grad = distgrad.tensor(1e3 * rng.standard_normal(shape), dtype=distgrad.float32)
        optim.Muon([p], lr=1.0, weight_decay=0, ns_steps=10).step()
        values = np.linalg.svd(p.detach().numpy() / math.sqrt(max(1, shape[0] / shape[1])), compute_uv=False)
        assert values.min() > 0.5
        assert values.max() < 1.5


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("Adafactor", dict(lr=-1), ValueError, "learning rate"),
        ("Adafactor", dict(beta2_decay=0.1), ValueError, "beta2_decay"),
        ("Adafactor", dict(eps=(-1, 1e-3)), ValueError, "epsilon"),
        ("Adafactor", dict(eps=(None, -1e-3)), ValueError, "epsilon"),
        ("Adafactor", dict(d=0.5), ValueError, "threshold d"),
        ("Adafactor", dict(weight_decay=-1), ValueError, "weight_decay"),
        ("Muon", dict(lr=-1), ValueError, "learning rate"),
        ("Muon", dict(momentum=-1), ValueError, "momentum"),
        ("Muon", dict(weight_decay=-1), ValueError, "weight_decay"),
        ("Muon", dict(adjust_lr_fn="x"), ValueError, "match_rms_adamw"),
        ("Muon", dict(ns_steps=100), ValueError, "ns_steps"),
        ("Muon", dict(ns_coefficients=(1, 2)), ValueError, "3 values"),
        ("LBFGS", dict(lr=-1), ValueError, "learning rate"),
        ("LBFGS", dict(line_search_fn="armijo"), RuntimeError, "strong_wolfe"),
        ("LARS", dict(lr=-1), ValueError, "learning rate"),
        ("LARS", dict(trust_coefficient=-1), ValueError, "trust_coefficient"),
        ("LARS", dict(momentum=0, nesterov=True), ValueError, "momentum"),
        ("LAMB", dict(betas=(1.0, 0.5)), ValueError, "beta"),
        ("LAMB", dict(clamp_value=0), ValueError, "clamp_value"),
        ("LAMB", dict(eps=-1), ValueError, "epsilon"),
    ],
)
def test_bad_hyperparameters(name: str, options: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        getattr(optim, name)([distgrad.zeros(2, 2, requires_grad=True)], **options)


def test_what_cannot_be_optimised_is_refused() -> None:
    p, q = distgrad.zeros(2, requires_grad=True), distgrad.zeros(2, 2, requires_grad=True)
    with pytest.raises(ValueError, match="only supports 2D"):
        optim.Muon([p])
    with pytest.raises(ValueError, match="parameter groups"):
        optim.LBFGS([{"params": [p]}, {"params": [q]}])
    with pytest.raises(TypeError, match="closure"):
        optim.LBFGS([p]).step(None)


@pytest.mark.parametrize("name", WHOLE)
def test_on_a_device_as_on_the_host(name: str, device_double: Any) -> None:
    def run(device: str) -> np.ndarray:
        p = distgrad.tensor(walk()[0], device=device, requires_grad=True)
        optimizer = getattr(optim, name)([p], lr=0.1)

        def closure() -> Any:
            optimizer.zero_grad()
            loss = (p.sin() * p).sum()
            loss.backward()
            return loss

        for _ in range(3):
            optimizer.step(closure)
        return p.detach().cpu().numpy()

    np.testing.assert_allclose(run("cuda:1"), run("cpu"), rtol=1e-6)


@pytest.mark.parametrize("name", WHOLE)
def test_state_is_saved_whole(name: str, tmp_path: Any) -> None:
    """Stopping in the middle, saving, and going on in a new optimizer gives the same bits."""

    def make() -> tuple[Any, Any]:
        p = distgrad.tensor(walk()[0], requires_grad=True)
        return p, getattr(optim, name)([p], lr=0.1)

    def steps(p: Any, optimizer: Any, n: int) -> None:
        def closure() -> Any:
            optimizer.zero_grad()
            loss = (p.sin() * p).sum()
            loss.backward()
            return loss

        for _ in range(n):
            optimizer.step(closure)

    p, optimizer = make()
    steps(p, optimizer, 2)
    distgrad.save({"p": p.detach(), "optimizer": optimizer.state_dict()}, tmp_path / "state")
    steps(p, optimizer, 3)
    saved = distgrad.load(tmp_path / "state")
    q, again = make()
    with distgrad.no_grad():
        q.copy_(saved["p"])
    again.load_state_dict(saved["optimizer"])
    steps(q, again, 3)
    assert p.detach().numpy().tobytes() == q.detach().numpy().tobytes()
