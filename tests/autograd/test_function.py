"""Functions of the user's own, and gradcheck, which must find a wrong one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad.autograd import Function, GradcheckError, grad, gradcheck, gradgradcheck, once_differentiable


def leaf(*values: float) -> Any:
    return distgrad.tensor(list(values), dtype=distgrad.float64, requires_grad=True)


class Cube(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


class CubeByContext(Cube):
    @staticmethod
    def forward(x: Any) -> Any:  # type: ignore[override]
        return x * x * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)


class Both(Function):
    """Two outputs, one number, an input without gradient."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any, n: int) -> Any:
        ctx.n = n
        ctx.save_for_backward(x, y)
        return x * y, x**n

    @staticmethod
    def backward(ctx: Any, gp: Any, gn: Any) -> Any:
        x, y = ctx.saved_tensors
        assert ctx.needs_input_grad == (True, y.requires_grad, False)
        return gp * y + gn * ctx.n * x ** (ctx.n - 1), gp * x, None


@pytest.mark.parametrize("cls", [Cube, CubeByContext])
def test_forward_backward_twice(cls: Any) -> None:
    x = leaf(2.0, -1.0)
    y = cls.apply(x)
    assert y.grad_fn.name() == f"{cls.__name__}Backward"
    assert not cls.apply(x.detach()).requires_grad
    (g,) = grad(y.sum(), x, create_graph=True)
    assert g.tolist() == [12.0, 3.0]
    assert grad(g.sum(), x)[0].tolist() == [12.0, -6.0]
    assert gradcheck(cls.apply, (x,))
    assert gradgradcheck(cls.apply, (x,))


def test_several_outputs_and_inputs() -> None:
    x, y = leaf(2.0, 3.0), leaf(5.0, 7.0)
    p, n = Both.apply(x, y, 3)
    (p + n).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([17.0, 34.0], [2.0, 3.0])
    assert gradcheck(lambda x, y: Both.apply(x, y, 3), (x, y))
    x.grad = None
    Both.apply(x, y.detach(), 2)[1].sum().backward()  # the gradient of the other output is zeros
    assert x.grad.tolist() == [4.0, 6.0]


def test_undefined_gradients_may_be_none() -> None:
    class Keeps(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(False)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any) -> Any:
            assert a is None
            return b * 2

    x = leaf(1.0)
    Keeps.apply(x)[1].sum().backward()
    assert x.grad.item() == 2.0


def test_mark_non_differentiable_and_integers() -> None:
    class Sorted(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            order = distgrad.tensor(np.argsort(x.detach().numpy()))
            floats = order.to(distgrad.float64)
            ctx.mark_non_differentiable(floats)
            ctx.save_for_backward(order)
            return x[order], floats

        @staticmethod
        def backward(ctx: Any, g: Any, _: Any) -> Any:
            (order,) = ctx.saved_tensors
            out = distgrad.zeros_like(g)
            out[order] = g
            return out

    x = leaf(3.0, 1.0)
    values, order = Sorted.apply(x)
    assert (values.requires_grad, order.requires_grad) == (True, False)
    (values * distgrad.tensor([1.0, 10.0])).sum().backward()
    assert x.grad.tolist() == [10.0, 1.0]


def test_mark_dirty() -> None:
    class Double(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    x = leaf(1.0, 2.0)
    y = x * 3
    before = y._version
    z = Double.apply(y)
    assert z is y
    assert y._version > before
    (z * z).sum().backward()
    assert (z.tolist(), x.grad.tolist()) == ([6.0, 12.0], [72.0, 144.0])


def test_once_differentiable() -> None:
    class Once(Cube):
        @staticmethod
        @once_differentiable
        def backward(ctx: Any, g: Any) -> Any:
            return g * 3 * ctx.saved_tensors[0] ** 2

    x = leaf(2.0)
    (g,) = grad((Once.apply(x) * x).sum(), x, create_graph=True)
    assert g.item() == 32.0
    with pytest.raises(RuntimeError, match="twice a function that was marked with @once_differentiable"):
        (g * x).sum().backward()


def test_saved_tensors_are_guarded() -> None:
    x = leaf(2.0)
    y = x * 1
    out = Cube.apply(y)
    y += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()
    out = Cube.apply(x)
    out.sum().backward()
    with pytest.raises(RuntimeError, match="a second time"):
        out.sum().backward()


def test_an_output_may_be_saved() -> None:
    class Exp(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * ctx.saved_tensors[0]

    x = leaf(0.5, 1.0)
    assert gradcheck(Exp.apply, (x,))
    assert gradgradcheck(Exp.apply, (x,))
    y = Exp.apply(x)
    y *= 2
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize(
    ("result", "error", "text"),
    [
        (lambda g: (g, g), RuntimeError, r"incorrect number of gradients \(expected 1, got 2\)"),
        (lambda g: 1.0, TypeError, "must return Tensors or None, got float"),
        (lambda g: distgrad.ones(3), RuntimeError, r"shape \[3\] for an input of shape \[2\]"),
    ],
)
def test_wrong_results_of_backward(result: Any, error: Any, text: str) -> None:
    class Wrong(Cube):
        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return result(g)

    with pytest.raises(error, match=text):
        Wrong.apply(leaf(1.0, 2.0)).sum().backward()


def test_functions_without_their_methods() -> None:
    with pytest.raises(NotImplementedError, match="must implement the forward"):
        Function.apply(leaf(1.0))

    class Half(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x / 2

    with pytest.raises(NotImplementedError, match="must implement either the backward"):
        Half.apply(leaf(1.0)).sum().backward()


# --- gradcheck finds what is wrong ---


def wrong_by(factor: Any, second: Any = None) -> Any:
    class Wrong(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            if second is not None:
                return g * second(x)
            return g * 2 * x * factor

    return Wrong.apply


def test_gradcheck_finds_a_wrong_rule() -> None:
    x = leaf(1.0, 2.0)
    assert gradcheck(wrong_by(1.0), (x,))
    with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0"):
        gradcheck(wrong_by(1.01), (x,))
    assert gradcheck(wrong_by(1.01), (x,), raise_exception=False) is False
    assert not gradcheck(wrong_by(-1.0), (x,), raise_exception=False)


def test_gradcheck_finds_a_wrong_complex_rule() -> None:
    z = distgrad.tensor([1 + 2j], dtype=distgrad.complex128, requires_grad=True)
    assert not gradcheck(wrong_by(1.0), (z,), raise_exception=False)  # the conjugate is missing


def test_gradgradcheck_finds_a_first_derivative_that_is_not_differentiable() -> None:
    x = leaf(1.0, 2.0)
    constant = wrong_by(1.0, second=lambda x: (2 * x).detach())
    assert gradcheck(constant, (x,))
    with pytest.raises(GradcheckError):
        gradgradcheck(constant, (x,))


def test_gradcheck_refuses_what_it_cannot_check() -> None:
    with pytest.raises(ValueError, match="none of them have requires_grad"):
        gradcheck(distgrad.exp, (distgrad.ones(1, dtype=distgrad.float64),))
    with pytest.raises(ValueError, match="needs float64"):
        gradcheck(distgrad.exp, (distgrad.ones(1, requires_grad=True),))
    with pytest.raises(GradcheckError, match="no output of the function requires grad"):
        gradcheck(lambda x: x.detach(), (leaf(1.0),))


def test_gradcheck_finds_an_output_cut_off_from_its_input() -> None:
    with pytest.raises(GradcheckError, match="output 1 does not require grad but depends on input 0"):
        gradcheck(lambda x: (x * 2, x.detach() * 3), (leaf(1.0),))
