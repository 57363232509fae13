#!/usr/bin/env bash
# PyTorch 2.13.0: x[[tensor, tensor]] still means x[tensor, tensor], though the warning says that 2.9 would change it.
#
# Expected: since 2.9 a list of tensors is one index tensor, as NumPy reads it and as the warning announces.
# Seen: the warning and the old meaning are both there in 2.13; the shapes of the two readings differ.
# For us: a list that holds tensors means a tuple.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import warnings

import torch

x = torch.arange(9).reshape(3, 3)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    found = x[[torch.tensor([0, 2]), torch.tensor([1, 1])]]
print(torch.__version__, found.tolist(), [str(w.message)[:200] for w in said])
assert found.tolist() == [1, 7], "a list of tensors is read otherwise now"
assert any("2.9" in str(w.message) for w in said), "the warning is gone"
EOF
