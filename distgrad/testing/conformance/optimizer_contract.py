"""Checks of optimizers: what PyTorch's contract promises."""

from __future__ import annotations

import copy
import functools
import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import distgrad
from distgrad import Tensor

from .optimizer_trial import Run, Trial, host_copy, same_state
from .report import NotApplicable, check, demand, must_raise, same_bits

EFFECTIVE = ("lr", "momentum", "weight_decay")  # a different value of these makes a different step


@check("optimizer")
def constructs(trial: Trial) -> None:
    """It is made from parameters alone, and prints its options."""
    run = Run(trial)
    (group,) = run.optimizer.param_groups
    text = repr(run.optimizer)
    demand(text.startswith(trial.cls.__name__), f"repr() begins with {text[:20]!r}, not with the name of the class")
    for name in run.optimizer.defaults:
        demand(name in group, f"the parameter group lacks the option {name!r}; options go to super().__init__")
        demand(f"{name}: " in text, f"repr() does not show the option {name!r}")


@check("optimizer")
def bad_input(trial: Trial) -> None:
    """Hyperparameters out of bounds are a ValueError, unknown ones a TypeError."""
    bounds: dict[str, Any] = {"lr": ("", 0.0, math.inf, True), **trial.cls.bounds}  # type: ignore[attr-defined]
    for name in [n for n in trial.defaults if n in bounds]:
        for wrong in _out_of_bounds(trial.defaults[name], *bounds[name][1:]):
            must_raise(ValueError, functools.partial(Run, trial, options={name: wrong}), f"{name}={wrong}")
    must_raise(TypeError, lambda: Run(trial, options={"no_such_option": 1}), "an unknown option")
    must_raise(ValueError, lambda: trial.cls([], **trial.options), "an empty list of parameters")
    plain: Any = distgrad.tensor([1.0], requires_grad=True)
    must_raise(TypeError, lambda: trial.cls(plain, **trial.options), "a tensor in place of a list of tensors")


def _out_of_bounds(usual: Any, low: float, high: float, closed: bool) -> Iterator[Any]:
    """Values of a hyperparameter, a number or several, below the lowest and above the highest."""
    for value in (low - 1, high + 1 if closed else high):
        if not math.isfinite(value):
            continue
        if isinstance(usual, (int, float)) and not isinstance(usual, bool):
            yield value
        elif isinstance(usual, tuple) and usual and all(isinstance(u, float) for u in usual):
            yield (value, *usual[1:])


@check("optimizer")
def param_groups(trial: Trial) -> None:
    """Each parameter group's own options are used, for every hyperparameter."""
    trial.not_coupled()
    whole = list(range(len(trial.rows())))
    mine, others = whole[: len(whole) // 2], whole[len(whole) // 2 :]
    try:
        Run(trial, groups=[(mine, {}), (others, {})])
    except ValueError as error:
        raise NotApplicable(f"it takes one group only: {error}") from error
    for name, value in other_values(trial):
        run = Run(trial, groups=[(mine, {name: value}), (others, {})]).steps(3)
        for members, options in ((mine, {name: value}), (others, {})):
            alone = Run(trial, pieces=[run.pieces[i] for i in members], options=options).steps(3)
            got = [run.values()[i] for i in members]
            demand(
                same_bits(got, alone.values()),
                f"with {name}={value!r} in one group's options, a group does not move as it does alone: "
                f"read {name} from the group (as a keyword of update(), or group[{name!r}]), not from self.defaults",
            )


@check("optimizer")
def options_change(trial: Trial) -> None:
    """An option changed in a parameter group, as schedulers do, is used from the next step on."""
    usual = Run(trial).steps(3).values()
    for name, value in other_values(trial):
        made = Run(trial, options={name: value}).steps(3)
        if name in EFFECTIVE:
            demand(not same_bits(usual, made.values()), f"{name}={value!r} makes no difference: {name} is not used")
        if not trial.reads(name):  # it may be of use at the start only
            continue
        run = Run(trial)
        run.optimizer.param_groups[0][name] = value
        demand(
            same_bits(run.steps(3).values(), made.values()),
            f"param_groups[0][{name!r}] = {value!r} before the first step is not what {name}={value!r} at the start is",
        )


def other_values(trial: Trial) -> Iterator[tuple[str, Any]]:
    """For each hyperparameter that has one, a value that differs from the usual and that is accepted."""
    for name, usual in trial.defaults.items():
        if name == "maximize":
            continue
        usual = trial.options.get(name, usual)
        tried: list[Any] = []
        if isinstance(usual, bool):
            tried = [not usual]
        elif isinstance(usual, (int, float)):
            tried = [usual + 1 if isinstance(usual, int) and usual else usual * 0.5 if usual else 0.1]
        elif isinstance(usual, tuple) and usual and all(isinstance(u, float) for u in usual):
            tried = [tuple(u * 0.9 for u in usual)]
        yield from ((name, value) for value in tried if trial.accepts({name: value}))


@check("optimizer")
def no_gradient(trial: Trial) -> None:
    """A parameter whose gradient is None keeps its value and state, whatever the decay and the momentum."""
    options = trial.options_for(weight_decay=0.1, momentum=0.9)
    run = Run(trial, options=options)
    last = len(run.params) - 1
    rest = range(last)
    before = run.values()[last]
    run.step(rest)
    demand(same_bits([before], [run.values()[last]]), "a parameter without a gradient moved at the first step")
    run.steps(2)
    before, state = run.values()[last], run.state(last)
    run.step(rest)
    run.step(rest)
    demand(
        same_bits([before], [run.values()[last]]),
        "a parameter that had gradients moved at a step at which its gradient was None",
    )
    for name, value in run.state(last).items():
        demand(
            same_state(state.get(name), value),
            f"the state {name!r} of a parameter changed at a step at which its gradient was None",
        )


@check("optimizer")
def late_start(trial: Trial) -> None:
    """A parameter that gets its first gradient later is updated as one that starts then."""
    if trial.own_step and trial.needs_closure:
        raise NotApplicable("it evaluates a closure, so its step may be of all parameters together")
    trial.not_coupled()
    late = Run(trial)
    last = len(late.params) - 1
    for _ in range(3):
        late.step(range(last))
    alone = Run(trial, pieces=[late.pieces[last]])
    alone.taken = late.taken
    late.steps(3), alone.steps(3)
    demand(
        same_bits([late.values()[last]], alone.values()),
        "a parameter that got its first gradient at the fourth step did not move as one that is alone: "
        "count steps for each parameter (the keyword step of update()), not in the optimizer",
    )


@check("optimizer")
def keeps_gradient(trial: Trial) -> None:
    """A step leaves the gradients as they are."""
    for options in trial.variants:
        run = Run(trial, options=options)
        seen: list[Any] = []

        def evaluate(run: Run = run, seen: list[Any] = seen) -> Tensor:
            loss = run.backward()
            seen[:] = [host_copy(p.grad.to_dense()) for p in run.params]
            return loss

        for _ in range(2):
            if trial.needs_closure:
                run.optimizer.step(evaluate)
            else:
                evaluate()
                run.optimizer.step()
            run.taken += 1
            demand(
                same_bits(seen, [host_copy(p.grad.to_dense()) for p in run.params]),
                "a step changes p.grad, which the user may read, clip or add to: compute on a copy (g = g + …, not "
                "g += …)",
            )


@check("optimizer")
def frozen(trial: Trial) -> None:
    """A parameter with requires_grad False stays as it is."""
    run = Run(trial, options=trial.options_for(weight_decay=0.1))
    last = len(run.params) - 1
    run.params[last].requires_grad_(False)
    before = run.values()
    for _ in range(2):
        run.step(range(last))
    demand(same_bits([before[last]], [run.values()[last]]), "a frozen parameter moved")
    demand(not same_bits(before[:last], run.values()[:last]), "beside a frozen parameter nothing moved")


@check("optimizer")
def closure(trial: Trial) -> None:
    """step(closure) evaluates the closure with gradients recorded, and returns its loss."""
    plain, run = Run(trial), Run(trial)
    recorded = []

    def evaluate() -> Tensor:
        recorded.append(distgrad.is_grad_enabled())
        return run.backward() if recorded[-1] else distgrad.zeros(())

    with distgrad.no_grad():
        loss = run.optimizer.step(evaluate)
    expected = plain.loss().item()
    plain.step()
    demand(recorded, "step(closure) did not call the closure")
    demand(all(recorded), "the closure ran with gradients switched off; call it under distgrad.enable_grad()")
    demand(loss is not None, "step(closure) returned None, not the closure's loss")
    demand(float(loss) == expected, f"step(closure) returned {float(loss)}, not the loss before the step, {expected}")
    demand(same_bits(run.values(), plain.values()), "step(closure) moved the parameters elsewhere than step() does")


@check("optimizer")
def maximize(trial: Trial) -> None:
    """With maximize=True it climbs: it moves as on the negated gradient."""
    if "maximize" not in trial.defaults:
        raise NotApplicable("it has no option maximize")
    if trial.needs_closure or trial.sparse:
        raise NotApplicable("its gradients are computed inside step(), or sparse")
    down, up = Run(trial), Run(trial, options={"maximize": True})
    for _ in range(3):
        for run in (down, up):
            run.optimizer.zero_grad()
            loss = run.loss()
            (loss if run is down else -loss).backward()
            run.optimizer.step()
            run.taken += 1
    demand(same_bits(down.values(), up.values()), "maximize=True on the negated loss is not the step on the loss")


@check("optimizer")
def hooks(trial: Trial) -> None:
    """Hooks before and after each step are called."""
    run, called = Run(trial), []
    run.optimizer.register_step_pre_hook(lambda *a: called.append("before"))
    run.optimizer.register_step_post_hook(lambda *a: called.append("after"))
    run.step()
    demand(called == ["before", "after"], f"a step called {called}, not the hook before it and the hook after it")


@check("optimizer")
def state_layout(trial: Trial) -> None:
    """state_dict() has PyTorch's layout, with state in the shape, dtype and place of its parameter."""
    run = Run(trial).steps(2)
    saved = run.optimizer.state_dict()
    demand(set(saved) == {"state", "param_groups"}, f"state_dict() has the keys {sorted(saved)}")
    numbers = list(range(len(run.params)))
    demand([g["params"] for g in saved["param_groups"]] == [numbers], "param_groups must number the parameters from 0")
    demand(set(saved["state"]) <= set(numbers), f"the keys of the state are {list(saved['state'])}, not numbers")
    for i, entry in saved["state"].items():
        p = run.params[i]
        for name, value in entry.items():
            if isinstance(value, Tensor) and value.shape == p.shape and value.ndim and value.is_floating_point():
                demand(value.dtype == p.dtype, f"the state {name!r} is {value.dtype}, its parameter {p.dtype}")
                demand(value.device == p.device, f"the state {name!r} is on {value.device}, its parameter {p.device}")
    wrong = Run(trial, pieces=run.pieces[:1])
    must_raise(ValueError, lambda: wrong.optimizer.load_state_dict(saved), "the state of another number of parameters")


@check("optimizer")
def state_dict(trial: Trial) -> None:
    """A run goes on, bit for bit, from its state_dict in a new optimizer."""
    for options in trial.variants:
        _goes_on(trial, copy.deepcopy, options)


@check("optimizer")
def saved_file(trial: Trial) -> None:
    """The same through distgrad.save and distgrad.load."""

    def through_a_file(saved: dict[str, Any]) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "optimizer.safetensors")
            distgrad.save(saved, str(path))
            return distgrad.load(str(path))

    _goes_on(trial, through_a_file, trial.variants[-1])


def _goes_on(trial: Trial, carry: Any, options: Mapping[str, Any]) -> None:
    first = Run(trial, options=options).steps(3)
    saved = carry(first.optimizer.state_dict())
    second = Run(trial, options=options)
    with distgrad.no_grad():
        for p, value in zip(second.params, first.values(), strict=True):
            p.copy_(distgrad.tensor(value))
    second.taken = first.taken
    second.optimizer.load_state_dict(saved)
    states = [first.state(i) for i in range(len(first.params))]
    first.steps(3), second.steps(3)
    demand(
        same_bits(first.values(), second.values()),
        "after load_state_dict in a new optimizer the run goes elsewhere: what it remembers between steps must all be "
        f"in its state, which has {sorted({k for s in states for k in s}) or 'nothing'}",
    )
    for i in range(len(first.params)):
        a, b = first.state(i), second.state(i)
        demand(same_state(a, b), f"after load_state_dict the state of parameter {i} differs")
