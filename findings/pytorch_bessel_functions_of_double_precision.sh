#!/usr/bin/env bash
# PyTorch 2.13.0, CPU: torch.special.bessel_j0, j1, y0 and y1 of float64 have the precision of float32.
#
# Expected: errors of some 1e-16, as of other functions of torch.special.
# Seen: up to 4e-7 for j0 and j1, 2e-7 for y0, 9e-7 for y1 on 0 ... 30, largest just above 5, against SciPy 1.17.0, which
# the integral (1/pi) int cos(t - x sin t) dt of j1 confirms to 1e-12.
# For us: SciPy's functions, in float64's precision (docs/differences-from-pytorch.md).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 scipy==1.17.0
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import torch
from scipy import integrate, special

x = torch.linspace(0.01, 30, 3000, dtype=torch.float64)
for name in ("j0", "j1", "y0", "y1"):
    theirs, scipys = getattr(torch.special, f"bessel_{name}")(x).numpy(), getattr(special, name)(x.numpy())
    away = np.abs(theirs - scipys)
    print(torch.__version__, name, "error:", away.max(), "at", x[away.argmax()].item())
    assert 1e-7 < away.max() < 1e-5, f"bessel_{name} is of another precision now"
for point in (5.01, 7.0):
    exact = integrate.quad(lambda t, point=point: np.cos(t - point * np.sin(t)), 0, np.pi, epsabs=1e-13)[0] / np.pi
    assert abs(float(special.j1(point)) - exact) < 1e-12
PY
