"""Do all ranks have the same model?  Asked when it is wrapped, since afterwards only bytes are compared (RELIABILITY F5).

A parameter in another place or of another dtype would be summed with a stranger's gradient, silently.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from distgrad.distributed.communicator import Communicator

__all__ = ["check_same_model"]


def check_same_model(
    comm: Communicator, parameters: Iterable[tuple[str, Any]], buffers: Iterable[tuple[str, Any]]
) -> None:
    """Compare names, shapes, dtypes, order and ``requires_grad`` on all ranks, by one hash.  Collective.

    Raises:
        RuntimeError: on every rank alike; it names the first parameter or buffer that differs, and the ranks.
    """
    entries = [_describe("parameter", name, t) for name, t in parameters]
    entries += [_describe("buffer", name, t) for name, t in buffers]
    digest = np.frombuffer(hashlib.sha256(json.dumps(entries).encode()).digest(), np.uint8)
    digests = np.empty((comm.size, digest.size), np.uint8)
    comm.Allgather(digest, digests)
    if (digests == digests[0]).all():
        return
    models: list[list[str]] = comm.allgather(entries)
    for i in range(max(map(len, models))):
        here = [model[i] if i < len(model) else "absent" for model in models]
        variants = list(dict.fromkeys(here))
        if len(variants) > 1:
            found = "; ".join(f"{v} on {_ranks([r for r, x in enumerate(here) if x == v])}" for v in variants)
            raise RuntimeError(
                f"rank {comm.rank}: the ranks' models differ at entry {i}: {found}. "
                "Every rank must build the same model, its layers in the same order"
            )


def _describe(kind: str, name: str, tensor: Any) -> str:
    frozen = "" if kind == "buffer" or tensor.requires_grad else ", requires_grad=False"
    return f"{kind} '{name}' with shape {tuple(tensor.shape)} and dtype {tensor.dtype.name}{frozen}"


def _ranks(ranks: list[int]) -> str:
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}"
