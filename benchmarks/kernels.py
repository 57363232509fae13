"""Convolutions and networks of them by oneDNN, by NumPy alone and by PyTorch, each in processes of its own, in turns.

python benchmarks/kernels.py [--rounds 3] [--out benchmarks/results/NAME.json]

One thread.  The time is the median of a process's runs, then of the rounds; ratios are to PyTorch's default, whose
channels lie in front.  A convolution is its output and all three gradients.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WHO = {"oneDNN": ("distgrad", "onednn"), "NumPy": ("distgrad", "numpy"), "PyTorch": ("torch", "")}
SHAPES = {  # samples, channels, size, filters, stride
    "1 to 16, 28 x 28": (64, 1, 28, 16, 1),
    "16 to 32, 14 x 14": (64, 16, 14, 32, 1),
    "3 to 32, 32 x 32": (32, 3, 32, 32, 1),
    "32 to 64, stride 2": (32, 32, 32, 64, 2),
    "64 to 64, 16 x 16": (32, 64, 16, 64, 1),
}


def convolution(lib: Any, n: int, c: int, size: int, out: int, stride: int) -> Callable[[], Any]:
    """A convolution of 3 x 3 and its gradients."""
    x, w, b = lib.randn(n, c, size, size), lib.randn(out, c, 3, 3), lib.randn(out)
    inputs = [t.requires_grad_() for t in (x, w, b)]
    g = lib.ones_like(lib.nn.functional.conv2d(x, w, b, stride, 1).detach())
    return lambda: lib.autograd.grad(lib.nn.functional.conv2d(x, w, b, stride, 1), inputs, g)


def small(lib: Any) -> Any:
    """Two convolutions with pooling and two linear layers, for 28 x 28."""
    nn = lib.nn
    layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()]
    layers += [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 10)]
    return nn.Sequential(*layers), lib.randn(64, 1, 28, 28)


def normalized(lib: Any) -> Any:
    """Four convolutions with batch normalization, two of them of stride 2, for 32 x 32."""
    nn = lib.nn
    layers: list[Any] = []
    for c, out, stride in ((3, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2)):
        layers += [nn.Conv2d(c, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)), lib.randn(32, 3, 32, 32)


def training(lib: Any, make: Callable[[Any], Any]) -> Callable[[], Any]:
    """A step with Adam."""
    model, x = make(lib)
    y = lib.randint(0, 10, (x.shape[0],))
    optimizer = lib.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        lib.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def measure(library: str) -> None:
    """In a process of its own: print the milliseconds of every case."""
    lib: Any = importlib.import_module(library)
    lib.set_num_threads(1)
    lib.manual_seed(0)
    cases = {name: convolution(lib, *shape) for name, shape in SHAPES.items()}
    cases |= {"CNN, a step": training(lib, small), "batch-norm convnet, a step": training(lib, normalized)}
    found = {}
    for name, run in cases.items():
        times = []
        for k in range(13):
            start = time.perf_counter()
            run()
            times += [time.perf_counter() - start] * (k > 2)
        found[name] = statistics.median(times) * 1e3
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure)
        return
    runs: dict[str, list[dict[str, float]]] = {who: [] for who in WHO}
    for _ in range(args.rounds):
        for who, (library, kernels) in WHO.items():
            settings = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            settings |= {"DISTGRAD_KERNELS": kernels} if kernels else {}
            command = [sys.executable, __file__, "--measure", library]
            done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
            runs[who].append(json.loads(done.stdout))
    rows = []
    print(f"{'':<28}{'oneDNN':>10}{'NumPy':>10}{'PyTorch':>10}   (ms){'oneDNN':>8}{'NumPy':>7}   (of PyTorch)")
    for name in runs["PyTorch"][0]:
        ms = {who: statistics.median(run[name] for run in runs[who]) for who in WHO}
        ratios = [ms[who] / ms["PyTorch"] for who in ("oneDNN", "NumPy")]
        rows.append({"case": name, "ms": ms, "oneDNN over PyTorch": ratios[0], "NumPy over PyTorch": ratios[1]})
        print(f"{name:<28}" + "".join(f"{ms[who]:>10.2f}" for who in WHO) + f"{ratios[0]:>15.2f}{ratios[1]:>7.2f}")
    if args.out:
        from machine import describe

        from distgrad.kernels import told

        found = {"machine": describe(), "onednn": told()["onednn"], "rows": rows}
        args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
