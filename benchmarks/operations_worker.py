"""A library that waits for operations.py's questions over a socket: seconds of so many calls of one operation."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Client
from typing import Any

from operation_cases import calls, inputs
from steps import library


def _first(lib: Any, result: Any) -> Any:
    """The first tensor of a result that has a history, or None."""
    several = result if isinstance(result, tuple | list) else (result,)
    return next((r for r in several if isinstance(r, lib.Tensor) and r.requires_grad), None)


def prepared(lib: Any, name: str, call: Callable[..., Any], n: int, backward: bool) -> Callable[[int], float] | None:
    """A function that gives the seconds of so many calls, or None where the call has no gradient to be timed."""
    names = inputs(lib, n, backward)

    def function() -> Any:
        return call(names)

    if not backward:
        step = function
    else:
        result = _first(lib, function())
        if result is None:
            return None
        ones = lib.ones_like(result)
        leaves = [x for x in vars(names).values() if isinstance(x, lib.Tensor) and x.is_leaf and x.requires_grad]

        def step() -> None:
            _first(lib, function()).backward(ones)
            for leaf in leaves:
                leaf.grad = None

        try:
            step()
        except RuntimeError as e:
            print(f"{lib.__name__}, {name}: {e}", file=sys.stderr)
            return None

    def seconds(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            step()
        return time.perf_counter() - start

    return seconds


def main(name: str, address: str) -> None:
    warnings.simplefilter("ignore")
    lib, table = library(name), calls()
    with Client(address) as asked:
        seconds = None
        while question := asked.recv():
            if question[0] == "prepare":
                seconds = prepared(lib, question[1], table[question[1]], *question[2:])
                asked.send(seconds is not None)
            else:
                asked.send(seconds(question[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
