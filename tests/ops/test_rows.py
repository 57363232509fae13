"""Every operation of the table against finite differences, PyTorch, the device double and a different route."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad.autograd import gradcheck, gradgradcheck
from distgrad.autograd.fused import Fused
from distgrad.autograd.primitive import REGISTRY
from tests.ops.case import Row, differentiable, outputs

# Files are found, not listed.
FILES = sorted(f for f in Path(__file__).parent.glob("*_rows.py") if f.stem != "test_rows")
ROWS: list[Row] = [row for file in FILES for row in importlib.import_module(f"tests.ops.{file.stem}").ROWS]
# Primitives that no call on one device reaches as a recorded node, and where they are tested.
ELSEWHERE = {
    "_ctc": "tests/losses/test_ctc.py: it refuses to be differentiated twice",
    "_taken": "tests/ops/test_spatial.py: it is the reference of a fused one",
    "_bce_values": "tests/ops/test_recorded_gradients.py: it is the reference of a fused one",
    "_huber_of_difference": "tests/ops/test_recorded_gradients.py: it is the reference of a fused one",
    "_smooth_values": "tests/ops/test_recorded_gradients.py: it is the reference of a fused one",
    "_cross_entropy_there": "tests/devices/test_rows.py: it is _cross_entropy on a device",
    "_dropped": "tests/ops/test_by_hand.py: it is random",
    "_combined": "tests/ops/test_scattering.py: it refuses to be differentiated",
    "_sparse_times": "tests/test_clients.py: it takes a sparse matrix",
    "_standard_gamma": "tests/test_more_distributions.py: it is random",
    "_gamma_slope": "tests/test_more_distributions.py: it refuses to be differentiated",
    "_poisson": "tests/test_more_distributions.py: it is random",
    "_move": "tests/ops/test_by_hand.py: it needs two devices",
    "heaviside": "tests/ops/test_linear_algebra.py: it refuses to be differentiated",
    "_qr_r": "tests/ops/test_linear_algebra.py: it refuses to be differentiated",
    "floor_divide": "tests/ops/exceptional.py: it refuses to be differentiated",
    "_taken_again": "tests/ops/test_windows.py: it is met in third derivatives",
    "copy": "tests/autograd/test_inplace.py: it is in-place alone",
    "fill": "tests/autograd/test_inplace.py: it is in-place alone",
    "zero": "tests/autograd/test_inplace.py: it is in-place alone",
}
TOLERANCE = {"float64": 1e-10, "float32": 2e-5, "complex128": 1e-10, "float16": 4e-3, "bfloat16": 4e-2}

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)


def inputs_of(t: Any, case: Any, dtype: str, device: Any = None) -> list[Any]:
    """The inputs of a case as tensors of module ``t``."""
    made = []
    for i, make in enumerate(case):
        array = make.array("float64" if dtype in ("float16", "bfloat16") else dtype, i)
        x = t.tensor(array, device=device)
        if x.dtype.is_floating_point:
            x = x.to(getattr(t, dtype))
        made.append(x.requires_grad_() if differentiable(x) and make.kind != "constant" else x)
    return made


def weighted(outs: list[Any], t: Any) -> Any:
    """One number that depends on every element of ``outs``: their real and imaginary parts with different weights."""
    total = 0
    for k, o in enumerate(outs):
        o = o.to(t.complex128) if o.dtype.is_complex else o.to(t.float64)
        w = t.tensor(np.cos(np.arange(o.numel()) + k).reshape(tuple(o.shape)), device=o.device)
        total = total + ((o * w).sum() if not o.dtype.is_complex else (o.real * w).sum() + (o.imag * w * 2).sum())
    return total


def run(t: Any, row: Row, case: Any, dtype: str, device: Any = None) -> tuple[list[Any], list[Any]]:
    """The outputs of a case, and the gradients of their weighted sum, as NumPy arrays."""
    args = inputs_of(t, case, dtype, device=device)
    outs = outputs(row.call(t, *args))
    leaves = [a for a in args if a.requires_grad]
    recorded = [o for o in outs if o.requires_grad]
    found: Any = []
    if recorded and leaves:
        found = t.autograd.grad(weighted(recorded, t), leaves, allow_unused=True)
        if len(found) and device is not None:
            assert all(g is None or g.device == a.device for g, a in zip(found, leaves, strict=True))
    return [as_numpy(o, t) for o in outs], [None if g is None else as_numpy(g, t) for g in found]


def as_numpy(x: Any, t: Any) -> np.ndarray:
    x = x.detach().cpu()
    if t is not distgrad:
        x = x.resolve_conj()
    return np.asarray((x.to(t.float64) if x.dtype is t.bfloat16 else x).numpy(force=True))


def dtypes_of(row: Row) -> list[str]:
    return ["float64", "complex128"] if row.complex else ["float64"]


@pytest.mark.parametrize("row", [r for r in ROWS if r.smooth], ids=lambda r: r.name)
def test_gradients_equal_finite_differences(row: Row) -> None:
    checked = 0
    for dtype in dtypes_of(row):
        for case in row.cases:
            args = inputs_of(distgrad, case, dtype)
            outs = outputs(row.call(distgrad, *args))
            if not any(o.requires_grad for o in outs) or not any(a.numel() for a in args if a.requires_grad):
                continue
            assert gradcheck(lambda *a: tuple(outputs(row.call(distgrad, *a))), args)
            if row.second:
                assert gradgradcheck(lambda *a: tuple(outputs(row.call(distgrad, *a))), args)
            checked += 1
    assert checked or not any(distgrad_records(row, case) for case in row.cases)


def distgrad_records(row: Row, case: Any) -> bool:
    args = inputs_of(distgrad, case, "float64")
    return any(o.requires_grad for o in outputs(row.call(distgrad, *args))) and any(a.numel() for a in args)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")  # PyTorch's own: deprecations, and degrees of freedom
@each_row
def test_values_and_gradients_equal_pytorchs(row: Row) -> None:
    torch = pytest.importorskip("torch")
    names = [*dtypes_of(row), "float32", *(("float16", "bfloat16") if row.half else ())]
    for dtype in names:
        for case in row.cases:
            ours, our_grads = run(distgrad, row, case, dtype)
            theirs, their_grads = run(torch, row, case, dtype)
            assert len(ours) == len(theirs)
            assert len(our_grads) == len(their_grads)
            for a, b in zip(ours + our_grads, theirs + their_grads, strict=True):
                if a is None or b is None:
                    # PyTorch has zeros where the derivative is zero everywhere
                    assert a is b or not np.any(a if b is None else b), (dtype, case)
                    continue
                assert a.dtype == b.dtype, (dtype, case)
                assert a.shape == b.shape, (dtype, case)
                tol = 0.0 if row.exact else max(TOLERANCE[dtype], row.tolerance or 0.0)
                np.testing.assert_allclose(a, b, rtol=tol, atol=tol, err_msg=f"{dtype} {case}")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the double is NumPy, which warns; CuPy does not
@each_row
def test_the_device_double_gives_the_same(row: Row, device_double) -> None:
    for case in row.cases:
        ours, our_grads = run(distgrad, row, case, "float64")
        device, device_grads = run(distgrad, row, case, "float64", device="cuda:0")
        for a, b in zip(ours + our_grads, device + device_grads, strict=True):
            if a is None:
                assert b is None
            else:
                np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12)


def primitives_below(tensors: list[Any]) -> set[Any]:
    """The primitives in the graph of ``tensors``."""
    found, seen, stack = set(), set(), [t.grad_fn for t in tensors]
    while stack:
        node = stack.pop()
        if node is None or id(node) in seen or not hasattr(node, "primitive"):
            continue
        seen.add(id(node))
        found.add(node.primitive)
        stack.extend(function for function, _ in node.next_functions)
    return found


def test_every_primitive_with_gradient_rules_is_in_a_row() -> None:
    met: set[Any] = set()
    for row in ROWS:
        for dtype in dtypes_of(row):
            args = inputs_of(distgrad, row.cases[0], dtype)
            outs = [o for o in outputs(row.call(distgrad, *args)) if o.requires_grad]
            met |= primitives_below(outs)
            leaves = [a for a in args if a.requires_grad]
            if outs and leaves:
                found = distgrad.autograd.grad(weighted(outs, distgrad), leaves, create_graph=True, allow_unused=True)
                met |= primitives_below([g for g in found if g is not None])
    with_rules = {
        p.name
        for p in REGISTRY.values()
        if (p.rules or isinstance(p, Fused)) and p.forward.__module__.startswith("distgrad.")
    }
    missing = with_rules - {p.name for p in met} - ELSEWHERE.keys()
    assert not missing, f"no row of tests/ops/*_rows.py reaches {sorted(missing)}"
    assert ELSEWHERE.keys() <= with_rules


def fused_nodes(row: Row) -> set[str]:
    """The names of the fused primitives that a row's first case meets."""
    args = inputs_of(distgrad, row.cases[0], "float64")
    return {p.name for p in primitives_below(outputs(row.call(distgrad, *args))) if isinstance(p, Fused)}


@pytest.mark.parametrize("row", [r for r in ROWS if r.smooth and fused_nodes(r)], ids=lambda r: r.name)
def test_fused_backward_equals_its_reference_composition(row: Row) -> None:
    for case in row.cases:
        args = inputs_of(distgrad, case, "float64")
        leaves = [a for a in args if a.requires_grad]
        loss = weighted(outputs(row.call(distgrad, *args)), distgrad)
        quick = distgrad.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
        slow = distgrad.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)
        for a, b in zip(quick, slow, strict=True):
            assert (a is None) == (b is None)
            if a is None:
                continue
            np.testing.assert_allclose(a.numpy(force=True), b.numpy(force=True), rtol=1e-12, atol=1e-12)
