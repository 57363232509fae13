"""An update as one kernel: what is traced does what the update does, operation by operation and as compiled C."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad as dg
from distgrad import optim, registry
from distgrad.backend.protocol import Kernel
from distgrad.optim.update import device_kernel
from distgrad.optim.update.kernel_trace import NotTraceable, source, trace

FUSED = [
    name
    for name in registry.names("optimizer")
    if (cls := registry.get("optimizer", name)).elementwise and cls._own_update and cls.gradients != "sparse"
]
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "adam": [{}, dict(amsgrad=True, weight_decay=0.1), dict(decoupled_weight_decay=True, weight_decay=0.1)],
    "nadam": [{}, dict(weight_decay=0.1, decoupled_weight_decay=True)],
    "radam": [{}, dict(weight_decay=0.1, betas=(0.5, 0.6))],
    "rmsprop": [{}, dict(centered=True, momentum=0.9, weight_decay=0.1)],
    "sgd": [{}, dict(momentum=0.9, weight_decay=0.1), dict(momentum=0.9, nesterov=True), dict(maximize=True)],
}
CASES = [(name, options) for name in FUSED for options in OPTIONS.get(name, [{}])]
each_case = pytest.mark.parametrize(("name", "options"), CASES, ids=lambda v: v if isinstance(v, str) else ",".join(v))


def start(device: str, dtype: Any) -> list[Any]:
    rng = np.random.default_rng(3)
    return [dg.tensor(rng.standard_normal(s), dtype=dtype, device=device, requires_grad=True) for s in ((5, 3), (7,))]


def steps(optimizer: Any, params: list[Any], n: int = 8) -> list[np.ndarray]:
    for k in range(n):
        optimizer.zero_grad()
        sum((p * p).sum() + (p * (k + 1)).sin().sum() for p in params).backward()
        optimizer.step()
    return [p.detach().cpu().double().numpy() for p in params]


@each_case
@pytest.mark.parametrize("dtype", [dg.float32, dg.float64, dg.float16])
def test_one_kernel_a_step_on_a_device(name: str, options: dict[str, Any], dtype: Any, device_double: Any) -> None:
    def run(device: str) -> list[np.ndarray]:
        params = start(device, dtype)
        return steps(optim.get(name)(params, lr=0.05, **options), params)

    want = run("cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = run("cuda:1")
    assert device_double.kernels == 8  # two parameters, one buffer
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@each_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_kernels_text_compiled_for_the_host_gives_numpys_bits(
    name: str, options: dict[str, Any], dtype: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device_double: Any
) -> None:
    """The same statements in a loop in C, without fused multiply-add, and NaN and infinities among the gradients."""
    seen: list[Kernel] = []
    run = lambda kernel, arrays, numbers: seen.append((kernel, numbers))  # noqa: E731 - one line of the test
    monkeypatch.setattr(device_kernel.backend, "run_kernel", run)
    params = start("cuda:0", dg.float32 if dtype is np.float32 else dg.float64)
    steps(optim.get(name)(params, lr=0.05, **options), params, 6)
    kernel, numbers = seen[-1]
    arrays = len(kernel.read) + len(kernel.written)
    rng = np.random.default_rng(1)
    given = [rng.standard_normal(50).astype(dtype) for _ in range(arrays)]
    for x in given[2:]:
        np.abs(x, out=x)
    given[1][:4] = np.nan, np.inf, -np.inf, 0
    want = [x.copy() for x in given]
    with np.errstate(all="ignore"):
        new = kernel.replay(np, want, [dtype(c) for c in numbers])
    for i, values in zip(kernel.written, new, strict=True):
        want[i][...] = values
    _run_in_c(kernel, given, numbers, dtype, tmp_path)
    for i, (a, b) in enumerate(zip(given, want, strict=True)):
        np.testing.assert_array_equal(a, b, err_msg=f"array {i} of {kernel.body}")


def _run_in_c(kernel: Kernel, arrays: list[np.ndarray], numbers: list[float], dtype: Any, folder: Path) -> None:
    kind = "float" if dtype is np.float32 else "double"
    body = re.sub(r"\bx(\d+)\b", r"x\1[i]", kernel.body)
    declared = [f"{kind} *x{i}" for i in range(len(arrays))] + [f"{kind} c{i}" for i in range(len(numbers))]
    text = f"""#include <math.h>
#include <tgmath.h>
#include <stdbool.h>
typedef float float32;
typedef double float64;
void run(long n, {", ".join(declared)}) {{ for (long i = 0; i < n; i++) {{ {body} }} }}
"""
    (folder / "kernel.c").write_text(text)
    command = ["cc", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-o", "kernel.so", "kernel.c", "-lm"]
    subprocess.run(command, cwd=folder, check=True, timeout=150)
    run = ctypes.CDLL(str(folder / "kernel.so")).run
    number = ctypes.c_float if dtype is np.float32 else ctypes.c_double
    run.argtypes = [ctypes.c_long, *[ctypes.c_void_p] * len(arrays), *[number] * len(numbers)]
    run(len(arrays[0]), *[x.ctypes.data for x in arrays], *numbers)


def test_other_numbers_are_the_same_kernel() -> None:
    def update(xp: Any, p: Any, g: Any, m: Any, *, lr: float, b: float) -> None:
        m *= b
        m += g * (1 - b)
        p -= lr * xp.sign(m)

    programs = [trace(update, np.dtype("f"), 3, 0, dict(lr=lr, b=b)) for lr, b in ((0.1, 0.9), (0.2, 0.5))]
    assert programs[0][0] == programs[1][0]
    assert programs[0][1] != programs[1][1]
    kernels = [source(program, np.dtype("f"), "x") for program, _ in programs]
    assert kernels[0] is kernels[1]
    assert kernels[0].read == (1,)
    assert kernels[0].written == (0, 2)
    assert kernels[0].body.endswith("x0 = v5; x2 = v2;")


@pytest.mark.parametrize(
    "update",
    [
        lambda xp, p, g: p.__isub__(xp.linalg.norm(g)),
        lambda xp, p, g: p.__isub__(g.sum()),
        lambda xp, p, g: p.__isub__(xp.cumsum(g)),
        lambda xp, p, g: p.__setitem__(slice(0, 1), 0),
        lambda xp, p, g: p.__isub__(g if g else 0),
        lambda xp, p, g: p.__isub__(np.ones(3)),
    ],
)
def test_what_is_not_elementwise_has_no_program(update: Any) -> None:
    with pytest.raises(NotTraceable):
        trace(update, np.dtype("f"), 2, 0, {})


def test_scratch_must_be_written_before_it_is_read() -> None:
    def update(xp: Any, p: Any, g: Any, t: Any) -> None:
        p -= t

    with pytest.raises(NotTraceable, match="scratch"):
        trace(update, np.dtype("f"), 2, 1, {})


def test_what_cannot_be_fused_is_said_once_and_runs_as_it_is(device_double: Any) -> None:
    class Rooted(optim.Optimizer):
        defaults = dict(lr=0.1)
        scratch = 1

        def update(self, xp: Any, p: Any, g: Any, t: Any, *, lr: float) -> None:
            xp.cbrt(g, out=t)
            p -= lr * t

    def run(device: str) -> list[np.ndarray]:
        params = start(device, dg.float32)
        return steps(Rooted(params), params)

    with pytest.warns(RuntimeWarning, match=r"Rooted.update\(\) cannot be one kernel because of xp.cbrt") as said:
        got = run("cuda:0")
    assert len(said) == 1
    assert device_double.kernels == 0
    for a, b in zip(got, run("cpu"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
