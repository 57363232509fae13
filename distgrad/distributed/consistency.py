"""Do all ranks have the same model?  Asked when it is wrapped, since afterwards only bytes are exchanged.

A parameter in another place or of another dtype would be summed with a stranger's gradient, silently.  One that came
later, or is trained only since, would not be summed at all, and the ranks would drift apart: see :class:`AsWrapped`.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from distgrad.distributed.communicator import Communicator

__all__ = ["AsWrapped", "check_same_model"]


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


class AsWrapped:
    """A module as it was when it was wrapped; cheap to compare with what it has become.

    Args:
        rank: for the error.
        module: what was wrapped.
    """

    def __init__(self, rank: int, module: Any) -> None:
        self._rank, self._module = rank, module
        named = dict(module.named_parameters())
        self._trained = [(name, p, p._data.dtype) for name, p in named.items() if p.requires_grad]
        self._frozen = [(name, p) for name, p in named.items() if not p.requires_grad]
        registries = [registry for part in module.modules() for registry in (part._parameters, part._modules)]
        self._held = [(registry, tuple(registry.values())) for registry in registries if registry]
        self._empty = [registry for registry in registries if not registry]

    def check(self) -> None:
        """RuntimeError if a parameter came, is trained since or has another dtype; it says which."""
        if any(self._empty):
            self._look()
        for registry, then in self._held:
            if len(registry) != len(then) or not all(map(operator.is_, registry.values(), then)):
                self._look()
                break
        for name, p, kind in self._trained:
            if p._data.dtype != kind:
                self._refuse(f"parameter '{name}' was {kind} and is {p._data.dtype} now")
        for name, p in self._frozen:
            if p.requires_grad:
                self._refuse(f"parameter '{name}' did not require a gradient and does now")

    def _look(self) -> None:
        known = {id(p) for _, p, _ in self._trained}
        for name, p in self._module.named_parameters():
            if p.requires_grad and id(p) not in known:
                self._refuse(f"parameter '{name}' was put there, or put in the place of another")

    def _refuse(self, what: str) -> None:
        raise RuntimeError(
            f"rank {self._rank}: {what}, after the model was wrapped: its gradient would not be averaged over the "
            "ranks as it should be. Change a model before wrapping it, or wrap it again"
        )


def _ranks(ranks: list[int]) -> str:
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}"
