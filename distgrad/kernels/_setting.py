"""Who may compute, by the environment and by what programs set."""

from __future__ import annotations

import os
from types import SimpleNamespace

_WORDS = ("", "numpy", "onednn")


def _given() -> str:
    word = os.environ.get("DISTGRAD_KERNELS", "")
    if word not in _WORDS:
        raise ValueError(f"DISTGRAD_KERNELS must be one of {', '.join(_WORDS[1:])} or unset, but got {word!r}")
    return word


# What the user wants; ``torch.backends.mkldnn.enabled`` is this ``enabled``, ``torch.set_num_threads`` says how many
# ``threads`` a kernel may take (None: as many as OpenMP does).
setting = SimpleNamespace(enabled=_given() != "numpy", demanded=_given() == "onednn", threads=None)
