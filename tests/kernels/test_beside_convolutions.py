"""Max pooling and batch normalization by oneDNN, of what convolutions leave, give what NumPy gives."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import distgrad as dg
from distgrad import kernels
from distgrad.kernels import _kept, onednn

pytestmark = pytest.mark.skipif(onednn.library() is None, reason="oneDNN is not installed: the extra fast brings it")
F = dg.nn.functional


def last(array: np.ndarray) -> Any:
    """A tensor over a copy of ``array`` whose channels lie last."""
    return dg.from_numpy(np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)).requires_grad_()


def both(operation: Any, array: np.ndarray, used: bool | None = True) -> None:
    """Results and gradients of ``operation`` by the library and by NumPy."""
    found = []
    for enabled in (True, False):
        _kept.kept.primitives.clear()
        with dg.backends.mkldnn.flags(enabled=enabled):
            x = last(array)
            y, others = operation(x)
            g = dg.arange(y.numel()).reshape(y.shape).remainder(5) - 2.0
            grads = dg.autograd.grad(y, [x, *others], g)
        if used is not None or not enabled:
            assert any(_kept.kept.primitives.values()) is (enabled and used)
        found.append([t.detach().numpy() for t in (y, *grads)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("seed", range(40))
def test_max_pooling(seed: int) -> None:
    r = random.Random(seed)
    n = r.choice([1, 2, 2, 3])
    kernel = [r.choice([1, 2, 3]) for _ in range(n)]
    options = {
        "stride": [r.choice([1, 2, 3]) for _ in range(n)],
        "padding": [r.randint(0, k // 2) for k in kernel],
        "dilation": [r.choice([1, 1, 2]) for _ in range(n)],
        "ceil_mode": r.random() < 0.4,
    }
    shape = (r.choice([1, 3]), r.choice([2, 5, 16]), *[r.choice([7, 8, 10]) for _ in range(n)])
    drawn = np.random.default_rng(seed)
    values = drawn.integers(-3, 3, shape) if seed % 2 else drawn.standard_normal(shape)  # ties, or none
    both(lambda x: (getattr(F, f"max_pool{n}d")(x, kernel, **options), ()), values.astype(np.float32))


def test_max_pooling_of_nan_and_infinity() -> None:
    x = np.zeros((1, 4, 6, 6), np.float32)
    x[0, 1, 2, 2] = np.inf
    x[0, 2] = -np.inf
    both(lambda x: (F.max_pool2d(x, 2), ()), x, used=False)
    x[0, 3, 0, 5] = np.nan
    both(lambda x: (F.max_pool2d(x, 2), ()), x, used=False)
    with dg.backends.mkldnn.flags(enabled=True):
        assert F.max_pool2d(last(x), 2)[0, 3].isnan().tolist() == [[False, False, True]] + [[False] * 3] * 2


@pytest.mark.parametrize("shape", [(8, 3, 4, 5), (2, 16, 7), (3, 33, 2, 3, 4), (64, 8, 16, 16)], ids=str)
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (50.0, 0.5), (-3.0, 10.0)])
@pytest.mark.parametrize("affine", [False, True])
def test_batch_normalization(shape: tuple[int, ...], mean: float, std: float, affine: bool) -> None:
    c = shape[1]
    running: list[np.ndarray] = []

    def operation(x: Any) -> Any:
        w, b = dg.linspace(0.5, 2, c).requires_grad_(), dg.linspace(-1, 1, c).requires_grad_()
        m, v = dg.zeros(c), dg.ones(c)
        y = F.batch_norm(x, m, v, *((w, b) if affine else (None, None)), training=True)
        running.extend([m.numpy(), v.numpy()])
        return y, (w, b) if affine else ()

    both(operation, (mean + std * np.random.default_rng(1).standard_normal(shape)).astype(np.float32))
    assert len(running) == 4
    for a, b in zip(running[:2], running[2:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_batch_normalization_with_other_types_of_weights_and_in_evaluation() -> None:
    x = np.random.default_rng(2).standard_normal((4, 3, 5, 5)).astype(np.float32)
    both(lambda x: (F.batch_norm(x, dg.zeros(3), dg.ones(3), training=False), ()), x, used=False)
    both(
        lambda x: (F.batch_norm(x.double(), dg.zeros(3).double(), dg.ones(3).double(), training=True), ()),
        x,
        used=False,
    )


def test_the_threads_are_the_users() -> None:
    before, told = kernels.setting.threads, dg.get_num_threads()
    x, w = dg.randn(2, 8, 20, 20), dg.randn(8, 8, 3, 3)
    try:
        for n in (1, 2):
            dg.set_num_threads(n)
            dg.conv2d(x, w)
            assert onednn._everywhere().threads == n
            assert onednn._openmp().omp_get_max_threads() == n
    finally:
        dg.set_num_threads(told)
        kernels.setting.threads = before
