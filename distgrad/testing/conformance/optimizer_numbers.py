"""Checks of optimizers: that nothing but the mathematics makes the result, and that it finds a minimum."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import distgrad
from distgrad import Tensor, storage
from distgrad.distributed.shared_memory import region

from ..fake_device.accelerator import StrictAccelerator, device_double
from .knobs import block_bytes, uncompiled
from .optimizer_ranks import _batches, _compare_ranks, _shapes, _trained
from .optimizer_trial import Run, Trial, only_row_of, pieces_of
from .report import CheckFailed, NotApplicable, check, demand, same_bits

NARROW = (distgrad.float16, distgrad.bfloat16)


@check("optimizer")
def dtypes(trial: Trial) -> None:
    """float32 and float64 parameters keep their dtype, and agree to float32's precision."""
    wide = Run(trial).steps(3)
    for dtype in (distgrad.float32, distgrad.float64):
        run = Run(trial, dtype=dtype).steps(3)
        for p in run.params:
            demand(p.dtype == dtype, f"a {dtype} parameter became {p.dtype}")
        worst = float(np.abs(run.row() - wide.row()).max())
        demand(worst < 1e-3, f"in {dtype} the parameters end up to {worst:.1g} from those in float64")


@check("optimizer")
def narrow_dtypes(trial: Trial) -> None:
    """In float16 and bfloat16 something moves, all is finite, and the dtype is kept."""
    for dtype in NARROW:
        run = Run(trial, dtype=dtype, options=trial.options_for(lr=0.05))
        before = run.values()
        run.steps(3)
        demand(all(p.dtype == dtype for p in run.params), f"a {dtype} parameter became another dtype")
        after = run.numbers().astype(np.float32)
        demand(np.isfinite(after).all(), f"in {dtype} a parameter or its state is not finite after three steps")
        kept = any(run.state(i) for i in range(len(run.params))) and after[len(run.row()) :].any()
        demand(kept or not same_bits(before, run.values()), f"in {dtype} nothing moves, and no state is kept")


@check("optimizer")
def precision(trial: Trial) -> None:
    """float64 is computed in float64: changes of 1e-8 in what goes in come out in proportion."""
    # One rounding to float32 anywhere makes steps of 6e-8 of the straight line that f is over such a short way.
    distances = [(1, trial.variants[0]), (3, trial.variants[0]), *((11, options) for options in trial.variants)]
    for of_lr, options in distances:  # lr is a single number, so it is tried at several
        a, b, c = (
            Run(trial, options=options, nudge=d, lr_nudge=of_lr * d).steps(3).numbers() for d in (0.0, 1e-8, 2e-8)
        )
        off = np.abs((c - a) - 2 * (b - a)) / np.maximum(np.abs(a), 1)
        demand(
            off.max() < 1e-11,
            f"a float64 parameter or its state is rounded by up to {off.max():.1g} on the way, so something is "
            "computed in float32: make new arrays of p.dtype (xp.zeros_like(p)), and leave numbers as they are",
        )


@check("optimizer")
def reproducible(trial: Trial) -> None:
    """A second optimizer on the same numbers does the same, bit for bit."""
    first = Run(trial).steps(4).values()
    demand(
        same_bits(first, Run(trial).steps(4).values()),
        "two runs from the same numbers end apart: it keeps something in its class or module, or draws random numbers",
    )


@check("optimizer")
def zero_gradient(trial: Trial) -> None:
    """A gradient of zeros gives no nan."""
    run = Run(trial)

    def evaluate() -> Tensor:
        run.optimizer.zero_grad()
        loss = run.loss() * 0
        loss.backward()
        return loss

    for _ in range(2):
        evaluate()
        run.optimizer.step(evaluate)
    demand(np.isfinite(run.row()).all(), "after a gradient of zeros a parameter is not finite")


@check("optimizer")
def empty_parameter(trial: Trial) -> None:
    """A parameter without elements does no harm."""
    if trial.way != "tensors":
        raise NotApplicable(f"it takes {trial.way} only")
    shapes = ((3,), (0,), (4, 0), (2,))
    with_empty = Run(trial, pieces=pieces_of(shapes)).steps(3)
    if trial.elementwise:
        without = Run(trial, pieces=[(0, (3,)), (3, (2,))]).steps(3)
        demand(trial.alike([with_empty.row()], [without.row()]), "an empty parameter changes what others become")
    demand(np.isfinite(with_empty.row()).all(), "beside an empty parameter others are not finite")


@check("optimizer")
def block_size(trial: Trial) -> None:
    """The result is the same, bit for bit, in blocks of any size, compiled or not."""
    trial.only_elementwise()
    wanted = [(distgrad.float64, {}), *((distgrad.float32, options) for options in trial.variants)]
    for dtype, options in wanted:
        whole = Run(trial, dtype=dtype, options=options).steps(4).values()
        for size in (8, 24, 152, 1000):
            with block_bytes(size), uncompiled():
                cut = Run(trial, dtype=dtype, options=options).steps(4).values()
            demand(
                trial.alike(whole, cut),
                f"in blocks of {size} bytes {dtype} parameters end elsewhere than in one: update() must treat each "
                "element by itself (no sum, norm, maximum or index over p and g), or declare elementwise = False"
                + _with(options),
            )


@check("optimizer")
def tensor_layout(trial: Trial) -> None:
    """The result is the same, bit for bit, however the numbers are cut into parameters."""
    trial.only_elementwise()
    n = 60
    whole = Run(trial, pieces=[(0, (n,))]).steps(4).row()
    cuts: dict[str, list[Any]] = {
        "three tensors": [(0, (7,)), (7, ()), (8, (52,))],
        "a matrix": [(0, (3, 20))],
        "a tensor of four dimensions and a row": [(0, (2, 3, 1, 5)), (30, (30,))],
        "sixty numbers": [(i, ()) for i in range(n)],
    }
    for what, pieces in cuts.items():
        row = Run(trial, pieces=pieces).steps(4).row()
        demand(trial.alike([whole], [row]), f"as {what} the same {n} numbers end elsewhere than as one tensor")
    groups: list[Any] = [(range(1), {}), (range(1, 3), {})]
    row = Run(trial, pieces=cuts["three tensors"], groups=groups).steps(4).row()
    demand(trial.alike([whole], [row]), "in two parameter groups of the same options the same numbers end elsewhere")


@check("optimizer")
def strided(trial: Trial) -> None:
    """A parameter that is given transposed memory is updated where it lies."""
    if trial.sparse:
        raise NotApplicable("it takes sparse gradients only")
    pieces = [(0, (3, 4))]
    straight, run = Run(trial, pieces=pieces).steps(2), Run(trial, pieces=pieces).steps(2)
    laid = distgrad.tensor(np.ascontiguousarray(run.values()[0].T)).t()
    run.params[0].data = laid
    straight.steps(2), run.steps(2)
    demand(run.params[0].data_ptr() == laid.data_ptr(), "a parameter whose .data was replaced was moved elsewhere")
    demand(
        np.allclose(straight.values()[0], run.values()[0], rtol=1e-13),
        "a parameter in transposed memory ends elsewhere than one in a row",
    )


@check("optimizer")
def sharding(trial: Trial) -> None:
    """Shares of the update, each made by a process of its own, make up the whole, bit for bit."""
    trial.only_elementwise()
    if trial.couples:
        raise NotApplicable("it makes sums over all parameters, of which a process alone has a part")
    for options in trial.variants:
        whole = Run(trial, options=options)
        (flat,) = storage.flatten(whole.params)
        whole.steps(4)
        end = len(flat.data)
        for bounds in ([0, end // 2, end], [0, 1, 14, 37, end]):
            shares = [_share(trial, options, lo, hi) for lo, hi in itertools.pairwise(bounds)]
            demand(
                same_bits([flat.data], [np.concatenate(shares)]),
                f"updated in shares that end at {bounds[1:]}, the same {end} numbers end elsewhere" + _with(options),
            )


def _share(trial: Trial, options: Mapping[str, Any], lo: int, hi: int) -> np.ndarray:
    """Elements ``lo`` to ``hi - 1`` of flat storage, by a process that updates no others."""
    run = Run(trial, options=options)
    (flat,) = storage.flatten(run.params)
    flat.owned = (lo, hi)
    run.steps(4)
    part: np.ndarray = flat.data[lo:hi]
    return part


@check("optimizer")
def devices(trial: Trial) -> None:
    """It does on a device what it does on the host, copying nothing between them."""
    for options in trial.variants:
        host = Run(trial, options=options).steps(4)
        with device_double() as accelerator:
            for place in ("cuda:0", "cuda:1"):  # the current device, and another
                run = Run(trial, device=place, options=options)
                for _ in range(4):
                    _step_there(run, accelerator, trial.elementwise and not trial.couples)
                demand({str(p.device) for p in run.params} == {place}, "a parameter left its device")
                worst = np.abs(run.row() - host.row()).max()
                demand(
                    worst < 1e-12,
                    f"on a device it ends up to {worst:.1g} from where it ends on the host" + _with(options),
                )


def _step_there(run: Run, accelerator: StrictAccelerator, copies_nothing: bool) -> None:
    if not run.trial.needs_closure:
        run.backward()
    before = accelerator.transfers, accelerator.uploads
    run.optimizer.step(*([run.backward] if run.trial.needs_closure else []))
    down, up = accelerator.transfers - before[0], accelerator.uploads - before[1]
    run.taken += 1
    if copies_nothing:
        demand(not down, f"a step fetches something from the device {down} times, which waits for it")
        demand(not up, f"a step copies host arrays to the device {up} times; take numbers, or xp's arrays")


def _with(options: Mapping[str, Any]) -> str:
    """The end of a message about a variant."""
    return f" (with {', '.join(f'{k}={v!r}' for k, v in options.items())})" if options else ""


@check("optimizer")
def methods(trial: Trial) -> None:
    """Methods of its own beside step() do on 2 and 3 ranks, sharing memory or not, what they do on one."""
    names = trial.methods  # those that can be called without arguments
    if not names:
        return
    shapes = _shapes(trial)
    x = _batches(shapes)
    try:
        _trained(trial, shapes, x, 0, 1, lambda module: module, names)
    except Exception as error:
        raise NotApplicable(f"{', '.join(names)} cannot be called between backward() and step(): {error}") from error
    for share in (False, True) if region.why_not() is None else (False,):
        try:
            _compare_ranks(trial, share, names)
        except CheckFailed as failure:
            raise CheckFailed(f"with {', '.join(names)} called before each step, {failure}") from failure


@check("optimizer")
def bowl(trial: Trial) -> None:
    """It descends a bowl, with some learning rate."""
    stretch = np.linspace(1, 5, 8)

    def value_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        return float((stretch * x * x).sum() / 2), stretch * x

    start = np.linspace(-1, 1, 8) + 0.3
    _converges(trial, trial.bowl, value_and_gradient, start, to=1e-3, steps=500)


@check("optimizer")
def rosenbrock(trial: Trial) -> None:
    """It finds its way along Rosenbrock's valley, with some learning rate."""

    def value_and_gradient(xy: np.ndarray) -> tuple[float, np.ndarray]:
        x, y = (float(v) for v in xy)
        off = y - x * x
        return 0.01 * (1 - x) ** 2 + off * off, np.array([-0.02 * (1 - x) - 4 * x * off, 2 * off])

    # A hundredth of Rosenbrock's, so that slopes are of the order of 1.  From (-1.2, 1), where it is 0.242, over 0.04
    # where the valley begins, round the bend at (0, 0), where it is 0.01.
    _converges(trial, trial.rosenbrock, value_and_gradient, np.array([-1.2, 1.0]), to=0.5 / 24.2, steps=3000)


def _converges(
    trial: Trial, settings: Mapping[str, Any], f: Callable[..., Any], start: np.ndarray, to: float, steps: int
) -> None:
    """The function falls to ``to`` of its start in ``steps`` steps, the learning rate falling to 0."""
    options = {k: v for k, v in settings.items() if k != "steps"}
    steps = settings.get("steps", steps)
    usual = trial.options.get("lr", trial.defaults.get("lr"))
    rates: list[float | None] = [None]
    if "lr" not in options and usual is not None:
        rates = list(dict.fromkeys([float(usual), 0.1, 0.01, 1.0, 0.03, 10.0, 0.001, 3e-4]))
    best = math.inf
    for lr in rates:
        given = trial.options | options | ({} if lr is None else {"lr": lr})
        with contextlib.suppress(OverflowError):  # this rate throws it out
            best = min(best, _descent(trial, given, f, start, steps, to))
        if best <= to:
            return
    tried = "" if rates == [None] else f" with lr {', '.join(f'{r:g}' for r in rates if r is not None)}"
    demand(
        False,
        f"in {steps} steps{tried} it came down to {best:.2g} of the start, not to {to:.2g}; give better options by "
        f"conformance = dict({'rosenbrock' if len(start) == 2 else 'bowl'}=dict(lr=…, steps=…))",
    )


def _descent(
    trial: Trial, options: Mapping[str, Any], f: Callable[..., Any], start: np.ndarray, steps: int, to: float
) -> float:
    """How far down it came, in parts of the start."""
    shape = (1, len(start)) if trial.way != "tensors" else start.shape
    p: Any = distgrad.tensor(start.reshape(shape), requires_grad=True)
    optimizer: Any = trial.cls([p], **options)
    first = lowest = f(start)[0]
    group, lr = optimizer.param_groups[0], options.get("lr")

    def evaluate() -> Tensor:
        value, slope = f(p._data.reshape(-1))
        gradient = distgrad.tensor(slope.reshape(shape))
        if trial.sparse:
            optimizer.zero_grad()
            (only_row_of(p) * gradient).sum().backward()
        else:
            p.grad = gradient
        return distgrad.tensor(value)

    for i in range(steps):
        if lr is not None:
            group["lr"] = lr * (1 - i / steps)
        if trial.needs_closure:
            optimizer.step(evaluate)
        else:
            evaluate()
            optimizer.step()
        value = f(p._data.reshape(-1))[0]
        if not math.isfinite(value) or value > 1e6 * first:
            break
        lowest = min(lowest, value)
        if lowest <= to * first:
            break
    return lowest / first
