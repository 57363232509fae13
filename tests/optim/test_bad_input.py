"""What optimizers refuse, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

import distgrad
from distgrad import optim
from tests.optim import every
from tests.optim.every import each

TWO = ((2, 3), (3,))


def parameters(t: Any) -> list[Any]:
    return every.parameters(t, shapes=TWO)


def step(optimizer: Any, params: list[Any]) -> None:
    every.steps(optimizer, params, 1)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda p: optim.SGD([]), ValueError, "optimizer got an empty parameter list"),
        (lambda p: optim.SGD(p[0]), TypeError, "should be an iterable of Tensors or dicts, but got torch.DoubleTensor"),
        (lambda p: optim.SGD([1.0]), TypeError, "can only optimize Tensors, but one of the params is float"),
        (lambda p: optim.SGD([p[0] * 2]), ValueError, "can't optimize a non-leaf Tensor"),
        (lambda p: optim.SGD([{"params": set(p)}]), TypeError, "ordered collections"),
        (lambda p: optim.SGD(p, lr=-1), ValueError, "Invalid learning rate: -1; it must be at least 0"),
        (lambda p: optim.SGD(p, lr="fast"), TypeError, "Invalid learning rate: 'fast'"),
        (lambda p: optim.SGD(p, lr=float("nan")), ValueError, "Invalid learning rate: nan"),
        (lambda p: optim.SGD(p, momentum=-0.1), ValueError, "Invalid momentum value: -0.1"),
        (lambda p: optim.SGD(p, weight_decay=-0.1), ValueError, "Invalid weight_decay value: -0.1"),
        (lambda p: optim.SGD(p, nesterov=True), ValueError, "Nesterov momentum requires a momentum and zero dampening"),
        (
            lambda p: optim.Adam(p, betas=(0.9, 1.0)),
            ValueError,
            r"Invalid beta parameter at index 1: 1.0; it must be in \[0, 1\)",
        ),
        (lambda p: optim.Adam(p, eps=-1), ValueError, "Invalid epsilon value: -1"),
        (lambda p: optim.RMSprop(p, alpha=-1), ValueError, "Invalid alpha value: -1"),
        (lambda p: optim.Adam([{"params": p, "lr": -2}]), ValueError, "Invalid learning rate: -2"),
        (lambda p: optim.SGD(p, speed=1), TypeError, "speed"),
        (lambda p: optim.SGD(p).add_param_group([p[0]]), TypeError, "param_group must be a dict"),
    ],
)
def test_bad_input(make: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        make(parameters(distgrad))


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("ASGD", dict(lr=-1), "at least 0"),
    ("ASGD", dict(weight_decay=-1), "at least 0"),
    ("Adadelta", dict(lr=-1), "at least 0"),
    ("Adadelta", dict(rho=1.1), r"in \[0, 1\]"),
    ("Adadelta", dict(rho=-0.1), r"in \[0, 1\]"),
    ("Adadelta", dict(eps=-1), "at least 0"),
    ("Adadelta", dict(weight_decay=-1), "at least 0"),
    ("Adagrad", dict(lr=-1), "at least 0"),
    ("Adagrad", dict(lr_decay=-1), "at least 0"),
    ("Adagrad", dict(weight_decay=-1), "at least 0"),
    ("Adagrad", dict(initial_accumulator_value=-1), "at least 0"),
    ("Adagrad", dict(eps=-1), "at least 0"),
    ("RMSprop", dict(lr=-1), "at least 0"),
    ("RMSprop", dict(alpha=-1), "at least 0"),
    ("RMSprop", dict(eps=-1), "at least 0"),
    ("RMSprop", dict(momentum=-1), "at least 0"),
    ("RMSprop", dict(weight_decay=-1), "at least 0"),
    ("Rprop", dict(lr=-1), "at least 0"),
    ("Rprop", dict(etas=(0.0, 1.2)), "0 < η₋ < 1 < η₊"),
    ("Rprop", dict(etas=(0.5, 1.0)), "0 < η₋ < 1 < η₊"),
    ("SGD", dict(lr=-1), "at least 0"),
    ("SGD", dict(momentum=-1), "at least 0"),
    ("SGD", dict(weight_decay=-1), "at least 0"),
    ("SGD", dict(nesterov=True, momentum=0.9, dampening=0.1), "zero dampening"),
    *(
        (name, options, text)
        for name in ("Adam", "AdamW", "Adamax", "NAdam", "RAdam")
        for options, text in (
            (dict(lr=-1), "at least 0"),
            (dict(lr=float("nan")), "at least 0"),
            (dict(betas=(1.0, 0.9)), r"index 0: 1.0; it must be in \[0, 1\)"),
            (dict(betas=(0.9, -0.1)), r"index 1: -0.1; it must be in \[0, 1\)"),
            (dict(eps=-1), "at least 0"),
            (dict(weight_decay=-1), "at least 0"),
        )
    ),
    ("NAdam", dict(momentum_decay=-1), "at least 0"),
]
OURS_ALONE: list[tuple[str, dict[str, Any], str]] = [
    ("ASGD", dict(lambd=float("nan")), "lambd value: nan"),
    ("ASGD", dict(alpha=float("nan")), "alpha value: nan"),
    ("ASGD", dict(t0=float("nan")), "t0 value: nan"),
    ("Lion", dict(lr=-1), "at least 0"),
    ("Lion", dict(betas=(0.9, 1.0)), "index 1"),
    ("Lion", dict(weight_decay=-1), "at least 0"),
    ("Rprop", dict(step_sizes=(1.0, 0.5)), "the first must be at most the second"),
    ("SGD", dict(dampening=float("nan")), "dampening value: nan"),
    ("Adam", dict(betas=(0.9,)), "it must be 2 values"),
]


@pytest.mark.parametrize(("name", "options", "text"), [*BAD, *OURS_ALONE], ids=str)
def test_bad_hyperparameters(name: str, options: dict[str, Any], text: str) -> None:
    params = parameters(distgrad)
    with pytest.raises(ValueError, match=text):
        getattr(optim, name)(params, **options)
    if "nesterov" in options:
        return
    with pytest.raises(ValueError, match=text):
        getattr(optim, name)([{"params": params, **options}])


@pytest.mark.torch
@pytest.mark.parametrize(("name", "options", "text"), BAD, ids=str)
def test_pytorch_refuses_them_likewise(name: str, options: dict[str, Any], text: str) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError):
        getattr(torch.optim, name)(parameters(torch), **options)


@each
def test_every_number_among_the_hyperparameters_is_checked(name: str) -> None:
    defaults = getattr(optim, name)(parameters(distgrad)).defaults
    for option, value in defaults.items():
        if isinstance(value, (float, int)) and not isinstance(value, bool):
            with pytest.raises(ValueError, match="nan"):
                getattr(optim, name)(parameters(distgrad), **{option: float("nan")})
        if isinstance(value, tuple):
            with pytest.raises(ValueError, match="nan"):
                getattr(optim, name)(parameters(distgrad), **{option: (value[0], float("nan"))})


def test_tensors_of_several_elements_and_ways_that_exclude_each_other() -> None:
    params = parameters(distgrad)
    with pytest.raises(ValueError, match="a Tensor of 2 elements; it must be 1-element"):
        optim.Adam(params, lr=distgrad.ones(2))
    with pytest.raises(RuntimeError, match="fused=True does not go together"):
        optim.Adam(params, fused=True, foreach=True)
