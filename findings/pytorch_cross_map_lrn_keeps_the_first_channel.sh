#!/usr/bin/env bash
# PyTorch 2.13.0, CPU: nn.CrossMapLRN2d counts the first channel in the window of every channel.
#
# Expected: what nn.LocalResponseNorm gives, whose arguments are the same: each channel is divided by a sum over its
# neighbours, of size 3 one on either side.
# Seen: where only channel 0 is large, all six channels are divided by its square; where another is, its neighbours alone.
# For us: the neighbours alone, for channel 0 too (docs/differences-from-pytorch.md).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import torch
from torch import nn


def divisors(layer: nn.Module, large: int) -> list[float]:
    x = torch.full((1, 6, 1, 1), 1e-3)
    x[0, large] = 2.0
    return [round(v, 2) for v in (x / layer(x)).flatten().tolist()]


options = dict(alpha=3.0, beta=1.0, k=1.0)
old, new = nn.CrossMapLRN2d(3, **options), nn.LocalResponseNorm(3, **options)
for large in (0, 3):
    print(torch.__version__, "large:", large, "CrossMapLRN2d", divisors(old, large), "LocalResponseNorm", divisors(new, large))
assert divisors(new, 0) == [5.0, 5.0, 1.0, 1.0, 1.0, 1.0]
assert divisors(old, 0) == [5.0] * 6, "the first channel counts for its neighbours alone now"
assert divisors(old, 3) == divisors(new, 3) == [1.0, 1.0, 5.0, 5.0, 5.0, 1.0]
PY
