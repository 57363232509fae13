"""Schedules by their formulas, and the contract they share: state, warnings, groups, tensor rates."""

from __future__ import annotations

import copy
import gc
import warnings
import weakref
from typing import Any

import pytest

import distgrad
from distgrad.optim import lr_scheduler as s
from tests.optim.schedules import CASES, RATES, SAME_IN_ALL_GROUPS, STEPS, Halving, optimizer, rates, run

each = pytest.mark.parametrize("name", CASES)


def close(a: Any, b: Any) -> None:
    assert a == pytest.approx(b, rel=1e-12, abs=1e-15)


def make(name: str, **options: Any) -> tuple[Any, Any]:
    o = optimizer(distgrad, **options)
    return o, CASES[name][0](s, o)


def test_every_schedule_is_tried() -> None:
    made = {type(make(name)[1]).__name__ for name in CASES}
    assert made | {"LRScheduler", "ReduceLROnPlateau"} == set(s.__all__)


@each
def test_it_follows_its_formula(name: str) -> None:
    o, scheduler = make(name)
    formula = CASES[name][1]
    for t in range(STEPS):
        close(rates(o), [formula(rate, t) for rate in RATES])
        close(scheduler.get_last_lr(), rates(o))
        o.step()
        scheduler.step()
    if name in SAME_IN_ALL_GROUPS:
        assert len(set(rates(o))) == 1


@each
@pytest.mark.parametrize("at", [0, 1, 23])
def test_a_run_resumes(name: str, at: int, tmp_path: Any) -> None:
    """From states that were saved to a file, in fresh objects, as if it had not stopped."""
    o, scheduler = make(name)
    run(o, scheduler, at)
    distgrad.save({"optimizer": o.state_dict(), "scheduler": scheduler.state_dict()}, tmp_path / "run.safetensors")
    state = distgrad.load(tmp_path / "run.safetensors")
    expected = run(o, scheduler, 40)
    again, resumed = make(name)
    resumed.load_state_dict(state["scheduler"])
    again.load_state_dict(state["optimizer"])
    assert run(again, resumed, 40) == expected
    assert resumed.get_last_lr() == scheduler.get_last_lr()


@each
def test_a_tensor_rate_is_written_in_place(name: str) -> None:
    o, scheduler = make(name, tensor=True)
    held = [group["lr"] for group in o.param_groups]
    plain, beside = make(name)
    for _ in range(30):
        o.step()
        scheduler.step()
        plain.step()
        beside.step()
        close(rates(o), rates(plain))
    assert all(group["lr"] is tensor for group, tensor in zip(o.param_groups, held, strict=True))
    last = scheduler.get_last_lr()
    close([float(rate) for rate in last], rates(o))
    assert not any(rate is tensor for rate, tensor in zip(last, held, strict=True))  # a record, not the live one


CLOSED = ("step", "multi-step", "constant", "linear", "exponential", "polynomial", "cosine")  # have a closed form


@pytest.mark.parametrize("name", [name for name in CASES if name.split(",")[0] in CLOSED])
def test_going_to_a_step_by_number(name: str) -> None:
    o, scheduler = make(name)
    for t in (3, 40, 5, 0, 17):
        o.step()
        with pytest.warns(UserWarning, match="deprecated"):
            scheduler.step(t)
        assert scheduler.last_epoch == t
        close(rates(o), [CASES[name][1](rate, t) for rate in RATES])


def test_restarts_go_anywhere() -> None:
    """Also between steps, without a warning: it is how they are used in a loop over batches."""
    for name in ("restarts", "restarts, longer"):
        o, scheduler = make(name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for t in (3, 40, 5, 0, 17, 12):
                scheduler.step(t)
                close(rates(o), [CASES[name][1](rate, t) for rate in RATES])
        scheduler.step(6.5)
        assert scheduler.last_epoch == 6
        between = CASES[name][1](RATES[0], 6), CASES[name][1](RATES[0], 7)
        assert between[0] > rates(o)[0] > between[1]
        with pytest.raises(ValueError, match="non-negative epoch, but got -1"):
            scheduler.step(-1)


def test_momentum_goes_against_the_rate() -> None:
    for adam in (False, True):
        o = optimizer(distgrad, "AdamW" if adam else "SGD")
        scheduler = s.CyclicLR(o, 0.1, 0.5, 4, base_momentum=[0.6, 0.7], max_momentum=0.9)
        found = []
        for _ in range(9):
            group = o.param_groups[0]
            found.append(group["betas"][0] if adam else group["momentum"])
            o.step()
            scheduler.step()
        close(found, [0.9, 0.825, 0.75, 0.675, 0.6, 0.675, 0.75, 0.825, 0.9])
        if adam:
            assert {group["betas"][1] for group in o.param_groups} == {0.999}
        o = optimizer(distgrad, "AdamW" if adam else "SGD")
        scheduler = s.OneCycleLR(o, [0.1, 0.2], 11, pct_start=0.5, anneal_strategy="linear")
        found = []
        for _ in range(11):
            group = o.param_groups[1]
            found.append(group["betas"][0] if adam else group["momentum"])
            o.step()
            scheduler.step()
        down, up = 0.1 / 4.5, 0.1 / 5.5
        close(found, [0.95 - down * t for t in range(5)] + [0.85 + up * (t - 4.5) for t in range(5, 11)])
        with pytest.raises(ValueError, match="Tried to step 12 times. The specified number of total steps is 11"):
            scheduler.step()


# --- on a plateau ----------------------------------------------------------------------------------------------------

PLATEAUS: dict[str, tuple[dict[str, Any], list[float], list[float]]] = {  # options, metrics, first group's rate / 0.1
    "patience": ({"patience": 2}, [5, 4, 4, 4, 4, 4], [1, 1, 1, 1, 0.1, 0.1]),
    "cooldown": ({"patience": 0, "cooldown": 2, "factor": 0.5}, [1, 1, 1, 1, 1, 1, 1], [1, .5, .5, .5, .25, .25, .25]),
    "relative": ({"patience": 0, "threshold": 0.1}, [10, 9.1, 8.9, 8.02, 8], [1, 0.1, 0.1, 0.01, 0.01]),
    "absolute": (
        {"patience": 0, "threshold": 0.5, "threshold_mode": "abs"}, [10, 9.4, 9, 8.8], [1, 1, 0.1, 0.1],
    ),
    "max": ({"patience": 0, "mode": "max", "threshold": 0.1}, [1, 1.11, 1.2, 1.3], [1, 1, 0.1, 0.1]),
    "max, absolute": (
        {"patience": 0, "mode": "max", "threshold": 0.5, "threshold_mode": "abs"}, [1, 2, 2.4, 2.6], [1, 1, 0.1, 0.1],
    ),
    "min_lr": ({"patience": 0, "min_lr": [0.04, 0.0]}, [1, 1, 1], [1, 0.4, 0.4]),
    "eps": ({"patience": 0, "eps": 0.05}, [1, 1, 1, 1], [1, 0.1, 0.1, 0.1]),
}  # fmt: skip


@pytest.mark.parametrize("name", PLATEAUS)
def test_a_plateau(name: str) -> None:
    options, metrics, expected = PLATEAUS[name]
    o = optimizer(distgrad)
    scheduler = s.ReduceLROnPlateau(o, **options)
    found = []
    for i, metric in enumerate(metrics):
        scheduler.step(distgrad.tensor(metric) if i % 2 else metric)
        found.append(rates(o)[0] / RATES[0])
    close(found, expected)
    assert scheduler.last_epoch == len(metrics)


def test_a_plateau_resumes(tmp_path: Any) -> None:
    metrics = [3, 2, 2, 2, 1, 1, 1, 1, 5, 5, 5, 5, 5, 5]
    for at in (0, 3, 7):
        o = optimizer(distgrad)
        scheduler = s.ReduceLROnPlateau(o, patience=1, cooldown=1)
        for metric in metrics[:at]:
            scheduler.step(metric)
        distgrad.save([o.state_dict(), scheduler.state_dict()], tmp_path / "run")
        again = optimizer(distgrad)
        resumed = s.ReduceLROnPlateau(again, patience=5, mode="max")
        saved = distgrad.load(tmp_path / "run")
        again.load_state_dict(saved[0])
        resumed.load_state_dict(saved[1])
        for metric in metrics[at:]:
            scheduler.step(metric)
            resumed.step(metric)
            assert rates(again) == rates(o)
        assert rates(o)[0] < 0.01


# --- the contract ----------------------------------------------------------------------------------------------------


def test_groups_remember_their_first_rate() -> None:
    o, _ = make("exponential")
    assert [group["initial_lr"] for group in o.param_groups] == list(RATES)
    run(o, s.StepLR(o, 3), 5)
    assert s.StepLR(o, 3).base_lrs == list(RATES)


def test_resuming_by_number_needs_the_first_rates() -> None:
    o = optimizer(distgrad)
    with pytest.raises(KeyError, match=r"'initial_lr' is not specified in param_groups\[0\]"):
        s.StepLR(o, 3, last_epoch=4)
    for group, rate in zip(o.param_groups, RATES, strict=True):
        group["initial_lr"] = rate
    scheduler = s.CosineAnnealingLR(o, 10, last_epoch=4)
    assert scheduler.last_epoch == 5
    o.step()
    scheduler.step()
    assert scheduler.last_epoch == 6


def test_what_happens_to_a_group_added_later() -> None:
    """A schedule that goes from rate to rate takes it along; one by initial rates has none for it."""
    late = {"params": [distgrad.ones(1, requires_grad=True)], "lr": 1.0}
    o, scheduler = make("exponential")
    o.add_param_group(dict(late))
    o.step()
    scheduler.step()
    close(rates(o), [0.093, 0.0186, 0.93])
    assert len(scheduler.get_last_lr()) == 3
    for name in ("lambda", "restarts", "multiplicative"):
        o, scheduler = make(name)
        o.add_param_group(dict(late))
        o.step()
        with pytest.raises(ValueError, match=r"2 (param groups|lr_lambdas).*3|for 2 param groups, the optimizer has 3"):
            scheduler.step()
    for lowest in (0.0, [0.0, 0.0]):
        o = optimizer(distgrad)
        plateau = s.ReduceLROnPlateau(o, patience=0, min_lr=lowest)
        o.add_param_group(dict(late))
        plateau.step(1)
        if lowest == 0.0:
            plateau.step(1)
            close(rates(o), [0.01, 0.002, 0.1])
        else:
            with pytest.raises(RuntimeError, match="3 param groups, and there are 2 min_lrs"):
                plateau.step(1)


def test_the_order_of_steps_is_watched() -> None:
    o, scheduler = make("step")
    with pytest.warns(UserWarning, match=r"`lr_scheduler.step\(\)` before `optimizer.step\(\)`") as caught:
        scheduler.step()
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()  # said once
        o, scheduler = make("sequential")
        run(o, scheduler, 30)
        o, first = make("step")
        second = s.ExponentialLR(o, 0.9)  # beside another one
        o.step()
        first.step()
        second.step()
    o, scheduler = make("step")
    o.step = lambda: None
    with pytest.warns(UserWarning, match="overridden after learning rate scheduler"):
        scheduler.step()


def test_asking_for_the_next_rate_is_warned_about() -> None:
    for name in CASES:
        if name.startswith(("sequential", "chained")):
            continue
        _, scheduler = make(name)
        with pytest.warns(UserWarning, match="please use `get_last_lr") as caught:
            scheduler.get_lr()
        assert caught[0].filename == __file__, name


def test_a_watched_optimizer_is_still_one() -> None:
    """Closures, hooks and copies work; nothing holds it when it is dropped."""
    o, _ = make("step")
    calls = []
    o.register_step_pre_hook(lambda *_: calls.append(1))
    assert o.step(lambda: 3.5) == 3.5
    assert calls == [1]
    copied = copy.deepcopy(o)
    copied.step()
    assert o.step.__name__ == "step"
    gone = weakref.ref(o)
    del o, _
    gc.disable()
    try:
        assert gone() is None
    finally:
        gc.enable()


def test_a_subclass_of_the_users() -> None:
    class InverseRoot(s.LRScheduler):
        def __init__(self, optimizer: Any, warm: int, last_epoch: int = -1) -> None:
            self.warm = warm
            super().__init__(optimizer, last_epoch)

        def get_lr(self) -> list[float]:
            return [base * min(1.0, (self.warm / (1 + self.last_epoch)) ** 0.5) for base in self.base_lrs]

    o = optimizer(distgrad)
    scheduler = InverseRoot(o, 4)
    run(o, scheduler, 15)
    close(rates(o), [0.05, 0.01])
    assert scheduler.state_dict()["warm"] == 4
    with pytest.warns(UserWarning, match="deprecated"):
        scheduler.step(63)
    close(rates(o), [0.025, 0.005])
    assert issubclass(s._LRScheduler, s.LRScheduler)
    with pytest.raises(NotImplementedError, match=r"LRScheduler does not define get_lr\(\)"):
        s.LRScheduler(optimizer(distgrad))


def test_functions_are_not_saved_but_objects_are() -> None:
    o = optimizer(distgrad)
    scheduler = s.LambdaLR(o, [lambda t: 1.0, Halving(3)])
    state = scheduler.state_dict()
    assert state["lr_lambdas"] == [None, {"every": 3}]
    other = s.LambdaLR(optimizer(distgrad), [lambda t: 1.0, Halving(8)])
    other.load_state_dict(state)
    assert other.lr_lambdas[1].every == 3
    assert "lr_lambdas" in state  # what was given is left as it was
    cyclic = s.CyclicLR(o, 0.1, 0.2, scale_fn=Halving(5))
    assert cyclic.state_dict()["_scale_fn_custom"] == {"every": 5}
    other = s.CyclicLR(o, 0.1, 0.2, scale_fn=Halving(6))
    other.load_state_dict(cyclic.state_dict())
    assert other.scale_fn(4) == 1.0
    assert other.scale_fn(5) == 0.5


def test_where_it_is_found() -> None:
    assert distgrad.optim.lr_scheduler is s
    assert {"lr_scheduler", "swa_utils"} <= set(dir(distgrad.optim))


O = optimizer(distgrad)  # noqa: E741
BARE = distgrad.optim.Adagrad([distgrad.ones(1, requires_grad=True)])
REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "no optimizer": (lambda: s.StepLR("sgd", 3), TypeError, "str is not an Optimizer"),
    "no optimizer, cyclic": (lambda: s.CyclicLR(3, 0.1, 0.2), TypeError, "int is not an Optimizer"),
    "no optimizer, one cycle": (lambda: s.OneCycleLR(3, 0.1, 5), TypeError, "int is not an Optimizer"),
    "no optimizer, plateau": (lambda: s.ReduceLROnPlateau(3), TypeError, "int is not an Optimizer"),
    "lambdas": (lambda: s.LambdaLR(O, [abs]), ValueError, "Expected 2 lr_lambdas, but got 1"),
    "no function": (lambda: s.MultiplicativeLR(O, 0.5), TypeError, "lr_lambda should be a function, but got float"),
    "constant": (lambda: s.ConstantLR(O, 1.5), ValueError, "between 0 and 1, but got 1.5"),
    "linear, start": (lambda: s.LinearLR(O, 0.0), ValueError, "greater than 0 and at most 1, but got 0.0"),
    "linear, end": (lambda: s.LinearLR(O, 0.5, -1), ValueError, "between 0 and 1, but got -1"),
    "T_0": (lambda: s.CosineAnnealingWarmRestarts(O, 0), ValueError, "positive integer T_0, but got 0"),
    "T_mult": (lambda: s.CosineAnnealingWarmRestarts(O, 3, 0), ValueError, "integer T_mult >= 1, but got 0"),
    "eta_min": (lambda: s.CosineAnnealingWarmRestarts(O, 3, 1, "0"), ValueError, "float or int eta_min, but got 0"),
    "base_lr": (lambda: s.CyclicLR(O, [0.1], 0.2), ValueError, "base_lr must have the same length .* 1 values for 2"),
    "mode": (lambda: s.CyclicLR(O, 0.1, 0.2, mode="sine"), ValueError, "'sine' is none of triangular"),
    "no momentum": (lambda: s.CyclicLR(BARE, 0.1, 0.2), ValueError, "must support momentum or beta1.*Adagrad has"),
    "no momentum, one cycle": (lambda: s.OneCycleLR(BARE, 0.1, 5), ValueError, "must support momentum or beta1"),
    "total_steps": (lambda: s.OneCycleLR(O, 0.1, 0), ValueError, "positive integer total_steps, but got 0"),
    "epochs": (lambda: s.OneCycleLR(O, 0.1, epochs=2.0, steps_per_epoch=1), ValueError, "epochs, but got 2.0"),
    "steps": (lambda: s.OneCycleLR(O, 0.1, epochs=2, steps_per_epoch=-1), ValueError, "steps_per_epoch, but got -1"),
    "no length": (lambda: s.OneCycleLR(O, 0.1, epochs=2), ValueError, "either total_steps OR"),
    "pct_start": (lambda: s.OneCycleLR(O, 0.1, 9, pct_start=1), ValueError, "between 0 and 1 pct_start, but got 1"),
    "strategy": (lambda: s.OneCycleLR(O, 0.1, 9, anneal_strategy="exp"), ValueError, "'cos' or 'linear', instead got"),
    "factor": (lambda: s.ReduceLROnPlateau(O, factor=1.0), ValueError, "Factor should be < 1.0, but got 1.0"),
    "plateau's mode": (lambda: s.ReduceLROnPlateau(O, "low"), ValueError, "mode low is unknown"),
    "threshold mode": (lambda: s.ReduceLROnPlateau(O, threshold_mode="x"), ValueError, "threshold mode x is unknown"),
    "min_lr": (lambda: s.ReduceLROnPlateau(O, min_lr=[0.1]), ValueError, "expected 2 min_lrs, got 1"),
    "none, sequential": (lambda: s.SequentialLR(O, [], []), ValueError, "at least one scheduler"),
    "none, chained": (lambda: s.ChainedScheduler([]), ValueError, "at least one scheduler"),
    "milestones": (lambda: s.SequentialLR(O, [s.StepLR(O, 1)], [3]), ValueError, "1 schedulers and 1 milestones"),
    "plateau within": (
        lambda: s.ChainedScheduler([s.StepLR(O, 1), s.ReduceLROnPlateau(O)]), ValueError, "does not support.*index 1",
    ),
    "another's": (
        lambda: s.SequentialLR(O, [s.StepLR(BARE, 1)], []), ValueError, "same optimizer.*StepLR at index 0.*Adagrad",
    ),
    "no scheduler": (lambda: s.SequentialLR(O, [3], []), TypeError, "index 0 should have `optimizer`.* int"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    make_it, error, text = REFUSED[case]
    with pytest.raises(error, match=text):
        make_it()
