#!/usr/bin/env bash
# PyTorch 2.13.0, CPU: torch.special.gammainc of NaN is 0 at 0, and zeta of an infinite second argument is NaN.
#
# Expected: NaN for gammainc(nan, 0), as of every function of NaN; 0 for zeta(30, inf), the limit of its sum.
# Seen: 0 and NaN; SciPy 1.17.0 gives NaN and 0.
# For us: SciPy's answers (docs/differences-from-pytorch.md).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 scipy==1.17.0
"$folder/venv/bin/python" - <<'PY'
import math

import torch
from scipy import special


def both(name: str, a: float, b: float) -> tuple[float, float]:
    theirs = getattr(torch.special, name)(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64))
    found = theirs.item(), float(getattr(special, name)(a, b))
    print(torch.__version__, f"{name}({a}, {b}):", *found)
    return found


incomplete, zeta = both("gammainc", math.nan, 0.0), both("zeta", 30.0, math.inf)
assert incomplete[0] == 0 and math.isnan(incomplete[1]), "gammainc of NaN at 0 is something else now"
assert math.isnan(zeta[0]) and zeta[1] == 0, "zeta of an infinite second argument is something else now"
PY
