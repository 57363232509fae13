"""The training steps that are measured, written once for PyTorch's API: each runs on distgrad and on PyTorch.

``python benchmarks/steps.py LIBRARY STEP`` times one step in this process and prints a line of JSON.
"""

from __future__ import annotations

import importlib
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

Step = Callable[[], Any]


def library(name: str) -> Any:
    """The module ``distgrad`` or ``torch`` with its ``nn`` and ``optim``, on one thread."""
    lib = importlib.import_module(name)
    importlib.import_module(name + ".nn")
    importlib.import_module(name + ".optim")
    if name == "torch":
        lib.set_num_threads(1)
    lib.manual_seed(0)
    return lib


def _train(lib: Any, model: Any, loss_fn: Any, optimizer: Any, x: Any, y: Any) -> Step:
    def step() -> None:
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def linear_regression(lib: Any) -> Step:
    """11 points, nn.Linear(1, 1), MSE, SGD."""
    x = lib.arange(11.0).reshape(-1, 1)
    model = lib.nn.Linear(1, 1)
    return _train(lib, model, lib.nn.MSELoss(), lib.optim.SGD(model.parameters(), lr=0.01), x, 2 * x + 1)


def thermometer(lib: Any) -> Step:
    """A line through 11 points by hand-written operations on one parameter tensor, SGD."""
    t_c = lib.tensor([0.5, 14.0, 15.0, 28.0, 11.0, 8.0, 3.0, -4.0, 6.0, 13.0, 21.0])
    t_u = 0.1 * lib.tensor([35.7, 55.9, 58.2, 81.9, 56.3, 48.9, 33.9, 21.8, 48.4, 60.4, 68.4])
    params = lib.tensor([1.0, 0.0], requires_grad=True)
    optimizer = lib.optim.SGD([params], lr=1e-2)

    def model(t_u: Any, w: Any, b: Any) -> Any:
        return w * t_u + b

    def loss_fn(t_p: Any, t_c: Any) -> Any:
        squared_diffs = (t_p - t_c) ** 2
        return squared_diffs.mean()

    def step() -> None:
        loss = loss_fn(model(t_u, *params), t_c)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def chain(lib: Any) -> Step:
    """100 chained elementwise operations on 10 elements, forward and backward."""
    x = lib.randn(10).requires_grad_()
    start = lib.ones(10)

    def step() -> None:
        y = x
        for _ in range(25):
            y = lib.tanh(y * 1.01 + 0.1) * x
        x.grad = None
        y.backward(start)

    return step


def _mlp(lib: Any, sizes: tuple[int, ...]) -> Any:
    layers = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [lib.nn.Linear(n_in, n_out), lib.nn.ReLU()]
    return lib.nn.Sequential(*layers[:-1])


def mlp(lib: Any) -> Step:
    """784-256-128-10, batch 64, cross-entropy, Adam."""
    model = _mlp(lib, (784, 256, 128, 10))
    x, y = lib.randn(64, 784), lib.randint(0, 10, (64,))
    return _train(lib, model, lib.nn.CrossEntropyLoss(), lib.optim.Adam(model.parameters(), lr=1e-3), x, y)


def wide_mlp(lib: Any) -> Step:
    """1024-2048-2048-1024, batch 128, MSE, Adam."""
    model = _mlp(lib, (1024, 2048, 2048, 1024))
    x, y = lib.randn(128, 1024), lib.randn(128, 1024)
    return _train(lib, model, lib.nn.MSELoss(), lib.optim.Adam(model.parameters(), lr=1e-3), x, y)


def _update(lib: Any, name: str, count: int, size: int) -> Step:
    """The step alone of an optimizer with its defaults on ``count`` tensors of ``size`` elements."""
    params = [lib.randn(size).requires_grad_() for _ in range(count)]
    optimizer = getattr(lib.optim, name)(params)
    for p in params:
        p.sum().backward()
    return optimizer.step  # type: ignore[no-any-return]


def adam_200(lib: Any) -> Step:
    """Adam's step alone on 200 tensors of 256."""
    return _update(lib, "Adam", 200, 256)


def rmsprop_200(lib: Any) -> Step:
    """RMSprop's step alone on 200 tensors of 256."""
    return _update(lib, "RMSprop", 200, 256)


def adam_2x4m(lib: Any) -> Step:
    """Adam's step alone on 2 tensors of 4 M elements."""
    return _update(lib, "Adam", 2, 4 << 20)


# step: (how to make it, runs a sample, our time over PyTorch's to reach)
STEPS: dict[str, tuple[Callable[[Any], Step], int, float]] = {
    "linear_regression": (linear_regression, 1000, 0.33),
    "thermometer": (thermometer, 1000, 0.5),
    "chain": (chain, 100, 0.7),
    "mlp": (mlp, 50, 0.6),
    "wide_mlp": (wide_mlp, 2, 0.75),
    "adam_200": (adam_200, 50, 0.15),
    "rmsprop_200": (rmsprop_200, 50, 0.2),
    "adam_2x4m": (adam_2x4m, 3, 0.8),
}


def measure(name: str, step_name: str, samples: int = 9) -> float:
    """Median over ``samples`` of the time of one step, in microseconds, after a warm-up."""
    make, runs, _ = STEPS[step_name]
    step = make(library(name))
    for _ in range(max(runs // 5, 2)):
        step()
    found = []
    for _ in range(samples):
        start = time.perf_counter()
        for _ in range(runs):
            step()
        found.append((time.perf_counter() - start) / runs)
    return statistics.median(found) * 1e6


if __name__ == "__main__":
    print(json.dumps({"library": sys.argv[1], "step": sys.argv[2], "us": measure(sys.argv[1], sys.argv[2])}))
