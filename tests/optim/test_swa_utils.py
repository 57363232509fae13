"""Averaged models, the rate schedule that goes with them, and their batch normalizations."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import nn
from distgrad.optim import swa_utils
from distgrad.optim.swa_utils import (
    SWALR,
    AveragedModel,
    get_ema_avg_fn,
    get_ema_multi_avg_fn,
    get_swa_avg_fn,
    get_swa_multi_avg_fn,
    update_bn,
)
from tests.optim.schedules import RATES, optimizer, rates

VALUES = [1.0, 4.0, -2.0, 7.0, 0.5]


class Model(nn.Module):
    """One parameter, one buffer of numbers and one of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(distgrad.zeros(2, dtype=distgrad.float64))
        self.register_buffer("mean", distgrad.zeros(1, dtype=distgrad.float64))
        self.register_buffer("count", distgrad.tensor(0))

    def forward(self, x: Any) -> Any:
        return x * self.weight

    def become(self, value: float) -> None:
        with distgrad.no_grad():
            self.weight.copy_(distgrad.tensor([value, 10 * value], dtype=distgrad.float64))
            self.mean.fill_(value)
            self.count.fill_(int(4 * value))


def averaged(**options: Any) -> tuple[Model, Any]:
    model = Model()
    average = AveragedModel(model, **options)
    for value in VALUES:
        model.become(value)
        average.update_parameters(model)
    return model, average


def exponential(decay: float) -> float:
    found = VALUES[0]
    for value in VALUES[1:]:
        found = decay * found + (1 - decay) * value
    return found


WAYS: dict[str, tuple[dict[str, Any], float]] = {
    "default": ({}, float(np.mean(VALUES))),
    "swa": ({"avg_fn": get_swa_avg_fn()}, float(np.mean(VALUES))),
    "swa, many": ({"multi_avg_fn": get_swa_multi_avg_fn()}, float(np.mean(VALUES))),
    "ema": ({"avg_fn": get_ema_avg_fn(0.7)}, exponential(0.7)),
    "ema, many": ({"multi_avg_fn": get_ema_multi_avg_fn(0.7)}, exponential(0.7)),
    "ema, many, quick": ({"multi_avg_fn": get_ema_multi_avg_fn(0.3)}, exponential(0.3)),
    "ema, last": ({"multi_avg_fn": get_ema_multi_avg_fn(0.0)}, VALUES[-1]),
    "ema, first": ({"avg_fn": get_ema_avg_fn(1.0)}, VALUES[0]),
    "own": ({"avg_fn": lambda average, new, n: average + new / n}, 1 + 4 / 1 - 2 / 2 + 7 / 3 + 0.5 / 4),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("use_buffers", [False, True])
def test_averages(way: str, use_buffers: bool) -> None:
    options, expected = WAYS[way]
    model, average = averaged(use_buffers=use_buffers, **options)
    np.testing.assert_allclose(average.module.weight.tolist(), [expected, 10 * expected], rtol=1e-14)
    np.testing.assert_allclose(average.module.mean.item(), expected if use_buffers else VALUES[-1], rtol=1e-14)
    assert average.module.count.dtype is distgrad.int64
    if not use_buffers:
        assert average.module.count.item() == model.count.item()
    assert average.n_averaged.item() == len(VALUES)
    assert average(distgrad.ones(2, dtype=distgrad.float64)).tolist() == average.module.weight.tolist()
    assert model.weight.tolist() == [0.5, 5.0]


@pytest.mark.parametrize("options", [{}, {"multi_avg_fn": get_swa_multi_avg_fn()}], ids=["default", "many"])
def test_integers_are_averaged_and_cut(options: dict[str, Any]) -> None:
    average = averaged(use_buffers=True, **options)[1]
    found = 4
    for n, value in enumerate(VALUES[1:], 1):
        found = int(found + (int(4 * value) - found) / (n + 1))
    assert average.module.count.item() == found


def test_functions_get_lists_of_one_dtype() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1).double(), nn.BatchNorm1d(1))
    given = []

    def keep(several: Any, new: Any, n: Any) -> None:
        given.append([str(t.dtype) for t in several])
        assert n.item() == 1
        assert not any(t.requires_grad for t in [*several, *new])

    average = AveragedModel(model, multi_avg_fn=keep, use_buffers=True)
    average.update_parameters(model)
    average.update_parameters(model)
    assert sorted((len(set(kinds)), len(kinds)) for kinds in given) == [(1, 1), (1, 2), (1, 6)]


def test_the_copy_is_its_own() -> None:
    model = nn.Linear(2, 2)
    distgrad.optim.SGD(model.parameters(), lr=0.1)  # into flat storage
    average = AveragedModel(model)
    before = average.module.weight.tolist()
    with distgrad.no_grad():
        model.weight.add_(1)
    assert average.module.weight.tolist() == before
    with pytest.raises(AssertionError, match="Only one of avg_fn and multi_avg_fn"):
        AveragedModel(model, avg_fn=get_swa_avg_fn(), multi_avg_fn=get_swa_multi_avg_fn())
    for make in (get_ema_avg_fn, get_ema_multi_avg_fn):
        for decay in (-0.1, 1.1):
            with pytest.raises(ValueError, match=f"Invalid decay value {decay}"):
                make(decay)


def test_its_state_is_saved_and_goes_on(tmp_path: Any) -> None:
    model, average = averaged()
    assert list(average.state_dict()) == ["n_averaged", "module.weight", "module.mean", "module.count"]
    distgrad.save(average.state_dict(), tmp_path / "average")
    again = AveragedModel(Model())
    again.load_state_dict(distgrad.load(tmp_path / "average"))
    for each in (average, again):
        model.become(3.0)
        each.update_parameters(model)
    assert again.module.weight.tolist() == average.module.weight.tolist()
    assert again.n_averaged.item() == 6


def test_training_leaves_the_average_alone() -> None:
    """An averaged model beside an optimizer that works in flat storage."""
    distgrad.manual_seed(0)
    model = nn.Linear(3, 1)
    o = distgrad.optim.SGD(model.parameters(), lr=0.1)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    expected: Any = None
    for i in range(10):
        o.zero_grad()
        (model(distgrad.ones(4, 3) * (i + 1)) ** 2).mean().backward()
        o.step()
        average.update_parameters(model)
        now = model.weight.detach().numpy().astype(float)
        expected = now.copy() if expected is None else 0.9 * expected + 0.1 * now
    np.testing.assert_allclose(average.module.weight.detach().numpy(), expected, rtol=1e-5)


# --- batch normalization ---------------------------------------------------------------------------------------------


def test_running_statistics_become_the_loaders() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3, momentum=0.3, dtype=distgrad.float64), nn.Dropout(0.5))
    batches = [np.random.default_rng(i).standard_normal((5, 3)) + i for i in range(4)]
    model[0].running_mean.fill_(99.0)
    model.eval()
    for loader in (
        [distgrad.tensor(b) for b in batches],
        [(distgrad.tensor(b), "a label") for b in batches],
        distgrad.utils.data.DataLoader(distgrad.utils.data.TensorDataset(distgrad.tensor(np.concatenate(batches))), 5),
    ):
        update_bn(loader, model)
        np.testing.assert_allclose(model[0].running_mean.numpy(), np.mean([b.mean(0) for b in batches], 0))
        np.testing.assert_allclose(model[0].running_var.numpy(), np.mean([b.var(0, ddof=1) for b in batches], 0))
        assert model[0].num_batches_tracked.item() == 4
        assert model[0].momentum == 0.3
        assert not model.training
        assert not model[0].training


def test_what_there_is_nothing_to_update_in_is_not_run() -> None:
    def never() -> Any:
        raise AssertionError
        yield

    update_bn(never(), nn.Linear(2, 2))
    model = nn.Sequential(nn.BatchNorm1d(2)).eval()
    with pytest.raises(ValueError, match="expected 2D or 3D"):
        update_bn([distgrad.ones(2)], model)
    assert model[0].momentum == 0.1  # as it was, whatever happened
    assert not model.training


# --- the schedule ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anneal", ["cos", "linear"])
def test_the_rate_goes_there_and_stays(anneal: str) -> None:
    o = optimizer(distgrad)
    scheduler = SWALR(o, [0.05, 0.3], anneal_epochs=8, anneal_strategy=anneal)
    for t in range(20):
        share = min(t / 8, 1)
        a = share if anneal == "linear" else (1 - np.cos(np.pi * share)) / 2
        expected = [a * end + (1 - a) * start for start, end in zip(RATES, [0.05, 0.3], strict=True)]
        np.testing.assert_allclose(rates(o), expected, rtol=1e-12)
        np.testing.assert_allclose(scheduler.get_last_lr(), expected, rtol=1e-12)
        o.step()
        scheduler.step()


def test_the_schedules_state_and_bounds(tmp_path: Any) -> None:
    o = optimizer(distgrad)
    scheduler = SWALR(o, 0.05, anneal_strategy="linear")
    for _ in range(3):
        o.step()
        scheduler.step()
    distgrad.save([o.state_dict(), scheduler.state_dict()], tmp_path / "run")
    saved = distgrad.load(tmp_path / "run")
    again = optimizer(distgrad)
    resumed = SWALR(again, 0.3, anneal_epochs=4)
    again.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    for _ in range(9):
        for one, schedule in ((o, scheduler), (again, resumed)):
            one.step()
            schedule.step()
        assert rates(again) == rates(o)
    assert rates(o) == [0.05, 0.05]
    o = optimizer(distgrad)
    SWALR(o, 0.05, anneal_epochs=0)
    assert rates(o) == [0.05, 0.05]
    for options, text in (
        ({"anneal_strategy": "step"}, "'cos' or 'linear', instead got step"),
        ({"anneal_epochs": -1}, "equal or greater than 0, got -1"),
        ({"anneal_epochs": 2.5}, "equal or greater than 0, got 2.5"),
        ({"swa_lr": [0.1]}, "swa_lr must have the same length"),
    ):
        with pytest.raises(ValueError, match=text):
            SWALR(o, **{"swa_lr": 0.1, **options})


# --- beside PyTorch, and on a device ---------------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize(
    "way",
    [
        ("default", None), ("avg_fn", "get_swa_avg_fn"), ("avg_fn", "get_ema_avg_fn"),
        ("multi_avg_fn", "get_swa_multi_avg_fn"), ("multi_avg_fn", "get_ema_multi_avg_fn"),
    ],
    ids=str,
)  # fmt: skip
def test_it_is_pytorchs(way: tuple[str, str | None], use_buffers: bool) -> None:
    torch = pytest.importorskip("torch")
    if use_buffers and way[1] == "get_swa_multi_avg_fn":
        pytest.skip("PyTorch's refuses the integers that count batches")
    found: list[Any] = []
    for t in (distgrad, torch):
        utils = importlib.import_module(f"{t.__name__}.optim.swa_utils")
        model = t.nn.Sequential(t.nn.Linear(3, 4), t.nn.BatchNorm1d(4), t.nn.Linear(4, 2)).double()
        options = {} if way[1] is None else {way[0]: getattr(utils, way[1])()}
        average = utils.AveragedModel(model, use_buffers=use_buffers, **options)
        rng = np.random.default_rng(1)
        for _ in range(25):
            with t.no_grad():
                for p in model.parameters():
                    p.copy_(t.tensor(rng.standard_normal(tuple(p.shape))))
            model(t.tensor(rng.standard_normal((6, 3))))
            average.update_parameters(model)
        values = [v.detach().numpy().copy() for v in average.state_dict().values()]
        utils.update_bn([t.tensor(rng.standard_normal((6, 3))) for _ in range(3)], average)
        values += [v.detach().numpy() for v in average.state_dict().values()]
        values.append(average(t.tensor(rng.standard_normal((6, 3)))).detach().numpy())
        found.append((list(average.state_dict()), repr(average), values))
    assert found[0][:2] == found[1][:2]
    rough = way[1] == "get_swa_multi_avg_fn"  # PyTorch's weights are float32 there; ours are checked by the mean above
    for a, b in zip(found[0][2], found[1][2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5 if rough else 1e-10, atol=1e-7 if rough else 1e-12)


@pytest.mark.torch
def test_names_are_pytorchs() -> None:
    pytest.importorskip("torch")
    assert set(swa_utils.__all__) == set(importlib.import_module("torch.optim.swa_utils").__all__)


@pytest.fixture(name="device", params=["double", pytest.param("cupy", marks=pytest.mark.gpu)])
def _device(request: pytest.FixtureRequest) -> str:
    if request.param == "double":
        request.getfixturevalue("device_double")
    return "cuda:0"


@pytest.mark.parametrize("way", WAYS)
def test_on_a_device(way: str, device: str) -> None:
    """A model trained there, and one whose average is kept there."""
    options, expected = WAYS[way]
    for where in (device, "cpu"):
        model = Model().to(where)
        average = AveragedModel(model, device=device, use_buffers=True, **options)
        for value in VALUES:
            model.weight.data.copy_(distgrad.tensor([value, 10 * value], dtype=distgrad.float64).to(where))
            average.update_parameters(model)
        assert {str(t.device) for t in average.state_dict().values()} == {"cuda:0"}
        np.testing.assert_allclose(average.module.weight.tolist(), [expected, 10 * expected], rtol=1e-14)


def test_batches_go_where_they_are_told(device: str) -> None:
    model = nn.BatchNorm1d(2).to(device)
    update_bn([distgrad.tensor([[1.0, 2.0], [3.0, 4.0]])], model, device)
    assert model.running_mean.tolist() == [2.0, 3.0]


def test_schedules_write_tensor_rates_there(device: str) -> None:
    lr = distgrad.tensor(0.1, device=device)
    o = distgrad.optim.SGD([distgrad.ones(1, device=device).requires_grad_()], lr=lr)
    scheduler = distgrad.optim.lr_scheduler.StepLR(o, 1, gamma=0.5)
    o.step()
    scheduler.step()
    assert o.param_groups[0]["lr"] is lr
    assert lr.item() == pytest.approx(0.05)
    assert str(scheduler.get_last_lr()[0].device) == "cuda:0"
