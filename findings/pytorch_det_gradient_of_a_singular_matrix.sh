#!/usr/bin/env bash
# PyTorch 2.13.0, CPU: the gradient of torch.det at an exactly singular matrix depends on whether it is recorded.
#
# Expected: the derivative of a determinant is the matrix of cofactors, of singular matrices too: of [[1, 2], [2, 4]] it is
# [[4, -2], [-2, 1]], and create_graph changes no value.
# Seen: an ordinary backward pass gives zeros; with create_graph=True the cofactors come.
# For us: the cofactors, always (docs/differences-from-pytorch.md).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import torch

found = {}
for recorded in (False, True):
    a = torch.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(torch.det(a), a, create_graph=recorded)
    found[recorded] = g.detach()
print(torch.__version__, {k: v.tolist() for k, v in found.items()})
cofactors = torch.tensor([[4.0, -2.0], [-2.0, 1.0]], dtype=torch.float64)
assert torch.equal(found[False], torch.zeros(2, 2, dtype=torch.float64)), "the ordinary pass gives something else now"
assert torch.allclose(found[True], cofactors), "the recorded one gives something else now"
EOF
