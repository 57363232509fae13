#!/usr/bin/env bash
# PyTorch 2.13.0, CPU: inputs of one operation are not given their gradients in the order in which they were given to it.
#
# Expected: of stack([a, b, c, d]) the leaves' hooks are called as a, b, c, d, as those of two inputs are.
# Seen: of two and of three inputs they are; of four the order is a, c, b, d.  The engine keeps what is ready in a heap
# ordered by when it was recorded, and a heap does not keep the order of equals.
# For us: leaves are served in the order of their operation's inputs (docs/differences-from-pytorch.md), and our tests
# of the order beside PyTorch leave such operations out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import torch

found = {}
for n in (2, 3, 4):
    seen = []
    leaves = [torch.ones(1, requires_grad=True) for _ in range(n)]
    for name, leaf in zip("abcd", leaves):
        leaf.register_post_accumulate_grad_hook(lambda _, name=name: seen.append(name))
    torch.stack(leaves).sum().backward()
    found[n] = "".join(seen)
print(torch.__version__, found)
assert found[4] != "abcd", "they come in order now"
EOF
