#!/usr/bin/env bash
# NumPy 2.4.6, x86-64: maximum and minimum of a float32 array and a number take several times as long as of two arrays.
#
# Expected: that a number costs no more than an array full of it, as with add and multiply, since one operand less is read.
# Seen: on 10,000 elements np.maximum(x, 0) takes 3 times as long as np.maximum(x, zeros); np.add(x, 1) no longer than with
# an array of ones.
# For us: relu, clamp and their like compare with a block full of the number (distgrad/ops/_limits.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import platform
import time

import numpy as np

if platform.machine() != "x86_64":
    raise SystemExit(f"the finding is of x86-64; this is {platform.machine()}")
x = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
out = np.empty_like(x)


def ratio(ufunc, number: float) -> float:
    """The least time with a number over that with an array, of many short turns."""
    array = np.full_like(x, number)
    least = {True: 1.0, False: 1.0}
    for _ in range(300):
        for with_array in least:
            other = array if with_array else number
            start = time.perf_counter()
            for _ in range(20):
                ufunc(x, other, out=out)
            least[with_array] = min(least[with_array], time.perf_counter() - start)
    return least[False] / least[True]


found = {f.__name__: ratio(f, number) for f, number in ((np.maximum, 0.0), (np.minimum, 1.0), (np.add, 1.0))}
print(np.__version__, {k: round(v, 2) for k, v in found.items()})
assert found["maximum"] > 1.5, "a number costs no more now"
assert found["minimum"] > 1.5, "a number costs no more now"
assert found["add"] < 1.3, "a number costs more in a sum, too"
PY
