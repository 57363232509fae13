"""Gradients held against finite differences: the independent oracle of every rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend
from .backward import grad
from .tensor import TENSORS, Tensor


class GradcheckError(RuntimeError):
    """A gradient differs from its finite difference.

    >>> issubclass(torch.autograd.GradcheckError, RuntimeError)
    True
    """


def _tuple(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _differentiable(outputs: Any) -> list[Tensor]:
    return [o for o in _tuple(outputs) if o.__class__ in TENSORS and o.dtype.category > 1]


def _numerical(function: Callable[..., Any], inputs: Sequence[Any], x: Tensor, eps: float) -> list[np.ndarray]:
    """d outputs / d x by central differences: for each output an array (elements of x, elements of the output).

    For complex x the differences along the real and the imaginary axis are combined to the conjugate Wirtinger
    derivative's conjugate, PyTorch's convention: what backward returns for output element o is d/dx + i d/dy of Re o.
    """
    flat = x._data.reshape(-1)  # inputs are contiguous: a view
    steps = (eps, eps * 1j) if x._data.dtype.kind == "c" else (eps,)
    columns: list[list[list[np.ndarray]]] = []
    for j in range(flat.size):
        keep = flat[j].item()
        moves = []
        for step in steps:
            flat[j] = keep + step
            up = [backend.to_host(o._data).astype(np.complex128).copy() for o in _differentiable(function(*inputs))]
            flat[j] = keep - step
            down = [backend.to_host(o._data).astype(np.complex128).copy() for o in _differentiable(function(*inputs))]
            flat[j] = keep
            moves.append([(u - d).reshape(-1) / (2 * eps) for u, d in zip(up, down, strict=True)])
        columns.append(moves)
    n_out = len(columns[0][0])
    return [
        np.array([[c[s][k] for s in range(len(steps))] for c in columns]) for k in range(n_out)
    ]  # each: (elements of x, steps, elements of output)


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    fast_mode: bool = False,
) -> bool:
    """Whether the gradients of ``func`` at ``inputs`` equal central finite differences.

    Args:
        func: takes ``inputs`` and returns a Tensor or a tuple of them.
        inputs: Tensors (those that require grad should be float64 or complex128) and other arguments.
        eps: the step.  atol, rtol: the tolerance.  nondet_tol: how far two backward runs may differ.
        raise_exception: raise :class:`GradcheckError` rather than return False.
        check_undefined_grad, fast_mode: accepted for PyTorch's signature; the full check is always made.

    >>> x = torch.tensor([0.5, 1.5], dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradcheck(torch.exp, x)
    True
    """
    try:
        _check(func, _tuple(inputs), eps, atol, rtol, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check(
    func: Callable[..., Any], inputs: tuple[Any, ...], eps: float, atol: float, rtol: float, nondet_tol: float
) -> None:
    checked = [x for x in inputs if x.__class__ in TENSORS and x.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True."
        )
    for x in checked:
        if x._data.dtype.itemsize < (16 if x._data.dtype.kind == "c" else 8):
            raise ValueError(f"gradcheck needs float64 or complex128 inputs that require grad; got {x.dtype}")
        if not x.is_contiguous():
            raise ValueError("gradcheck needs contiguous inputs that require grad")
    outputs = _differentiable(func(*inputs))
    wanted = [o for o in outputs if o.requires_grad]
    if not wanted:
        raise GradcheckError("no output of the function requires grad")
    for n, x in enumerate(checked):
        if not x._data.size:
            continue
        differences = _numerical(func, inputs, x, eps)
        for k, out in enumerate(outputs):
            if not out.requires_grad:
                if np.abs(differences[k]).max(initial=0) > atol:
                    raise GradcheckError(f"output {k} does not require grad but depends on input {n}")
                continue
            analytic = _analytic(out, x, nondet_tol)
            d = differences[k]  # (nx, steps, nout)
            for unit, name in ((1.0, "real"), (1j, "imaginary")):
                if unit == 1j and out._data.dtype.kind != "c":
                    continue
                # gradient of Re(conj(unit) * out): along x's real axis, plus i times along its imaginary axis
                along = (np.conj(unit) * d).real
                numeric = along[:, 0] + (1j * along[:, 1] if d.shape[1] == 2 else 0)
                got = analytic[name]
                if not np.allclose(got, numeric, rtol, atol):
                    worst = np.abs(got - numeric).max()
                    raise GradcheckError(
                        f"Jacobian mismatch for output {k} with respect to input {n} ({name} part), by up to "
                        f"{worst:.3g},\nnumerical:\n{numeric}\nanalytical:\n{got}\n"
                    )


def _analytic(out: Tensor, x: Tensor, nondet_tol: float) -> dict[str, np.ndarray]:
    found = {}
    size = out._data.size
    for unit, name in ((1.0, "real"), (1j, "imaginary")):
        if unit == 1j and out._data.dtype.kind != "c":
            continue
        columns = np.zeros((x._data.size, size), np.complex128)
        for j in range(size):
            seed = np.zeros(size, backend.to_host(out._data).dtype)
            seed[j] = unit
            xp = backend.array_module(out._data)
            g = Tensor._wrap(xp.asarray(seed.reshape(out._data.shape)), None)
            twice = [grad(out, x, g, retain_graph=True, allow_unused=True)[0] for _ in range(2)]
            if twice[0] is None:
                continue
            a, b = (backend.to_host(t._data).reshape(-1) for t in twice)
            if a.shape != (x._data.size,):
                raise GradcheckError(f"gradient has shape {tuple(twice[0].shape)}, its input {tuple(x.shape)}")
            if np.abs(a - b).max(initial=0) > nondet_tol:
                raise GradcheckError("backward is not deterministic: two runs on the same inputs differ")
            columns[:, j] = a
        found[name] = columns
    return found


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    fast_mode: bool = False,
) -> bool:
    """:func:`gradcheck` of the gradients of ``func``: whether second derivatives are right.

    ``grad_outputs`` are the gradients to start from; random ones by default (seeded).

    >>> x = torch.tensor([0.5, 1.5], dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradgradcheck(torch.sin, x)
    True
    """
    inputs = _tuple(inputs)
    outputs = _differentiable(func(*inputs))
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        starts = []
        for o in outputs:
            values = rng.standard_normal(o._data.shape)
            if o._data.dtype.kind == "c":
                values = values + 1j * rng.standard_normal(o._data.shape)
            xp = backend.array_module(o._data)
            starts.append(Tensor._wrap(xp.asarray(np.asarray(values, o._data.dtype)), None).requires_grad_())
    else:
        starts = list(_tuple(grad_outputs))
    n = len(inputs)

    def gradients(*args: Any) -> tuple[Any, ...]:
        out = [o for o in _differentiable(func(*args[:n])) if o.requires_grad]
        wanted = [x for x in args[:n] if x.__class__ in TENSORS and x.requires_grad]
        found = grad(out, wanted, list(args[n : n + len(out)]), create_graph=True, allow_unused=True)
        return tuple(f for f in found if f is not None)

    try:
        # a gradient that depends on neither (a linear function's, on x) is constant: that is right
        return gradcheck(
            gradients,
            (*inputs, *starts),
            eps=eps,
            atol=atol,
            rtol=rtol,
            raise_exception=raise_exception,
            nondet_tol=nondet_tol,
        )
    except GradcheckError:
        if raise_exception:
            raise
        return False
