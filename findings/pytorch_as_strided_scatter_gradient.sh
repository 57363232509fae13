#!/usr/bin/env bash
# PyTorch 2.13.0, CPU: the gradient of torch.as_strided_scatter for its first input is that of its complement.
#
# Expected: where the second input overwrites the first, the first one's gradient is 0, and it is 1 elsewhere, as finite
# differences say and as slice_scatter, select_scatter and diagonal_scatter have it.
# Seen: it is 1 where it is overwritten and 0 elsewhere, without a word; gradcheck at its defaults fails.
# For us: as_strided_scatter has the gradient that finite differences confirm (docs/differences-from-pytorch.md), and is
# not compared with PyTorch's there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import torch

x = torch.ones(3, 3, dtype=torch.float64, requires_grad=True)
new = torch.zeros(2, 2, dtype=torch.float64)
torch.as_strided_scatter(x, new, (2, 2), (3, 1)).sum().backward()  # the four elements of the upper left corner
print(torch.__version__, x.grad.tolist())
assert x.grad.tolist() == [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], "the gradient is another now"
y = torch.ones(3, 3, dtype=torch.float64, requires_grad=True)
torch.slice_scatter(y, torch.zeros(2, 3, dtype=torch.float64), 0, 0, 2).sum().backward()
print(y.grad.tolist())
assert y.grad.tolist() == [[0.0] * 3, [0.0] * 3, [1.0] * 3]
right = torch.autograd.gradcheck(lambda a: torch.as_strided_scatter(a, new, (2, 2), (3, 1)), x, raise_exception=False)
assert not right, "it agrees with finite differences now"
EOF
