"""Functions made of functions, against derivatives by hand and by finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import distgrad as dg
from distgrad import func, nn
from distgrad.autograd import forward_ad, functional

F64 = dg.float64
X = dg.tensor([0.3, 0.7, 1.2], dtype=F64)
V = dg.tensor([1.0, 2.0, -1.0], dtype=F64)
W = dg.tensor(np.arange(6.0).reshape(2, 3) / 5)


def vector(x: Any) -> Any:
    return dg.tanh(W @ x)


def number(x: Any) -> Any:
    return (x**3).sum()


JACOBIAN = (1 - np.tanh(W.numpy() @ X.numpy()) ** 2)[:, None] * W.numpy()
HESSIAN = np.diag(6 * X.numpy())


def close(got: Any, want: Any) -> None:
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("jacobian", [func.jacrev, func.jacfwd, lambda f: lambda x: functional.jacobian(f, x)])
def test_jacobians(jacobian: Callable[..., Any]) -> None:
    found = jacobian(vector)(X)
    close(found, JACOBIAN)
    assert not found.requires_grad


def test_products_with_jacobians() -> None:
    value, product = func.vjp(vector, X)
    close(value, np.tanh(W.numpy() @ X.numpy()))
    close(product(dg.ones(2, dtype=F64))[0], JACOBIAN.sum(0))
    close(product(dg.tensor([0.0, 2.0], dtype=F64))[0], 2 * JACOBIAN[1])
    want = JACOBIAN @ V.numpy()
    close(func.jvp(vector, (X,), (V,))[1], want)
    close(func.linearize(vector, X)[1](V), want)
    close(functional.jvp(vector, X, V)[1], want)
    close(functional.vjp(vector, X, dg.ones(2, dtype=F64))[1], JACOBIAN.sum(0))
    with forward_ad.dual_level():
        made = forward_ad.unpack_dual(vector(forward_ad.make_dual(X, V)))
        close(made.tangent, want)


def test_second_and_third_derivatives() -> None:
    close(func.hessian(number)(X), HESSIAN)
    close(functional.hessian(number, X), HESSIAN)
    close(functional.hvp(number, X, V)[1], HESSIAN @ V.numpy())
    close(functional.vhp(number, X, V)[1], HESSIAN @ V.numpy())
    close(func.grad(lambda x: (func.grad(number)(x) ** 2).sum())(X), 36 * X.numpy() ** 3)
    close(func.grad(func.grad(func.grad(lambda a: a**4)))(dg.tensor(2.0, dtype=F64)), 48.0)


def test_trees_and_several_arguments() -> None:
    tree = {"a": X, "b": [V, 2.0]}
    found = func.grad(lambda d: (d["a"] * d["b"][0]).sum() * d["b"][1])(tree)
    close(found["a"], 2 * V.numpy())
    close(found["b"][0], 2 * X.numpy())
    first, second = func.grad(lambda a, b: (a * b).sum(), argnums=(0, 1))(X, V)
    close(first, V.numpy())
    close(second, X.numpy())
    close(func.grad(lambda a, b: a.sum(), argnums=1)(X, V), np.zeros(3))
    grads, (value, rest) = func.grad_and_value(lambda a: (a.sum(), 2 * a), has_aux=True)(X)
    close(grads, np.ones(3))
    close(value, X.numpy().sum())
    close(rest, 2 * X.numpy())


def test_what_is_found_has_a_history_where_somebody_outside_wants_one() -> None:
    outside = X.clone().requires_grad_()
    assert not func.grad(number)(X).requires_grad
    found = func.grad(number)(outside)
    found.sum().backward()
    close(outside.grad, 6 * X.numpy())
    outside.grad = None
    func.grad(lambda x: (x * outside**2).sum())(X).sum().backward()  # seen through the function alone
    close(outside.grad, 2 * X.numpy())
    with dg.no_grad():
        close(func.grad(number)(X), 3 * X.numpy() ** 2)


def test_batches() -> None:
    close(dg.vmap(lambda a, b: (a * b).sum(), in_dims=(0, None))(W, X), W.numpy() @ X.numpy())
    close(dg.vmap(func.grad(number))(W), 3 * W.numpy() ** 2)
    close(dg.vmap(dg.vmap(lambda a: a * a))(W), W.numpy() ** 2)
    twice, sums = dg.vmap(lambda a: (2 * a, a.sum()), in_dims=1, out_dims=(1, 0))(W)
    close(twice, 2 * W.numpy())
    close(sums, W.numpy().sum(0))
    leaf = W.clone().requires_grad_()
    dg.vmap(lambda a: a.prod())(leaf).sum().backward()
    assert leaf.grad is not None
    same = dg.vmap(lambda a: dg.rand(3), randomness="same")(W)
    assert dg.equal(same[0], same[1])
    different = dg.vmap(lambda a: dg.rand(3), randomness="different")(W)
    assert not dg.equal(different[0], different[1])


@pytest.mark.parametrize(("wrong", "error", "message"), [
    (lambda: func.grad(vector)(X), RuntimeError, "Expected f.* to return a scalar tensor"),
    (lambda: func.grad(number, argnums=3)(X), RuntimeError, "Got argnum=3, but only 1"),
    (lambda: func.jvp(vector, X, V), RuntimeError, "to be tuples"),
    (lambda: func.jvp(vector, (X,), (W,)), RuntimeError, "shapes of primals"),
    (lambda: dg.vmap(lambda a: a + dg.rand(3))(W), RuntimeError, "randomness error mode"),
    (lambda: dg.vmap(lambda a, b: a)(W, X), ValueError, "same size in the mapped dimension"),
    (lambda: dg.vmap(lambda a: a, in_dims=None)(W), ValueError, "at least one of the inputs"),
    (lambda: dg.vmap(lambda a: 3)(W), ValueError, "must only return Tensors"),
    (lambda: functional.vjp(vector, X), RuntimeError, "v can only be None"),
    (lambda: functional.jvp(vector, X, W), RuntimeError, "v has invalid size"),
    (lambda: functional.hessian(vector, X), RuntimeError, "should contain a single element"),
    (lambda: functional.jacobian(lambda a: dg.ones(2), X, strict=True), RuntimeError, "does not require gradients"),
    (lambda: functional.jacobian(vector, 3.0), TypeError, "must be either a Tensor or a tuple"),
    (lambda: forward_ad.make_dual(X, V), RuntimeError, "no level exists"),
])  # fmt: skip
def test_what_is_refused(wrong: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        wrong()


def test_modules_as_functions_of_their_parameters() -> None:
    layer = nn.Linear(3, 2, dtype=F64)
    own = layer.weight
    parameters = dict(layer.named_parameters())
    want = W.numpy() @ X.numpy() + layer.bias.detach().numpy()
    close(func.functional_call(layer, {"weight": W}, (X,)), want)
    close(func.functional_call(layer, [{"weight": W}], X), want)
    assert layer.weight is own
    grads = func.grad(lambda p: func.functional_call(layer, p, (X,)).sum())(parameters)
    close(grads["weight"], np.stack([X.numpy()] * 2))
    with pytest.raises(RuntimeError, match="missing key"):
        func.functional_call(layer, {"weight": W}, X, strict=True)
    with pytest.raises(ValueError, match="multiple dictionaries"):
        func.functional_call(layer, [{"weight": W}, {"weight": W}], X)
    models = [nn.Linear(3, 2, dtype=F64) for _ in range(4)]
    stacked, buffers = func.stack_module_state(models)
    assert buffers == {}
    found = dg.vmap(lambda p, x: func.functional_call(models[0], p, (x,)), in_dims=(0, None))(stacked, X)
    for row, model in zip(found, models, strict=True):
        close(row, model(X).detach().numpy())


def test_tied_parameters_are_replaced_together() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.other.weight = self.one.weight

        def forward(self, x: Any) -> Any:
            return self.other(self.one(x))

    tied = Tied()
    new = 2 * dg.eye(3)
    assert func.functional_call(tied, {"one.weight": new}, dg.ones(3)).tolist() == [4.0] * 3
    with pytest.raises(ValueError, match="which are tied"):
        func.functional_call(tied, {"one.weight": new, "other.weight": dg.eye(3)}, dg.ones(3))


def test_several_gradients_at_once() -> None:
    x = X.clone().requires_grad_()
    (rows,) = dg.autograd.grad(vector(x), x, dg.eye(2, dtype=F64), is_grads_batched=True, create_graph=True)
    close(rows, JACOBIAN)
    (second,) = dg.autograd.grad(rows.sum(), x)
    assert second.shape == x.shape


def test_results_with_names_go_through_vmap() -> None:
    rows = dg.tensor([[3.0, 1.0, 2.0], [4.0, 6.0, 5.0]], dtype=F64)
    found = func.vmap(dg.aminmax)(rows)
    assert found.min.tolist() == [1.0, 4.0]
    assert found.max.tolist() == [3.0, 6.0]
    found = func.vmap(lambda x: x.sort(0))(rows)
    assert type(found) is dg.return_types.sort
    assert found.indices.tolist() == [[1, 2, 0], [0, 2, 1]]
    first, second = func.jacrev(lambda x: dg.linalg.slogdet(dg.diag(x)))(X)
    close(first, np.zeros(3))
    close(second, 1 / X.numpy())


def test_value_and_grad_is_grad_and_value_turned_round() -> None:
    x, y = dg.tensor([1.0, -2.0]), dg.tensor([3.0, 0.5])
    value, grads = func.value_and_grad(lambda a, b: (a * a * b).sum(), argnums=(0, 1))(x, y)
    assert value.item() == 5.0
    assert [g.tolist() for g in grads] == [[6.0, -2.0], [1.0, 4.0]]
    (value, kept), grad = func.value_and_grad(lambda a: (a.sum(), a * 2), has_aux=True)(x)
    assert (value.item(), kept.tolist(), grad.tolist()) == (-1.0, [2.0, -4.0], [1.0, 1.0])


def test_hvp_is_the_hessian_times_the_tangent() -> None:
    def f(a: Any) -> Any:
        return (a.sin() * a.cumsum(0)).sum() ** 2

    x, t = dg.tensor([0.3, -1.2, 2.0], dtype=dg.float64), dg.tensor([1.0, -0.5, 0.25], dtype=dg.float64)
    np.testing.assert_allclose(func.hvp(f, (x,), (t,)).numpy(), (func.hessian(f)(x) @ t).numpy(), rtol=1e-12)
    step = 1e-6
    moved = [func.grad(f)(x + s * step * t) for s in (1, -1)]
    np.testing.assert_allclose(func.hvp(f, (x,), (t,)).numpy(), ((moved[0] - moved[1]) / (2 * step)).numpy(), rtol=1e-6)
    first, second = func.hvp(lambda a, b: (a * a * b).sum(), (x, x), (t, dg.zeros_like(t)))
    np.testing.assert_allclose(first.numpy(), (2 * x * t).numpy())
    np.testing.assert_allclose(second.numpy(), (2 * x * t).numpy())
    with pytest.raises(RuntimeError):
        func.hvp(lambda a: a * 2, (x,), (t,))
