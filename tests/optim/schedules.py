"""Every schedule with every option, as it is made and as its formula says, for tests that hold for each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

RATES = (0.1, 0.02)  # of the two groups
STEPS = 65

Formula = Callable[[float, int], float]  # (the group's first rate, step) -> rate


class Halving:
    """A function with state of its own."""

    def __init__(self, every: int) -> None:
        self.every = every

    def __call__(self, t: int) -> float:
        return 0.5 ** (t // self.every)


def cosine(high: float, low: float, share: float) -> float:
    return low + (high - low) * (1 + math.cos(math.pi * share)) / 2


def product(function: Callable[[int], float]) -> Formula:
    return lambda r, t: r * math.prod(function(k) for k in range(1, t + 1))


def linear(start: float, end: float, total: int) -> Formula:
    return lambda r, t: r * (start + (end - start) * min(t, total) / total)


def triangle(low: float, high: float, up: int, down: int, scale: Callable[[int, int], float]) -> Formula:
    def rate(r: float, t: int) -> float:
        cycle, x = divmod(t, up + down)
        part = x / up if x <= up else (up + down - x) / down
        return low + (high - low) * part * scale(cycle, t)

    return rate


def restarts(first: int, times: int, low: float) -> Formula:
    def rate(r: float, t: int) -> float:
        length = first
        while t >= length:
            t, length = t - length, length * times
        return cosine(r, low, t / length)

    return rate


def one_cycle(high: float, points: list[tuple[float, float]], curve: Callable[[float, float, float], float]) -> Formula:
    """Through ``points``: (step, what the highest rate is divided by)."""

    def rate(r: float, t: int) -> float:
        for (a, by), (b, to) in itertools.pairwise(points):
            if t <= b or (b, to) == points[-1]:
                return curve(high / by, high / to, (t - a) / (b - a))
        raise AssertionError

    return rate


def line(a: float, b: float, share: float) -> float:
    return a + (b - a) * share


def after(*parts: tuple[int, Formula]) -> Formula:
    """Formulas with the steps at which they begin, each with its own step 0."""
    return lambda r, t: next(f(r, t - begin) for begin, f in reversed(parts) if t >= begin)


def together(*formulas: Formula) -> Formula:
    return lambda r, t: r * math.prod(f(1.0, t) for f in formulas)


# name: (how it is made of the module of schedules and an optimizer, its formula)
CASES: dict[str, tuple[Callable[[Any, Any], Any], Formula]] = {
    "lambda": (lambda s, o: s.LambdaLR(o, lambda t: 0.95**t), lambda r, t: r * 0.95**t),
    "lambda, an object": (lambda s, o: s.LambdaLR(o, Halving(7)), lambda r, t: r * 0.5 ** (t // 7)),
    "lambda, each": (
        lambda s, o: s.LambdaLR(o, [lambda t: 1 / (1 + t), lambda t: 0.9**t]),
        lambda r, t: r / (1 + t) if r == RATES[0] else r * 0.9**t,
    ),
    "multiplicative": (
        lambda s, o: s.MultiplicativeLR(o, lambda t: 1 - 1 / (t + 3)),
        product(lambda t: 1 - 1 / (t + 3)),
    ),
    "step": (lambda s, o: s.StepLR(o, 7), lambda r, t: r * 0.1 ** (t // 7)),
    "step, gamma": (lambda s, o: s.StepLR(o, step_size=1, gamma=0.9), lambda r, t: r * 0.9**t),
    "multi-step": (
        lambda s, o: s.MultiStepLR(o, [40, 5, 5, 13]),
        lambda r, t: r * 0.1 ** (2 * (t >= 5) + (t >= 13) + (t >= 40)),
    ),
    "multi-step, gamma": (lambda s, o: s.MultiStepLR(o, [3], gamma=2.0), lambda r, t: r * (2 if t >= 3 else 1)),
    "constant": (lambda s, o: s.ConstantLR(o), lambda r, t: r if t >= 5 else r / 3),
    "constant, 20": (lambda s, o: s.ConstantLR(o, factor=0.25, total_iters=20), lambda r, t: r if t >= 20 else r / 4),
    "linear": (lambda s, o: s.LinearLR(o), linear(1 / 3, 1, 5)),
    "linear, down": (lambda s, o: s.LinearLR(o, 1.0, 0.2, total_iters=30), linear(1.0, 0.2, 30)),
    "exponential": (lambda s, o: s.ExponentialLR(o, 0.93), lambda r, t: r * 0.93**t),
    "polynomial": (lambda s, o: s.PolynomialLR(o), lambda r, t: r * (1 - min(t, 5) / 5)),
    "polynomial, power": (
        lambda s, o: s.PolynomialLR(o, total_iters=50, power=2.5),
        lambda r, t: r * (1 - min(t, 50) / 50) ** 2.5,
    ),
    "cosine": (lambda s, o: s.CosineAnnealingLR(o, 20), lambda r, t: cosine(r, 0.0, t / 20)),
    "cosine, eta_min": (
        lambda s, o: s.CosineAnnealingLR(o, T_max=13, eta_min=0.003),
        lambda r, t: cosine(r, 0.003, t / 13),
    ),
    "restarts": (lambda s, o: s.CosineAnnealingWarmRestarts(o, 9), restarts(9, 1, 0.0)),
    "restarts, longer": (
        lambda s, o: s.CosineAnnealingWarmRestarts(o, 4, T_mult=2, eta_min=0.001),
        restarts(4, 2, 0.001),
    ),
    "cyclic": (lambda s, o: s.CyclicLR(o, 0.01, 0.2, 8), triangle(0.01, 0.2, 8, 8, lambda c, t: 1.0)),
    "cyclic, halved": (
        lambda s, o: s.CyclicLR(o, 0.01, 0.2, 5, 11, mode="triangular2"),
        triangle(0.01, 0.2, 5, 11, lambda c, t: 0.5**c),
    ),
    "cyclic, exp": (
        lambda s, o: s.CyclicLR(o, 0.01, 0.2, 6, mode="exp_range", gamma=0.97, base_momentum=0.7, max_momentum=0.95),
        triangle(0.01, 0.2, 6, 6, lambda c, t: 0.97**t),
    ),
    "cyclic, by cycle": (
        lambda s, o: s.CyclicLR(o, 0.01, 0.2, 6, scale_fn=lambda x: 1 / x, cycle_momentum=False),
        triangle(0.01, 0.2, 6, 6, lambda c, t: 1 / (c + 1)),
    ),
    "cyclic, by step": (
        lambda s, o: s.CyclicLR(o, 0.01, 0.2, 6, scale_fn=Halving(3), scale_mode="iterations"),
        triangle(0.01, 0.2, 6, 6, lambda c, t: 0.5 ** (t // 3)),
    ),
    "one cycle": (
        lambda s, o: s.OneCycleLR(o, 0.5, total_steps=70),
        one_cycle(0.5, [(0, 25), (20, 1), (69, 25e4)], lambda a, b, share: cosine(a, b, share)),
    ),
    "one cycle, linear": (
        lambda s, o: s.OneCycleLR(
            o, 0.5, epochs=10, steps_per_epoch=7, pct_start=0.4, anneal_strategy="linear", div_factor=10.0,
            final_div_factor=100.0,
        ),
        one_cycle(0.5, [(0, 10), (27, 1), (69, 1000)], line),
    ),
    "one cycle, three": (
        lambda s, o: s.OneCycleLR(o, 0.5, 70, three_phase=True, base_momentum=0.8, max_momentum=0.9),
        one_cycle(0.5, [(0, 25), (20, 1), (40, 25), (69, 25e4)], lambda a, b, share: cosine(a, b, share)),
    ),
    "one cycle, no momentum": (
        lambda s, o: s.OneCycleLR(o, 0.5, 70, three_phase=True, cycle_momentum=False, anneal_strategy="linear"),
        one_cycle(0.5, [(0, 25), (20, 1), (40, 25), (69, 25e4)], line),
    ),
    "sequential": (
        lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.9)], [20]),
        after((0, lambda r, t: r * 0.1), (20, lambda r, t: r * 0.9**t)),
    ),
    "sequential of three": (
        lambda s, o: s.SequentialLR(
            o,
            [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 20), s.StepLR(o, 10, 0.5)],
            milestones=[5, 25],
        ),
        after((0, linear(0.1, 1, 5)), (5, lambda r, t: cosine(r, 0, t / 20)), (25, lambda r, t: r * 0.5 ** (t // 10))),
    ),
    "chained": (
        lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.5, 4), s.ExponentialLR(o, 0.9), s.StepLR(o, 9, 0.5)]),
        together(lambda r, t: 1.0 if t >= 4 else 0.5, lambda r, t: 0.9**t, lambda r, t: 0.5 ** (t // 9)),
    ),
}  # fmt: skip
# whatever the groups start with
SAME_IN_ALL_GROUPS = {name for name in CASES if name.startswith(("cyclic", "one cycle"))}


def optimizer(t: Any, name: str = "SGD", tensor: bool = False) -> Any:
    """One of library ``t`` with two groups."""
    groups = []
    for rate in RATES:
        lr = t.tensor(rate, dtype=t.float64) if tensor else rate
        groups.append({"params": [t.ones(2, dtype=t.float64, requires_grad=True)], "lr": lr})
    return getattr(t.optim, name)(groups, **({"momentum": 0.9} if name == "SGD" else {}))


def rates(o: Any) -> list[float]:
    return [float(group["lr"]) for group in o.param_groups]


def seen(o: Any) -> list[float]:
    """All that schedules set."""
    return [
        float(v) for group in o.param_groups for v in (group["lr"], group.get("momentum", 0.0), *group.get("betas", ()))
    ]


def run(o: Any, scheduler: Any, steps: int = STEPS) -> list[list[float]]:
    """What the groups hold at first and after each step."""
    found = [seen(o)]
    for _ in range(steps):
        o.step()
        scheduler.step()
        found.append(seen(o))
    return found
