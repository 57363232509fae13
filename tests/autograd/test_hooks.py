"""Hooks on tensors and leaves: order, once, complete; retain_grad, detach, is_leaf, names of nodes."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import distgrad
from distgrad import nn
from distgrad.autograd import grad


def leaf(*values: float) -> Any:
    return distgrad.tensor(list(values), dtype=distgrad.float64, requires_grad=True)


def test_tensor_hooks_run_in_order_and_replace_the_gradient() -> None:
    x = leaf(1.0)
    seen = []
    y = x * 2
    y.register_hook(lambda g: seen.append(("first", g.item())))
    y.register_hook(lambda g: g * 10)
    y.register_hook(lambda g: seen.append(("third", g.item())))
    x.register_hook(lambda g: seen.append(("leaf", g.item())))
    (y * 3).sum().backward()
    assert seen == [("first", 3.0), ("third", 30.0), ("leaf", 60.0)]
    assert x.grad.item() == 60.0


def test_removing_hooks() -> None:
    x = leaf(1.0)
    calls = []
    handle = x.register_hook(lambda g: calls.append(1))
    with x.register_hook(lambda g: calls.append(2)):
        x.sum().backward()
    handle.remove()
    handle.remove()
    x.sum().backward()
    assert calls == [1, 2]


def test_wrong_hooks_and_results() -> None:
    with pytest.raises(RuntimeError, match="cannot register a hook on a tensor that doesn't require gradient"):
        distgrad.ones(1).register_hook(print)
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(RuntimeError, match="hook has changed the size"):
        x.sum().backward()
    y = leaf(1.0)
    y.register_hook(lambda g: 1.0)
    with pytest.raises(TypeError, match="must return a Tensor or None, got float"):
        y.sum().backward()


def test_post_accumulate_hooks_see_the_complete_gradient_once_each_in_a_fixed_order() -> None:
    def order() -> list[Any]:
        a, b, c = leaf(1.0), leaf(2.0), leaf(3.0)
        calls: list[Any] = []
        for name, p in (("a", a), ("b", b), ("c", c)):
            p.register_post_accumulate_grad_hook(lambda p, name=name: calls.append((name, p.grad.item())))
        (a * b + b * c + a * a).sum().backward()
        return calls

    first = order()
    assert sorted(first) == [("a", 4.0), ("b", 4.0), ("c", 2.0)]
    assert all(order() == first for _ in range(5))


def test_post_accumulate_hooks_may_free_the_gradient() -> None:
    x = leaf(1.0)

    def hook(p: Any) -> None:
        p.grad = None

    x.register_post_accumulate_grad_hook(hook)
    x.sum().backward()
    assert x.grad is None
    with pytest.raises(RuntimeError, match="post accumulate grad hooks cannot be registered on non-leaf tensors"):
        (x * 1).register_post_accumulate_grad_hook(hook)


def test_autograd_grad_runs_tensor_hooks_but_not_accumulation_hooks() -> None:
    x = leaf(1.0)
    x.register_hook(lambda g: g * 2)
    x.register_post_accumulate_grad_hook(lambda p: pytest.fail("nothing was accumulated"))
    assert grad(x.sum(), x)[0].item() == 2.0


def test_retain_grad_keeps_what_the_hooks_left() -> None:
    x = leaf(1.0)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 10)
    assert y.retains_grad
    (y * 3).sum().backward()
    assert y.grad.item() == 30.0
    x.retain_grad()  # does nothing to a leaf
    assert not x.retains_grad
    with pytest.raises(RuntimeError, match="requires_grad=False"):
        distgrad.ones(1).retain_grad()


def test_hooks_differentiate_under_create_graph() -> None:
    x = leaf(2.0)
    y = x * x
    handle = y.register_hook(lambda g: g * g)
    (g,) = grad((y * y).sum(), x, create_graph=True)  # (2 y)² 2 x = 8 x⁵
    assert g.item() == 256.0
    handle.remove()
    assert grad(g.sum(), x)[0].item() == 40 * 2.0**4


def test_leaves_detached_tensors_and_history() -> None:
    x = leaf(1.0)
    y = x * 2
    assert (x.is_leaf, y.is_leaf, distgrad.ones(1).is_leaf, (distgrad.ones(1) * 2).is_leaf) == (True, False, True, True)
    d = y.detach()
    assert (d.requires_grad, d.is_leaf, d.grad_fn, d.data_ptr()) == (False, True, None, y.data_ptr())
    assert y.detach_() is y
    assert y.is_leaf
    frozen = leaf(1.0).requires_grad_(False)
    assert not (frozen * 2).requires_grad
    assert (frozen.requires_grad_() * 2).requires_grad


def test_next_functions_walk_to_the_leaves() -> None:
    x = leaf(1.0)
    node = (x * 2 + 1).grad_fn
    assert node.name() == "AddBackward0"
    (mul, _), (none, _) = node.next_functions
    assert (mul.name(), none) == ("MulBackward0", None)
    assert mul.next_functions[0][0].variable is x


def test_deepcopy_of_leaves_alone() -> None:
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    assert (y.tolist(), y.grad.tolist(), y.requires_grad, y.data_ptr() == x.data_ptr()) == (
        [1.0, 2.0],
        [2.0, 4.0],
        True,
        False,
    )
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(x * 1)


NAMES = {
    "MulBackward0": lambda t, x: x * x,
    "AddBackward0": lambda t, x: x + 1,
    "SubBackward0": lambda t, x: x - x,
    "RsubBackward1": lambda t, x: 1 - x,
    "DivBackward0": lambda t, x: x / 2,
    "NegBackward0": lambda t, x: -x,
    "PowBackward0": lambda t, x: x**2,
    "PowBackward1": lambda t, x: x**x,
    "ExpBackward0": lambda t, x: x.exp(),
    "LogBackward0": lambda t, x: x.log(),
    "SqrtBackward0": lambda t, x: x.sqrt(),
    "AbsBackward0": lambda t, x: x.abs(),
    "TanhBackward0": lambda t, x: x.tanh(),
    "SigmoidBackward0": lambda t, x: x.sigmoid(),
    "ReluBackward0": lambda t, x: x.relu(),
    "SumBackward0": lambda t, x: x.sum(),
    "SumBackward1": lambda t, x: x.sum(1),
    "MeanBackward0": lambda t, x: x.mean(),
    "MeanBackward1": lambda t, x: x.mean(0),
    "MaxBackward1": lambda t, x: x.max(),
    "MaxBackward0": lambda t, x: x.max(0).values,
    "ProdBackward0": lambda t, x: x.prod(),
    "VarBackward0": lambda t, x: x.var(),
    "StdBackward0": lambda t, x: x.std(),
    "MmBackward0": lambda t, x: x @ x,
    "MvBackward0": lambda t, x: x @ x[0],
    "DotBackward0": lambda t, x: x[0] @ x[0],
    "AddmmBackward0": lambda t, x: nn_of(t).functional.linear(x, x, x[0]),
    "SelectBackward0": lambda t, x: x[0],
    "SliceBackward0": lambda t, x: x[0:1],
    "IndexBackward0": lambda t, x: x[[0, 0]],
    "ViewBackward0": lambda t, x: x.view(4),
    "TBackward0": lambda t, x: x.t(),
    "PermuteBackward0": lambda t, x: x.permute(1, 0),
    "TransposeBackward0": lambda t, x: x.transpose(0, 1),
    "ExpandBackward0": lambda t, x: x.expand(3, 2, 2),
    "UnsqueezeBackward0": lambda t, x: x.unsqueeze(0),
    "SqueezeBackward0": lambda t, x: x[None].squeeze(),
    "CatBackward0": lambda t, x: t.cat([x, x]),
    "StackBackward0": lambda t, x: t.stack([x, x]),
    "UnbindBackward0": lambda t, x: x.unbind()[0],
    "SplitBackward0": lambda t, x: x.split(1)[0],
    "CloneBackward0": lambda t, x: x.clone(),
    "WhereBackward0": lambda t, x: t.where(x > 0, x, 0.0),
    "ClampBackward1": lambda t, x: x.clamp(0, 1),
    "SoftmaxBackward0": lambda t, x: x.softmax(0),
    "LogSoftmaxBackward0": lambda t, x: x.log_softmax(0),
    "MseLossBackward0": lambda t, x: nn_of(t).functional.mse_loss(x, x),
    "NllLossBackward0": lambda t, x: nn_of(t).functional.cross_entropy(x, t.tensor([0, 1])),
    "BinaryCrossEntropyWithLogitsBackward0": lambda t, x: nn_of(t).functional.binary_cross_entropy_with_logits(x, x),
    "ToCopyBackward0": lambda t, x: x.float(),
    "CopySlices": lambda t, x: written(x * 1),
}


def nn_of(t: Any) -> Any:
    return nn if t is distgrad else t.nn


def written(x: Any) -> Any:
    x[0] = 1.0
    return x


@pytest.mark.parametrize("name", NAMES)
def test_nodes_print_pytorchs_names(name: str) -> None:
    x = distgrad.tensor([[0.2, 0.3], [0.4, 0.5]], dtype=distgrad.float64, requires_grad=True)
    out = NAMES[name](distgrad, x)
    assert out.grad_fn.name() == name
    assert repr(out).endswith(f"grad_fn=<{name}>)")


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
def test_these_are_the_names(name: str) -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor([[0.2, 0.3], [0.4, 0.5]], dtype=torch.float64, requires_grad=True)
    assert type(NAMES[name](torch, x).grad_fn).__name__ == name
