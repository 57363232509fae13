#!/usr/bin/env bash
# PyTorch 2.13.0, CPU: the gradient of an activation at NaN depends on where in the tensor the element lies.
#
# Expected: one gradient for each function, whatever the tensor's length, as for every other input.
# Seen: hardtanh, relu6, elu, celu, selu, hardswish, hardshrink and softshrink have a vectorised loop and a scalar one for
# what is left over, and the two order their comparisons otherwise. Of 3 NaNs (x86-64, AVX2) hardtanh's gradient is 1, of
# 64 NaNs it is 0.
# For us: there is no one right value to hold gradients at NaN against; ours follow the scalar formula at every place.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import torch

found = {}
for name in ("hardtanh", "relu6"):
    function = getattr(torch.nn.functional, name)
    for n in (3, 64):
        x = torch.full((n,), float("nan"), requires_grad=True)
        function(x).sum().backward()
        found[name, n] = x.grad[0].item()
print(torch.__version__, found)
assert found["hardtanh", 3] != found["hardtanh", 64], "the gradients agree now"
EOF
