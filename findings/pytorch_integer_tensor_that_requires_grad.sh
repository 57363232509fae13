#!/usr/bin/env bash
# PyTorch 2.13.0: an integer tensor requires grad after fill_ with a tensor that does.
#
# Expected: "only Tensors of floating point and complex dtype can require gradients", as requires_grad_() says; so False.
# Seen: torch.tensor([1, 2]).fill_(t).requires_grad is True, and the tensor is still of int64.
# For us: results of integer types are never recorded; there we differ on purpose.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import torch

t = torch.tensor([1, 2]).fill_(torch.tensor(2.7, requires_grad=True))
print(torch.__version__, t)
assert t.dtype == torch.int64
assert t.requires_grad, "it does not require grad now"
EOF
