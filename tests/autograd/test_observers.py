"""What users may do with every operation as it is recorded: hooks for saved tensors, the search for anomalies."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad as dg
from distgrad.autograd import recording
from distgrad.autograd.graph import Node, register_multi_grad_hook, save_on_cpu, saved_tensors_hooks


class Square(dg.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = x * x
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, y = ctx.saved_tensors
        return 2 * x * g + 0 * y


class Bad(Square):
    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        raise ValueError("bad")


def leaves() -> tuple[Any, Any]:
    x = dg.tensor([0.3, 0.7, 1.2], dtype=dg.float64, requires_grad=True)
    return x, dg.tensor(np.arange(9.0).reshape(3, 3) / 9, requires_grad=True)


def everything(x: Any, w: Any) -> Any:
    """One number by operations recorded in every way that there is: unary, binary, general, fused, split, written."""
    h = dg.tanh(w @ x) * x
    h = dg.nn.functional.linear(h[None], w).exp()
    loss = dg.nn.functional.mse_loss(h, dg.zeros(1, 3, dtype=dg.float64))
    a, b = dg.split(h[0], [1, 2])
    part = (h * 1.0)[:, 1:]
    part.mul_(x[1:])
    return loss + a.sum() * b.prod() + dg.softmax(h, 1)[0, 1] + Square.apply(x).sum() + part.sum()


def derivatives(make: Callable[[Any, Any], Any]) -> list[np.ndarray]:
    x, w = leaves()
    first = dg.autograd.grad(make(x, w), [x, w], create_graph=True)
    second = dg.autograd.grad(first[0].sum() + first[1].sum(), [x, w])
    return [t.detach().numpy() for t in (*first, *second)]


def test_what_is_packed_is_unpacked_for_first_and_second_derivatives() -> None:
    shapes = []

    def pack(t: Any) -> Any:
        assert not dg.is_grad_enabled()
        shapes.append(tuple(t.shape))
        return t.detach().numpy().tobytes(), t.dtype.np, tuple(t.shape)

    def unpack(kept: Any) -> Any:
        return dg.tensor(np.frombuffer(kept[0], kept[1]).reshape(kept[2]).copy())

    def hooked(x: Any, w: Any) -> Any:
        with saved_tensors_hooks(pack, unpack):
            return everything(x, w)

    for got, want in zip(derivatives(hooked), derivatives(everything), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13)
    assert {(3,), (3, 3), (1, 3)} <= set(shapes)


def test_everything_is_as_before_behind_the_hooks() -> None:
    with pytest.raises(KeyError), save_on_cpu():
        raise KeyError
    assert len(recording.makers) == 3
    for names in recording.makers:
        assert names["new"] is object.__new__
    assert type((leaves()[0] * 2).grad_fn) is Node


def test_hooks_nest_and_are_of_one_thread() -> None:
    outer, inner = [], []
    x, _ = leaves()
    with saved_tensors_hooks(lambda t: outer.append(t) or t, lambda t: t):
        with saved_tensors_hooks(lambda t: inner.append(t) or t, lambda t: t):
            y = x.sin()
        z = y.cos()
        other = threading.Thread(target=lambda: x.exp())
        other.start()
        other.join()
    z.sum().backward()
    assert (len(outer), len(inner)) == (1, 1)
    values = x.detach().numpy()
    np.testing.assert_allclose(x.grad.numpy(), -np.sin(np.sin(values)) * np.cos(values))


def test_a_graph_is_freed_once() -> None:
    x, _ = leaves()
    with save_on_cpu():
        y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_what_unpacking_must_return() -> None:
    x, _ = leaves()
    with saved_tensors_hooks(lambda t: 3, lambda kept: kept):
        y = x * x
    with pytest.raises(TypeError, match="expected to be a Tensor but got result of type int"):
        y.sum().backward()
    with dg.autograd.graph.disable_saved_tensors_hooks("not here"), pytest.raises(RuntimeError, match="not here"):
        save_on_cpu().__enter__()


def test_nan_is_found_with_its_forward_call() -> None:
    x = dg.tensor([-1.0], requires_grad=True)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with dg.autograd.detect_anomaly():
            y = dg.sqrt(x)
            with pytest.raises(RuntimeError, match=r"SqrtBackward0.*nan.*0th"):
                y.backward()
    assert "y = dg.sqrt(x)" in str(told[-1].message)
    assert not dg.is_anomaly_enabled()
    dg.sqrt(x).backward()  # as before


def test_nan_is_found_where_only_the_backward_pass_is_watched() -> None:
    x = dg.tensor([-1.0], requires_grad=True)
    y = dg.sqrt(x)
    with (
        pytest.warns(UserWarning, match="No forward pass information"),
        pytest.raises(RuntimeError, match="returned nan values"),
        dg.autograd.set_detect_anomaly(True),
    ):
        y.backward()


def test_an_error_is_shown_with_its_forward_call_and_nan_may_be_right() -> None:
    x, _ = leaves()
    with pytest.warns(UserWarning, match=r"Error detected in BadBackward(.|\n)*Bad\.apply\(x\)"):  # noqa: SIM117
        with dg.autograd.set_detect_anomaly(True, check_nan=False), pytest.raises(ValueError, match="bad"):
            Bad.apply(x).sum().backward()
    y = dg.tensor([-1.0], requires_grad=True)
    with dg.autograd.set_detect_anomaly(True, check_nan=False):
        dg.sqrt(y).backward()
    assert np.isnan(y.grad.numpy()).all()


def test_one_hook_for_several_gradients() -> None:
    x, y, z = (dg.tensor([1.0], requires_grad=True) for _ in range(3))
    every, first = [], []
    handle = register_multi_grad_hook((x, y, z), lambda grads: every.append([g and g.item() for g in grads]))
    register_multi_grad_hook((x, y, z), lambda grad: first.append(grad.item()), mode="any")
    (2 * x + 3 * y).backward()
    (2 * x + 3 * y + z).backward()
    with pytest.raises(ValueError, match="bad"):
        (Bad.apply(x) + 5 * y).backward()
    (7 * z).backward()
    assert [every[0], every[1], every[-1]] == [[2.0, 3.0, None], [2.0, 3.0, 1.0], [None, None, 7.0]]
    assert len(first) == 4
    handle.remove()
    (7 * z).backward()
    assert len(every) == 3
    with pytest.raises(ValueError, match="Expects mode"):
        register_multi_grad_hook((x,), print, mode="some")
