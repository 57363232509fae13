"""Training on a device: the host's losses, no copy that nobody asked for, the whole buffer in one update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import backend, nn, registry, storage
from distgrad.nn.parallel import DistributedDataParallel
from tests.distributed.helpers import training

Threads: Any = registry.get("communicator", "threads")

RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((12, 5)), RNG.standard_normal((12, 3))
CLASSES = RNG.integers(0, 3, 12)
OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("sgd", {"lr": 0.05, "maximize": True}),
    ("adam", {"lr": 0.02, "weight_decay": 0.1}), ("adam", {"lr": 0.02, "amsgrad": True}),
    ("rmsprop", {"lr": 0.01, "momentum": 0.5, "centered": True}),
]  # fmt: skip
LOSSES: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "mse": (nn.MSELoss, Y), "cross entropy": (nn.CrossEntropyLoss, CLASSES),
    "bce logits": (nn.BCEWithLogitsLoss, (Y > 0).astype(float)), "l1": (nn.L1Loss, Y),
}  # fmt: skip


def model_on(place: str, activation: Callable[[], nn.Module] = nn.Tanh) -> nn.Module:
    dg.manual_seed(11)
    model = nn.Sequential(nn.Linear(5, 8, dtype=dg.float64), activation(), nn.Linear(8, 3, dtype=dg.float64))
    return model.to(place)


def train(place: str, name: str, options: dict[str, Any], loss: str = "mse", steps: int = 8) -> list[float]:
    model = model_on(place)
    make, target = LOSSES[loss]
    x, y = dg.tensor(X, device=place), dg.tensor(target, device=place)
    optimizer, criterion = registry.get("optimizer", name)(model.parameters(), **options), make()
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = criterion(model(x), y)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert {str(p.device) for p in model.parameters()} == {place}
    assert {str(p.grad.device) for p in model.parameters()} == {place}
    states = [v for p in model.parameters() for k, v in optimizer.state[p].items() if k != "step"]
    assert {str(v.device) for v in states} <= {place}
    return losses


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=lambda v: v if isinstance(v, str) else "")
def test_the_losses_are_the_hosts(name: str, options: dict[str, Any], apart: tuple[str, str]) -> None:
    host = train("cpu", name, options)
    assert host[0] != host[-1]
    for place in apart:  # the current device, and another
        np.testing.assert_allclose(train(place, name, options), host, rtol=1e-12)
    assert dg.cuda.current_device() == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_as_on_the_host(loss: str, device: str) -> None:
    host = train("cpu", "adam", {"lr": 0.02}, loss)
    assert host[-1] < host[0]
    np.testing.assert_allclose(train(device, "adam", {"lr": 0.02}, loss), host, rtol=1e-12)


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_copies_nothing_but_the_loss_that_is_asked_for(
    loss: str, name: str, options: dict[str, Any], device_double: Any
) -> None:
    model = model_on("cuda:0", nn.GELU)
    make, target = LOSSES[loss]
    x, y, criterion = dg.tensor(X, device="cuda:0"), dg.tensor(target, device="cuda:0"), make()
    optimizer = registry.get("optimizer", name)(model.parameters(), **options)
    for _ in range(4):
        down, up, waits = device_double.transfers, device_double.uploads, device_double.synchronizations
        optimizer.zero_grad()
        value = criterion(model(x), y)
        value.backward()
        optimizer.step()
        assert (device_double.transfers - down, device_double.uploads - up) == (0, 0)
        assert device_double.synchronizations == waits
        value.item()
        assert device_double.transfers == down + 1


@pytest.mark.parametrize("name", [n for n in training.OPTIMIZERS if registry.get("optimizer", n).elementwise])
def test_one_kernel_takes_the_whole_buffer(name: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(300, 300), nn.Linear(300, 300)).to(device)
    optimizer = registry.get("optimizer", name)(model.parameters(), lr=0.01)
    (flat,) = storage.flatten(model.parameters())
    assert all(flat.holds(i) for i in range(len(flat.params)))
    sizes, run = [], backend.run_kernel

    def counted(kernel: Any, arrays: Any, numbers: Any) -> None:
        sizes.append(arrays[0].size)
        run(kernel, arrays, numbers)

    monkeypatch.setattr(backend, "run_kernel", counted)
    for _ in range(2):
        optimizer.zero_grad()
        model(dg.ones(2, 300, device=device)).sum().backward()
        assert all(p.grad._data is slot for p, slot in zip(flat.params, flat.slots, strict=True))
        optimizer.step()
    assert sizes == [flat.data.size] * 2
    assert sizes[0] * 4 > 192 * 1024  # on the host this would be several blocks


def test_a_model_that_moves_takes_its_optimizer_along(device: str) -> None:
    results = []
    for places in (("cpu", "cpu"), ("cpu", device), (device, "cpu")):
        model = model_on(places[0])
        optimizer = registry.get("optimizer", "adam")(model.parameters(), lr=0.02)
        for place in places:
            model.to(place)
            for _ in range(2):
                optimizer.zero_grad()
                ((model(dg.tensor(X, device=place)) - dg.tensor(Y, device=place)) ** 2).mean().backward()
                optimizer.step()
        state = optimizer.state_dict()["state"][0]
        results.append((model[0].weight.tolist(), state["exp_avg"].tolist(), state["step"].item()))
    for weight, moment, steps in results[1:]:
        np.testing.assert_allclose(weight, results[0][0], rtol=1e-12)
        np.testing.assert_allclose(moment, results[0][1], rtol=1e-12, atol=1e-300)
        assert steps == results[0][2] == 4


def test_an_optimizers_state_loads_across_devices(device: str) -> None:
    source = model_on(device)
    first = registry.get("optimizer", "adam")(source.parameters(), lr=0.02)
    source(dg.tensor(X, device=device)).sum().backward()
    first.step()
    target = model_on("cpu")
    second = registry.get("optimizer", "adam")(target.parameters(), lr=0.02)
    second.load_state_dict(first.state_dict())
    moment = second.state_dict()["state"][0]["exp_avg"]
    assert str(moment.device) == "cpu"
    assert moment.tolist() == first.state_dict()["state"][0]["exp_avg"].tolist()


# ---------------------------------------------------------------------------------------------------------- on ranks


class OnDevice(training.Branching):
    """The model of tests/distributed/helpers/training.py, on a device; what it returns is on the host, as there."""

    def __init__(self, seed: int, place: str) -> None:
        super().__init__(seed)
        self.place = place
        self.to(place)

    def forward(self, x: dg.Tensor, kinds: np.ndarray) -> dg.Tensor:
        hidden = dg.tanh(self.body(x.to(self.place)))
        heads = [(self.even, np.flatnonzero(kinds == 0)), (self.odd, np.flatnonzero(kinds == 1))]
        return dg.cat([head(hidden[dg.tensor(rows)]) for head, rows in heads if rows.size]).cpu()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*takes no device pointers.*:RuntimeWarning")
@pytest.mark.parametrize("name", training.OPTIMIZERS)
def test_two_ranks_with_a_device_each_end_as_one_on_the_host(name: str, apart: tuple[str, str]) -> None:
    def main() -> tuple[str, list[np.ndarray]]:
        dist.init_process_group("threads")
        rank, size = dist.get_rank(), dist.get_world_size()
        place = str(dg.zeros(1, device="cuda").device)
        bare = OnDevice(3 if rank == 0 else 100 + rank, place)
        model = DistributedDataParallel(bare, bucket_cap_mb=0.0002, weighting="samples")
        options = dict(lr=training.LR.get(name, 0.02), **training.MORE.get(name, {}))
        optimizer = registry.get("optimizer", name)(training.parameters(name, model), **options)
        for step in range(training.STEPS):

            def evaluate(step: int = step) -> dg.Tensor:
                optimizer.zero_grad()
                loss = training.loss_of(model, step, training.share(step, rank, size))
                loss.backward()
                return loss

            optimizer.step(evaluate)
        found = [p.numpy(force=True) for p in bare.parameters()]
        assert {str(p.device) for p in bare.parameters()} == {place}
        dist.destroy_process_group()
        return place, found

    results = Threads.run(2, main)
    dist.init_process_group("serial")
    alone = training.train(name, 0, 1, distributed=False)
    dist.destroy_process_group()
    assert [place for place, _ in results] == list(apart)
    for _, found in results:
        assert training.difference(found, alone) <= training.LIMIT.get(name, 1e-12)
