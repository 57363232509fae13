"""Parts that are computed again: the same gradients, less that is kept, and an error where they do not do the same."""

from __future__ import annotations

import warnings
import weakref
from typing import Any

import numpy as np
import pytest

import distgrad as dg
from distgrad import nn
from distgrad.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential, set_checkpoint_early_stop


def layers() -> nn.Sequential:
    dg.manual_seed(0)
    return nn.Sequential(*[part for _ in range(4) for part in (nn.Linear(4, 4, dtype=dg.float64), nn.Tanh())])


def leaf() -> Any:
    return dg.tensor(np.arange(8.0).reshape(2, 4) / 8, requires_grad=True)


def gradients(run: Any) -> list[np.ndarray]:
    model, x = layers(), leaf()
    run(model, x).sum().backward()
    return [x.grad.numpy(), *[p.grad.numpy() for p in model.parameters()]]


WHOLE = gradients(lambda model, x: model(x))


@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize("reentrant", [True, False, None])
def test_the_same_gradients(reentrant: bool | None, early_stop: bool) -> None:
    def run(model: Any, x: Any) -> Any:
        return model[4:](checkpoint(model[:4], x, use_reentrant=reentrant, early_stop=early_stop))

    for got, want in zip(gradients(run), WHOLE, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("segments", [1, 2, 3])
def test_a_sequence_in_parts(segments: int) -> None:
    def run(model: Any, x: Any) -> Any:
        return checkpoint_sequential(model, segments, x, use_reentrant=False)

    for got, want in zip(gradients(run), WHOLE, strict=True):
        np.testing.assert_array_equal(got, want)


def test_nothing_is_kept_and_all_is_forgotten() -> None:
    kept: list[Any] = []

    def part(x: Any) -> Any:
        middle = x.exp()
        kept.append(weakref.ref(middle._data))
        return middle.sin()

    x = leaf()
    y = checkpoint(part, x, use_reentrant=False).sum()
    assert kept[0]() is None
    y.backward(retain_graph=True)
    assert kept[1]() is None
    y.backward()
    assert len(kept) == 3
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.cos(np.exp(x.detach().numpy())) * np.exp(x.detach().numpy()))
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_parts_in_parts_and_second_derivatives() -> None:
    x = leaf()
    values = x.detach().numpy()

    def outer(x: Any) -> Any:
        return checkpoint(lambda z: z.sin().exp(), x, use_reentrant=False).cos()

    checkpoint(outer, x, use_reentrant=False).sum().backward()
    inner = np.exp(np.sin(values))
    np.testing.assert_allclose(x.grad.numpy(), -np.sin(inner) * inner * np.cos(values))
    x.grad = None
    (first,) = dg.autograd.grad(checkpoint(lambda z: z**3, x, use_reentrant=False).sum(), x, create_graph=True)
    first.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * values)


def test_the_same_random_numbers() -> None:
    drop = nn.Dropout(0.5)
    x = leaf()
    y = checkpoint(lambda x: drop(x) * x, x, use_reentrant=False)
    after = dg.rand(3)
    y.sum().backward()
    assert not dg.equal(dg.rand(3), after)
    np.testing.assert_allclose(x.grad.numpy(), np.where(y.detach().numpy() != 0, 4 * x.detach().numpy(), 0))


def test_a_part_that_does_something_else_is_an_error() -> None:
    calls = []

    def other_shape(x: Any) -> Any:
        calls.append(1)
        return (x if len(calls) == 1 else x[:1]).exp().exp()

    def fewer(x: Any) -> Any:
        calls.append(1)
        return x.exp().exp() if len(calls) == 1 else x.exp()

    y = checkpoint(other_shape, leaf(), use_reentrant=False).sum()
    with pytest.raises(CheckpointError, match="different metadata"):
        y.backward()
    calls.clear()
    z = checkpoint(fewer, leaf(), use_reentrant=False).sum()
    with pytest.raises(CheckpointError, match="different number of tensors"):
        z.backward()


def test_options() -> None:
    x = leaf()
    with dg.no_grad():
        assert not checkpoint(dg.exp, x, use_reentrant=False).requires_grad
    with pytest.raises(ValueError, match="determinism_check"):
        checkpoint(dg.exp, x, use_reentrant=False, determinism_check="some")
    with pytest.warns(UserWarning, match="None of the inputs"):
        checkpoint(dg.exp, x.detach(), use_reentrant=True)
    with set_checkpoint_early_stop(False), warnings.catch_warnings():
        warnings.simplefilter("error")
        checkpoint(lambda x, power: x**power, x, use_reentrant=False, power=2).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.detach().numpy())
