#!/usr/bin/env bash
# PyTorch 2.13.0: the gradient of atan2 for a floating-point operand overflows beside an operand of small integers.
#
# Expected: operands are promoted before anything is computed, in backward as in forward.
# Seen: backward squares the integer operand in its own type. With 80 in uint8, 80² wraps round to 0, and the gradient is
# wrong by orders of magnitude, without a word; with the same number as a float it is right.
# For us: a gradient beside integers is computed in the gradient's type, and PyTorch is no oracle there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import torch


def gradient(kind):
    y = torch.tensor([-0.078], requires_grad=True)
    torch.atan2(torch.tensor([80], dtype=kind), y).sum().backward()
    return y.grad.item()


small, right = gradient(torch.uint8), gradient(torch.float32)
print(torch.__version__, "beside uint8:", small, "beside float32:", right)
assert abs(right + 0.0125) < 1e-4
assert abs(small - right) > 1, "the gradient beside uint8 is right now"
EOF
