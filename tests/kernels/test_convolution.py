"""Convolutions by oneDNN give what NumPy gives, to rounding, and the user says which of them computes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import distgrad as dg
from distgrad.autograd.memory_format import lies_last
from distgrad.kernels import convolution, onednn

there = pytest.mark.skipif(onednn.library() is None, reason="oneDNN is not installed: the extra fast brings it")
F = dg.nn.functional


@pytest.fixture(autouse=True)
def _small_ones_too(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(convolution, "_LEAST", 0)
    convolution._kept.primitives.clear()
    with dg.backends.mkldnn.flags(enabled=True):
        yield


def a_case(seed: int) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """A convolution with drawn sizes: the function, its arrays and its options."""
    r = random.Random(seed)
    n, groups = r.choice([1, 2, 2, 3]), r.choice([1, 1, 1, 2, 3])
    channels, out = groups * r.choice([1, 2, 3, 8]), groups * r.choice([1, 2, 4, 16])
    kernel = [r.choice([1, 2, 3, 5]) for _ in range(n)]
    sizes = [r.choice([9, 10, 11, 16]) for _ in range(n)]
    options = {
        "stride": [r.choice([1, 2, 3]) for _ in range(n)],
        "padding": [r.choice([0, 1, 2]) for _ in range(n)],
        "dilation": [r.choice([1, 1, 2]) for _ in range(n)],
        "groups": groups,
    }
    turned = seed % 3 == 0
    weight = (channels, out // groups, *kernel) if turned else (out, channels // groups, *kernel)
    shapes: list[tuple[int, ...]] = [(r.choice([1, 2, 5]), channels, *sizes), weight]
    shapes += [(out,)] * (seed % 2)
    g = np.random.default_rng(seed)
    arrays = [g.standard_normal(s).astype(np.float32) for s in shapes]
    if seed % 5 == 0:
        arrays[0] = np.moveaxis(np.ascontiguousarray(np.moveaxis(arrays[0], 1, -1)), -1, 1)
    return getattr(F, f"conv{'_transpose' * turned}{n}d"), tuple(arrays), options


def results(seed: int) -> list[np.ndarray]:
    """Output, gradients, and the gradients of the gradients' sum of squares."""
    function, arrays, options = a_case(seed)
    inputs = [dg.tensor(a, requires_grad=True) for a in arrays]
    y = function(*inputs, **options)
    weights = dg.arange(y.numel()).reshape(y.shape).remainder(5) - 2.0
    grads = dg.autograd.grad(y, inputs, weights, create_graph=True)
    second = dg.autograd.grad(sum((g * g).sum() for g in grads), inputs[:2], allow_unused=True)
    return [t.detach().numpy() for t in (y, *grads, *second) if t is not None]


@there
@pytest.mark.parametrize("seed", range(60))
def test_it_is_numpys_to_rounding(seed: int) -> None:
    found = results(seed)
    assert any(convolution._kept.primitives.values())
    with dg.backends.mkldnn.flags(enabled=False):
        wanted = results(seed)
    assert len(found) == len(wanted) >= 4
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(b).max())))


@there
def test_channels_lie_last_and_named_padding_is_uneven() -> None:
    x, w = dg.randn(2, 3, 7, 8), dg.randn(4, 3, 2, 4)
    y = F.conv2d(x, w, padding="same")
    assert lies_last(y._data)
    with dg.backends.mkldnn.flags(enabled=False):
        z = F.conv2d(x, w, padding="same")
    assert not lies_last(z._data)
    np.testing.assert_allclose(y.numpy(), z.numpy(), rtol=1e-4, atol=1e-5)


@there
def test_what_it_does_not_serve_numpy_computes() -> None:
    for kind in (dg.float64, dg.float16, dg.bfloat16, dg.complex64):
        x, w = dg.ones(1, 2, 5, 5, dtype=kind), dg.ones(3, 2, 3, 3, dtype=kind)
        assert F.conv2d(x, w).sum().item() == 9 * 18 * 3
    assert F.conv2d(dg.ones(0, 2, 5, 5), dg.ones(3, 2, 3, 3)).shape == (0, 3, 3, 3)
    assert not convolution._kept.primitives


@there
def test_nan_and_infinity_go_through() -> None:
    x = dg.zeros(1, 1, 6, 6)
    x[0, 0, 0, 0], x[0, 0, 5, 5] = float("nan"), float("inf")
    y = F.conv2d(x, dg.ones(1, 1, 3, 3))
    assert y[0, 0].isnan().nonzero().tolist() == [[0, 0]]
    assert y[0, 0].isinf().nonzero().tolist() == [[3, 3]]


@there
def test_primitives_are_kept_but_not_all() -> None:
    convolution._kept.primitives.clear()
    for n in range(1, 5):
        F.conv2d(dg.ones(n, 2, 5, 5), dg.ones(3, 2, 3, 3))
        F.conv2d(dg.ones(n, 2, 5, 5), dg.ones(3, 2, 3, 3))
    assert len(convolution._kept.primitives) == 4
    for n in range(1, convolution._KEPT + 10):
        F.conv1d(dg.ones(1, 1, 4 + n), dg.ones(1, 1, 1))
    assert len(convolution._kept.primitives) == convolution._KEPT


@there
def test_threads_do_not_meet() -> None:
    function, arrays, options = a_case(1)
    inputs = [dg.tensor(a) for a in arrays]
    wanted = function(*inputs, **options).numpy()
    wrong: list[str] = []

    def run() -> None:
        for _ in range(30):
            if not np.array_equal(function(*inputs, **options).numpy(), wanted):
                wrong.append("differs")

    threads = [threading.Thread(target=run) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not wrong


@there
def test_a_network_trains_and_is_viewed() -> None:
    dg.manual_seed(0)
    net: Any = dg.nn.Sequential(
        dg.nn.Conv2d(1, 8, 3, padding=1), dg.nn.BatchNorm2d(8), dg.nn.ReLU(), dg.nn.MaxPool2d(2),
        dg.nn.Conv2d(8, 4, 3, stride=2), dg.nn.ReLU(),
    )  # fmt: skip
    last: Any = dg.nn.Linear(36, 2)
    optimizer = dg.optim.Adam([*net.parameters(), *last.parameters()], lr=0.01)
    x, y = dg.randn(16, 1, 16, 16), dg.arange(16) % 2
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        h = net(x)
        loss = F.cross_entropy(last(h.view(h.size(0), -1)), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
    with dg.no_grad():
        assert net(x)[0].view(-1).shape == (36,)


def said(**settings: str) -> subprocess.CompletedProcess[str]:
    program = (
        "import distgrad as torch\n"
        "print(torch.conv2d(torch.ones(1, 8, 40, 40), torch.ones(8, 8, 3, 3)).sum().item())\n"
        "print(torch.backends.mkldnn.is_available(), torch.backends.mkldnn.enabled)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **settings}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_the_environment_chooses() -> None:
    total = f"{8 * 38 * 38 * 72}.0"
    assert said(DISTGRAD_KERNELS="numpy").stdout.split()[::2] == [total, "False"]
    alone = said(DISTGRAD_ONEDNN_LIBRARY="")
    assert (alone.stdout.split(), alone.stderr) == ([total, "False", "True"], "")
    refused = said(DISTGRAD_ONEDNN_LIBRARY="", DISTGRAD_KERNELS="onednn")
    assert "DISTGRAD_KERNELS=onednn, but no libdnnl.so.3 was found" in refused.stderr
    assert "must be one of numpy, onednn or unset, but got 'fastest'" in said(DISTGRAD_KERNELS="fastest").stderr


def test_a_library_that_is_none_costs_speed_only(tmp_path: Any) -> None:
    false = tmp_path / "libdnnl.so.3"
    false.write_bytes(b"not a library")
    done = said(DISTGRAD_ONEDNN_LIBRARY=str(false))
    assert done.stdout.split()[1] == "False"
    assert done.returncode == 0


def test_one_too_old_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        class dnnl_version:  # noqa: N801
            restype: Any = None

            def __call__(self) -> Any:
                told = onednn._Version(2, 7, 1, b"", 0, 0)
                return onednn.ctypes.pointer(told)

        dnnl_version = dnnl_version()  # type: ignore[misc, assignment]

    monkeypatch.setattr(onednn.ctypes, "CDLL", lambda name: Old())
    with pytest.warns(RuntimeWarning, match=r"is oneDNN 2\.7\.1; version 3 is needed"):
        assert onednn._loaded.__wrapped__() is None
