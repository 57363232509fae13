"""Functions around a module's forward and backward."""

from __future__ import annotations

from typing import Any

import pytest

import distgrad
from distgrad import nn


class Scale(nn.Module):
    """k x + y."""

    def forward(self, x: Any, y: Any = 0.0, *, k: float = 2.0) -> Any:
        return x * k + y


def test_forward_hooks_see_and_replace() -> None:
    layer = Scale()
    seen: list[Any] = []
    pre = layer.register_forward_pre_hook(lambda m, args: (args[0] + 1,))
    post = layer.register_forward_hook(lambda m, args, out: seen.append((m, args[0].item(), out.item())))
    assert layer(distgrad.tensor(3.0)).item() == 8.0
    assert seen == [(layer, 4.0, 8.0)]
    with layer.register_forward_hook(lambda m, args, out: -out):
        assert layer(distgrad.tensor(3.0)).item() == -8.0
    pre.remove()
    pre.remove()
    post.remove()
    assert layer(distgrad.tensor(3.0)).item() == 6.0
    assert len(seen) == 2


def test_hooks_with_keyword_arguments_and_order() -> None:
    layer = Scale()
    order: list[str] = []
    layer.register_forward_pre_hook(lambda m, args: order.append("second"))
    layer.register_forward_pre_hook(lambda m, args: order.append("first"), prepend=True)
    layer.register_forward_pre_hook(lambda m, args, kwargs: (args, {"k": 10.0}), with_kwargs=True)
    layer.register_forward_hook(lambda m, args, kwargs, out: out + kwargs["k"], with_kwargs=True)
    assert layer(distgrad.tensor(3.0), k=5.0).item() == 40.0
    assert order == ["first", "second"]
    layer.register_forward_pre_hook(lambda m, args, kwargs: args, with_kwargs=True)
    with pytest.raises(RuntimeError, match=r"must return None or a tuple of \(new_args, new_kwargs\), but got tuple"):
        layer(distgrad.tensor(3.0))


def test_backward_hooks_see_both_gradients() -> None:
    layer = Scale()
    seen: list[Any] = []
    layer.register_full_backward_pre_hook(lambda m, grad_output: seen.append(("pre", grad_output[0].tolist())))

    def note(module: nn.Module, grad_input: Any, grad_output: Any) -> None:
        seen.append(([None if g is None else g.tolist() for g in grad_input], grad_output[0].tolist()))

    layer.register_full_backward_hook(note)
    x = distgrad.ones(2, requires_grad=True)
    y = distgrad.ones(2)
    (layer(x, y) * distgrad.tensor([1.0, 3.0])).sum().backward()
    assert seen == [("pre", [1.0, 3.0]), ([[2.0, 6.0], None], [1.0, 3.0])]
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 6.0]


def test_backward_hooks_replace() -> None:
    layer = nn.Linear(2, 1)
    layer.register_full_backward_pre_hook(lambda m, grad_output: (grad_output[0] * 10,))
    layer.register_full_backward_hook(lambda m, gi, go: (gi[0] * 0,))
    x = distgrad.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 0.0]]
    assert layer.weight.grad.tolist() == [[10.0, 10.0]]


def test_backward_hook_of_a_first_layer_whose_input_needs_no_gradient() -> None:
    layer = nn.Linear(2, 1)
    seen: list[Any] = []
    handle = layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].tolist())))
    layer(distgrad.ones(1, 2)).sum().backward()
    assert seen == [((None,), [[1.0]])]
    handle.remove()
    layer(distgrad.ones(1, 2)).sum().backward()
    assert len(seen) == 1


def test_backward_hooks_with_several_outputs_and_second_derivatives() -> None:
    class Two(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * x, 3, x * x * x

    layer = Two()
    seen: list[Any] = []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append([None if g is None else g.item() for g in go]))
    x = distgrad.tensor(2.0, requires_grad=True)
    a, three, b = layer(x)
    assert three == 3
    (g,) = distgrad.autograd.grad(a + b, x, create_graph=True)
    assert g.item() == 2 * 2 + 3 * 4
    assert seen == [[1.0, None, 1.0]]
    (second,) = distgrad.autograd.grad(g, x)
    assert second.item() == 2 + 6 * 2


def test_a_hook_that_returns_too_many_gradients() -> None:
    layer = Scale()
    layer.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0]))
    with pytest.raises(RuntimeError, match="incorrect number of gradients: 2, but it was given 1"):
        layer(distgrad.ones(1, requires_grad=True)).backward()
