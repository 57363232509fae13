#!/usr/bin/env bash
# PyTorch 2.13.0, CPU: behind an empty vector torch.block_diag gives a block the gradient of other rows.
#
# Expected: an empty vector is a block of one row and no column, as the result shows, and the gradient of each block is
# the part of the result's gradient where the block lies.
# Seen: the result has that row, the gradient of the next block is read as if it had not: from the row above.
# For us: each block has its own part (docs/differences-from-pytorch.md).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import torch

x = torch.ones(2, requires_grad=True)
whole = torch.block_diag(torch.zeros(0), x)
print(torch.__version__, whole.tolist())
assert whole.tolist() == [[0.0, 0.0], [1.0, 1.0]]
(whole * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
print(x.grad.tolist())
assert x.grad.tolist() == [1.0, 2.0], "it is [3, 4] now, or something else"
EOF
