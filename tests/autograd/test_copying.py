"""Copies and pickles of tensors, modules, optimizers and what holds them: values, ties, and what training does then."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

import distgrad
from distgrad import nn, optim
from distgrad.utils.data import DataLoader, TensorDataset


def trained(name: str = "adam") -> tuple[Any, Any]:
    distgrad.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))
    optimizer = optim.get(name)(model.parameters(), lr=0.01)
    for _ in range(2):
        step(model, optimizer)
    return model, optimizer


def step(model: Any, optimizer: Any) -> float:
    optimizer.zero_grad()
    loss = (model(distgrad.arange(12.0).reshape(4, 3)) ** 2).mean()
    loss.backward()
    optimizer.step()
    return float(loss)


def tied() -> Any:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    return model


def there_and_back(x: Any) -> Any:
    return pickle.loads(pickle.dumps(x))


TENSORS: dict[str, Callable[[], Any]] = {
    "plain": lambda: distgrad.arange(6.0).view(2, 3),
    "a leaf": lambda: distgrad.ones(2, requires_grad=True),
    "a result": lambda: distgrad.ones(2, requires_grad=True) * 2,
    "a view": lambda: distgrad.arange(6).view(2, 3).t()[1:],
    "no dimensions": lambda: distgrad.tensor(3.5),
    "no elements": lambda: distgrad.zeros(0, 3),
    "bfloat16": lambda: distgrad.ones(2, dtype=distgrad.bfloat16),
    "complex": lambda: distgrad.tensor([1 + 2j]),
    "bool": lambda: distgrad.tensor([True, False]),
    "a Parameter": lambda: nn.Parameter(distgrad.ones(2)),
    "a frozen Parameter": lambda: nn.Parameter(distgrad.ones(2), requires_grad=False),
    "a Buffer": lambda: nn.Buffer(distgrad.ones(2)),
    "sparse": lambda: distgrad.eye(2).to_sparse(),
    "in flat storage": lambda: next(iter(trained()[0].parameters())),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_a_tensor_is_pickled_with_what_it_is(kind: str) -> None:
    t = TENSORS[kind]()
    back = there_and_back(t)
    assert type(back) is type(t)
    assert (back.dtype, back.shape, back.requires_grad) == (t.dtype, t.shape, t.requires_grad)
    assert back.is_leaf
    assert repr(back.detach()) == repr(t.detach())


def test_gradient_and_hooks_stay_attributes_go_along() -> None:
    t = distgrad.ones(2, requires_grad=True)
    t.register_hook(lambda g: None)
    t.name = "mine"
    t.sum().backward()
    back = there_and_back(t)
    assert (back.grad, back.name) == (None, "mine")
    assert copy.copy(t).name == "mine"
    (back * 2).sum().backward()
    assert back.grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("copied", [there_and_back, copy.deepcopy])
@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop", "adagrad", "lbfgs", "muon"])
def test_a_model_and_its_optimizer_train_on_alike(name: str, copied: Callable[[Any], Any]) -> None:
    if name in ("lbfgs", "muon"):
        distgrad.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 2, bias=False))
        optimizer = optim.get(name)(model.parameters(), lr=0.01)
        if name == "lbfgs":
            optimizer.step(lambda: (model(distgrad.ones(4, 3)) ** 2).mean())
        else:
            step(model, optimizer)
    else:
        model, optimizer = trained(name)
    other, others = copied((model, optimizer))
    assert others.param_groups[0]["params"][0] is next(iter(other.parameters()))
    if name == "lbfgs":
        return
    for _ in range(3):
        assert step(model, optimizer) == step(other, others)
    for p, q in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert bool((p == q).all())


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.lr_scheduler.StepLR(trained()[1], 3),
        lambda: optim.lr_scheduler.CosineAnnealingLR(trained()[1], 3),
        lambda: optim.swa_utils.AveragedModel(nn.Linear(2, 2)),
        lambda: nn.ParameterList([distgrad.ones(2)]),
        lambda: nn.ParameterDict({"a": distgrad.ones(2)}),
        lambda: nn.CrossEntropyLoss(weight=distgrad.ones(3)),
        lambda: DataLoader(TensorDataset(distgrad.ones(3, 2, requires_grad=True)), batch_size=2),
        lambda: distgrad.Generator().manual_seed(3),
        lambda: {"shape": distgrad.ones(2).shape, "dtype": distgrad.bfloat16, "device": distgrad.device("cpu")},
        lambda: nn.parallel.DistributedDataParallel(nn.Linear(2, 2)),
    ],
)
def test_what_holds_parameters_is_pickled(make: Callable[[], Any], one_process_group: None) -> None:
    made = make()
    back = there_and_back(made)
    assert type(back) is type(made)
    if hasattr(made, "state_dict"):
        assert repr(back.state_dict()) == repr(made.state_dict())
    copy.copy(made)
    copy.deepcopy(made)


@pytest.fixture
def one_process_group() -> Any:
    import distgrad.distributed as dist

    dist.init_process_group("serial")
    yield
    dist.destroy_process_group()


def test_a_tied_parameter_stays_tied() -> None:
    for copied in (there_and_back, copy.deepcopy):
        back = copied(tied())
        assert back[0].weight is back[1].weight


VIEWS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda w: w.detach(),
    "a slice": lambda w: w.detach()[:, 1:],
    "every other": lambda w: w.detach()[:, ::2],
    "transposed": lambda w: w.detach().t(),
    "a view of a view": lambda w: w.detach().t()[1:][:, 1:],
}


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("view", VIEWS)
def test_what_shares_memory_shares_it_in_a_deep_copy(view: str, order: str, moved: bool) -> None:
    weight = distgrad.arange(12.0).view(3, 4) if order == "C" else distgrad.arange(12.0).view(4, 3).t().contiguous().t()
    weight = weight.detach().requires_grad_()
    if moved:
        optim.SGD([weight], lr=0.1)
    make = VIEWS[view]
    both = {"w": weight, "v": make(weight)}
    copied = copy.deepcopy(both)
    with distgrad.no_grad():
        copied["w"].fill_(-1.0)
    assert bool((copied["v"] == -1).all())
    assert bool((both["w"] >= 0).all())
    assert bool((both["v"] == make(both["w"])).all())


@pytest.mark.parametrize("view", VIEWS)
def test_a_parameters_deep_copy_has_memory_of_its_own(view: str) -> None:
    """PyTorch clones a Parameter, strides and all, where it copies a tensor's memory for all that share it."""
    weight = nn.Parameter(distgrad.arange(12.0).view(4, 3).t())
    copied = copy.deepcopy({"w": weight, "v": VIEWS[view](weight)})
    assert copied["w"].stride() == weight.stride()
    with distgrad.no_grad():
        copied["w"].fill_(-1.0)
    assert bool((copied["v"] == VIEWS[view](weight)).all())


def doubled(model: Any) -> Any:
    with distgrad.no_grad():
        for p in model.parameters():
            p.mul_(2.0)
    return model


def test_a_model_goes_to_a_process_and_comes_back() -> None:
    model = nn.Linear(2, 2)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        back = pool.submit(doubled, model).result(timeout=120)
    assert bool((back.weight == 2 * model.weight).all())
