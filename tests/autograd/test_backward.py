"""backward() and autograd.grad(): accumulation, freed graphs, arguments, errors, depth, memory, threads."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad.autograd import grad


def leaf(*values: float) -> Any:
    return distgrad.tensor(list(values), dtype=distgrad.float64, requires_grad=True)


def test_gradients_accumulate() -> None:
    x = leaf(1.0, 2.0)
    for n in (1, 2, 3):
        (x * x).sum().backward()
        assert x.grad.tolist() == [2.0 * n, 4.0 * n]


def test_a_tensor_used_many_times_gets_all_its_gradients_at_once() -> None:
    x = leaf(3.0)
    calls = []
    x.register_post_accumulate_grad_hook(lambda p: calls.append(p.grad.item()))
    y = x * x
    (y + x * y + x).sum().backward()
    assert calls == [2 * 3.0 + 3 * 9.0 + 1]


def test_backward_twice_needs_retain_graph() -> None:
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [8.0]
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()


def test_a_freed_part_shared_by_two_graphs_is_an_error() -> None:
    x = leaf(2.0)
    shared = x.exp()
    (shared * 2).sum().backward()
    with pytest.raises(RuntimeError, match="a second time"):
        (shared * 3).sum().backward()


def test_what_saved_nothing_may_run_again() -> None:
    x = leaf(2.0)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [2.0]


def test_starting_gradients() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        (x * 2).backward()
    (x * 2).backward(distgrad.tensor([1.0, 10.0], dtype=distgrad.float64))
    assert x.grad.tolist() == [2.0, 20.0]
    with pytest.raises(RuntimeError, match=r"Mismatch in shape: grad_output has a shape of torch.Size\(\[3\]\).*\[2\]"):
        (x * 2).backward(distgrad.ones(3))
    with pytest.raises(TypeError, match="gradients can be either Tensors or None, but got list"):
        (x * 2).backward([[1.0, 1.0]])
    z = distgrad.ones(1, dtype=distgrad.complex128, requires_grad=True)
    with pytest.raises(RuntimeError, match="only for real scalar outputs"):
        (z * 2).backward()


def test_nothing_to_differentiate() -> None:
    with pytest.raises(RuntimeError, match="does not require grad and does not have a grad_fn"):
        distgrad.ones(1).backward()
    with pytest.raises(RuntimeError, match="only Tensors of floating point and complex dtype can require gradients"):
        distgrad.ones(1, dtype=distgrad.int64).requires_grad_()
    with pytest.raises(RuntimeError, match="only Tensors of floating point and complex dtype can require gradients"):
        distgrad.tensor([1], requires_grad=True)
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf variables"):
        (x * 2).requires_grad = False


def test_several_roots() -> None:
    x = leaf(1.0, 2.0)
    distgrad.autograd.backward([x.sum(), x * 3], [None, distgrad.ones(2, dtype=distgrad.float64)])
    assert x.grad.tolist() == [4.0, 4.0]


def test_a_root_above_another_root() -> None:
    x = leaf(2.0)
    y = x * x
    z = y * 3
    distgrad.autograd.backward([y, z])
    assert x.grad.tolist() == [4.0 + 12.0]


def test_inputs_restricts_accumulation() -> None:
    x, y = leaf(2.0), leaf(3.0)
    mid = x * y
    (mid * y).sum().backward(inputs=[x, mid])
    assert (x.grad.tolist(), mid.grad.tolist(), y.grad) == ([9.0], [3.0], None)
    with pytest.raises(RuntimeError, match="cannot be empty"):
        (x * 1).sum().backward(inputs=[])


def test_grad_of_leaves_and_others() -> None:
    x, y = leaf(2.0), leaf(3.0)
    mid = x * y
    out = (mid * mid).sum()
    gx, gm = grad(out, [x, mid], retain_graph=True)
    assert (gx.tolist(), gm.tolist()) == ([36.0], [12.0])
    assert x.grad is None
    assert not gx.requires_grad
    assert grad(out, x, distgrad.tensor(2.0, dtype=distgrad.float64))[0].tolist() == [72.0]
    with pytest.raises(RuntimeError, match="a second time"):
        grad(out, x)


def test_grad_of_what_was_not_used() -> None:
    x, unused = leaf(1.0), leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
        grad((x * 1).sum(), [x, unused])
    assert grad((x * 1).sum(), [x, unused], allow_unused=True)[1] is None
    assert grad((x * 1).sum(), [x, unused], materialize_grads=True)[1].tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="materialize_grads"):
        grad(x.sum(), x, allow_unused=False, materialize_grads=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        grad(x.sum(), distgrad.ones(1))
    with pytest.raises(ValueError, match="non-empty inputs"):
        grad(x.sum(), [])


def test_grad_of_an_output_by_itself() -> None:
    x = leaf(2.0)
    y = x * 3
    assert grad(y, y)[0].tolist() == [1.0]


def test_higher_derivatives() -> None:
    x = leaf(2.0)
    found, g = [], (x**5).sum()
    for _ in range(5):
        (g,) = grad(g.sum(), x, create_graph=True)
        found.append(g.item())
    assert found == [80.0, 160.0, 240.0, 240.0, 120.0]


def test_create_graph_in_backward_records_the_gradient() -> None:
    x = leaf(3.0)
    (x**3).sum().backward(create_graph=True)
    assert x.grad.requires_grad
    (second,) = grad(x.grad.sum(), x)
    assert second.item() == 18.0


def test_the_published_higher_derivative() -> None:
    x, y = (distgrad.tensor(v, requires_grad=True) for v in (2.0, 3.0))
    z = x * x * y
    (first,) = grad(z, x, create_graph=True)
    assert first.item() == 12.0
    assert grad(first, x)[0].item() == 6.0


def test_one_output_of_several_used() -> None:
    x = leaf(1.0, 2.0, 3.0)
    _, b, _ = x.unbind()
    (b * 10).backward()
    assert x.grad.tolist() == [0.0, 10.0, 0.0]


def test_the_same_input_twice_in_a_fused_operation() -> None:
    x = distgrad.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=distgrad.float64, requires_grad=True)
    out = distgrad.nn.functional.linear(x, x).sum()
    quick = grad(out, x, retain_graph=True)[0]
    slow = grad(out, x, create_graph=True)[0]
    np.testing.assert_allclose(quick.numpy(), slow.numpy(force=True))
    np.testing.assert_allclose(quick.numpy(), 2 * np.array([[4.0, 6.0]] * 2))


# --- depth, memory, threads ---

DEPTH = 50_000


@pytest.mark.parametrize("differentiate", [True, False])
def test_a_deep_graph_neither_recurses_in_backward_nor_in_its_end(differentiate: bool) -> None:
    x = distgrad.ones(1, requires_grad=True)
    y = x
    for _ in range(2 * DEPTH if not differentiate else DEPTH):
        y = y * 1.0
    if differentiate:
        y.backward()
        assert x.grad.item() == 1.0
    del y  # freeing 100 000 nodes by reference counts must not overflow the C stack


def test_a_deep_graph_of_views_and_of_many_outputs_ends_well() -> None:
    x = distgrad.ones(4, requires_grad=True)
    y = x
    for _ in range(10_000):
        y = distgrad.cat([y[2:], y[:2]])
    y.sum().backward()
    assert x.grad.tolist() == [1.0] * 4


@pytest.fixture
def no_collector() -> Any:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_training_step_leaves_nothing_to_the_collector(no_collector: None) -> None:
    model = distgrad.nn.Sequential(distgrad.nn.Linear(3, 4), distgrad.nn.Tanh(), distgrad.nn.Linear(4, 2))
    optimizer = distgrad.optim.Adam(model.parameters())
    x, y = distgrad.randn(5, 3), distgrad.tensor([0, 1, 0, 1, 1])

    def step() -> Any:
        optimizer.zero_grad()
        hidden = model(x)
        a, b = hidden.unbind(1)
        hidden = hidden + (a * b)[:, None]
        hidden[0] = 1.0
        loss = distgrad.nn.functional.cross_entropy(hidden, y)
        loss.backward()
        optimizer.step()
        return weakref.ref(hidden)

    step()
    gc.collect()
    dead = step()
    assert dead() is None
    assert gc.collect() == 0


def test_create_graph_leaves_nothing_to_the_collector(no_collector: None) -> None:
    x = leaf(1.0, 2.0)
    (g,) = grad((x.exp() * x.sigmoid()).sum(), x, create_graph=True)
    (h,) = grad(g.sum(), x)
    del g, h
    assert gc.collect() == 0


def test_backward_frees_saved_values() -> None:
    x = leaf(1.0)
    mid = x.exp()
    out = (mid * mid).sum()
    memory = weakref.ref(mid)
    del mid
    assert memory() is not None
    out.backward()
    assert memory() is None


def test_threads_differentiate_their_own_graphs() -> None:
    shared = leaf(2.0)
    results: dict[int, Any] = {}

    def work(k: int) -> None:
        mine = leaf(float(k))
        for _ in range(50):
            y = mine
            for _ in range(5):
                y = y * shared.detach() + mine
            (results[k],) = grad(y.sum(), mine)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert {k: g.item() for k, g in results.items()} == dict.fromkeys(range(4), 63.0)


def test_queue_callback() -> None:
    x = leaf(1.0)
    order: list[str] = []

    def hook(g: Any) -> None:
        distgrad.autograd.queue_callback(lambda: order.append("end"))
        order.append("hook")

    y = x * 2
    y.register_hook(hook)
    x.register_post_accumulate_grad_hook(lambda p: order.append("leaf"))
    y.sum().backward()
    assert order == ["hook", "leaf", "end"]
    with pytest.raises(RuntimeError, match="during a backward pass"):
        distgrad.autograd.queue_callback(lambda: None)


def test_backward_inside_a_hook() -> None:
    x, inner = leaf(1.0), leaf(5.0)
    y = x * 2

    def hook(g: Any) -> None:
        with distgrad.enable_grad():  # off in hooks, as in PyTorch
            (inner * inner).sum().backward()

    y.register_hook(hook)
    y.sum().backward()
    assert (x.grad.item(), inner.grad.item()) == (2.0, 10.0)
