"""What is no argument of a function is refused by name, in PyTorch's class; what PyTorch takes is taken."""

from __future__ import annotations

import importlib
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import optim
from tests.helpers.hostile import BY_NAME, REFUSED, TAKEN


def tried(call: Any, library: str = "distgrad") -> Any:
    t = importlib.import_module(library)
    names: dict[str, Any] = {
        "t": t,
        "np": np,
        "F": importlib.import_module(library + ".nn.functional"),
        "nn": importlib.import_module(library + ".nn"),
        "optim": importlib.import_module(library + ".optim"),
        "S": importlib.import_module(library + ".optim.lr_scheduler"),
        "data": importlib.import_module(library + ".utils.data"),
        "x": t.ones(2, 3),
        "b": t.ones(2, 3, dtype=t.bool),
        "v": t.ones(3),
        "p": t.ones(2, requires_grad=True),
        "masked": np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False]),
    }
    names["o"] = names["optim"].SGD([t.ones(2, requires_grad=True)], lr=0.1, momentum=0.9)
    return call(SimpleNamespace(**names))


@pytest.mark.parametrize(("name", "call", "error", "text"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_pytorch_refuses_is_refused_by_name(name: str, call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(Exception) as found:
        tried(call)
    assert type(found.value) is error
    assert text in str(found.value)


@pytest.mark.torch
@pytest.mark.parametrize(("name", "call", "error", "text"), REFUSED, ids=[row[0] for row in REFUSED])
def test_pytorch_refuses_it_too_in_the_same_class(name: str, call: Any, error: type[Exception], text: str) -> None:
    pytest.importorskip("torch")
    with pytest.raises(error):
        tried(call, "torch")


@pytest.mark.parametrize(("name", "call", "error", "text"), BY_NAME, ids=[row[0] for row in BY_NAME])
def test_what_pytorch_takes_in_silence_or_refuses_unclearly_is_named(
    name: str, call: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=re.escape(text).replace(r"\.\*", ".*")):
        tried(call)


@pytest.mark.parametrize(("name", "call", "value"), TAKEN, ids=[row[0] for row in TAKEN])
def test_what_pytorch_takes_is_taken(name: str, call: Any, value: Any) -> None:
    found = tried(call)
    assert found == value if not isinstance(value, list) else np.allclose(found, value)


@pytest.mark.torch
@pytest.mark.parametrize(("name", "call", "value"), TAKEN, ids=[row[0] for row in TAKEN])
def test_pytorch_takes_it_with_the_same_result(name: str, call: Any, value: Any) -> None:
    pytest.importorskip("torch")
    found = tried(call, "torch")
    assert found == value if not isinstance(value, list) else np.allclose(found, value)


def test_pythons_operators_take_numpys_arrays_beside_tensors() -> None:
    v, array = distgrad.ones(3), np.full(3, 2.0)
    for found in (v * array, array * v, v + array, v @ np.ones(3, "f"), v == array / 2):
        assert isinstance(found, distgrad.Tensor)
    assert (v * array).dtype == distgrad.float64


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adagrad", "NAdam"])
@pytest.mark.parametrize(
    ("value", "error"),
    [(float("nan"), ValueError), (float("inf"), ValueError), (-1.0, ValueError), (None, TypeError), ("a", TypeError),
     (distgrad.ones(2), ValueError), (np.ones(2), TypeError), ([], TypeError)],
)  # fmt: skip
def test_a_learning_rate_set_later_is_refused_at_the_next_step(name: str, value: Any, error: Any) -> None:
    p = distgrad.ones(3, requires_grad=True)
    optimizer = getattr(optim, name)([p], lr=0.1)
    p.grad = distgrad.ones(3)
    optimizer.step()
    before = p.tolist()
    optimizer.param_groups[0]["lr"] = value
    with pytest.raises(error, match="Invalid learning rate"):
        optimizer.step()
    assert p.tolist() == before
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()
    assert p.tolist() != before


def test_the_digest_of_a_nan_is_the_same_for_each() -> None:
    from distgrad.optim.update.calling import _stable

    assert _stable(float("nan")) == _stable(float("nan"))


@pytest.mark.parametrize(("from_", "to"), [("Adam", "SGD"), ("SGD", "Adam"), ("Adam", "RMSprop"), ("Adam", "Adamax")])
def test_another_optimizers_state_is_refused(from_: str, to: str) -> None:
    p = distgrad.ones(3, requires_grad=True)
    p.grad = distgrad.ones(3)
    one, other = getattr(optim, from_)([p], lr=0.1), getattr(optim, to)([p], lr=0.1)
    one.step()
    with pytest.raises(ValueError, match=f"loaded state dict is not one of {to}"):
        other.load_state_dict(one.state_dict())


def test_a_state_dict_without_its_parts_names_what_is_missing() -> None:
    optimizer = optim.SGD([distgrad.ones(3, requires_grad=True)], lr=0.1)
    with pytest.raises(KeyError, match="loaded state dict has no 'param_groups'"):
        optimizer.load_state_dict({"state": {}})
    with pytest.raises(TypeError, match="expected a state dict"):
        optimizer.load_state_dict("a")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "write",
    [lambda t: t.add_(1), lambda t: t.zero_(), lambda t: t.__setitem__(0, 1.0), lambda t: t.copy_(t + 1)],
)
def test_writing_to_read_only_memory_is_an_error_that_says_so(write: Any) -> None:
    array = np.ones(3)
    array.flags.writeable = False
    with pytest.warns(UserWarning, match="NumPy array is not writable"):
        t = distgrad.from_numpy(array)
    with pytest.raises(RuntimeError, match="memory is read-only"):
        write(t)
    assert array.tolist() == [1.0, 1.0, 1.0]
    write(t.clone())
