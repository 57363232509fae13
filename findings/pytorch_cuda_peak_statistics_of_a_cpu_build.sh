#!/usr/bin/env bash
# PyTorch 2.13.0, a build for the CPU: some of torch.cuda's memory statistics answer 0, others raise what names no GPU.
#
# Expected: that all of memory_allocated, max_memory_allocated, memory_stats, empty_cache, reset_peak_memory_stats and
# memory_summary, which programs call to report memory, say that there is nothing, or all that there is no GPU.
# Seen: the first four answer (0, 0, an empty dict, None); reset_peak_memory_stats raises AttributeError for a missing
# function of torch._C, memory_summary KeyError.
# For us: all answer that there is nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import torch

found = {}
for name in (
    "memory_allocated", "max_memory_allocated", "memory_stats", "empty_cache", "reset_peak_memory_stats", "memory_summary"
):
    try:
        found[name] = getattr(torch.cuda, name)()
    except Exception as e:
        found[name] = type(e).__name__
print(torch.__version__, found)
if torch.version.cuda is not None:
    raise SystemExit("this PyTorch is built with CUDA; the finding is of the build for the CPU")
assert found["memory_allocated"] == found["max_memory_allocated"] == 0
assert not found["memory_stats"]
assert found["empty_cache"] is None
assert found["reset_peak_memory_stats"] == "AttributeError", "it is another now"
assert found["memory_summary"] == "KeyError", "it is another now"
PY
