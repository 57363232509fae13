"""Do all ranks have the same model?  Asked when it is wrapped, since afterwards only bytes are exchanged.

A parameter in another place or of another dtype would be summed with a stranger's gradient, silently.  One that came
later, or is trained only since, would not be summed at all, and the ranks would drift apart: see :class:`AsWrapped`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import operator
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from distgrad.distributed.communication.communicator import Communicator

__all__ = ["AsWrapped", "check_same_model"]


def check_same_model(
    comm: Communicator,
    parameters: Iterable[tuple[str, Any]],
    buffers: Iterable[tuple[str, Any]],
    options: Mapping[str, Any] | None = None,
) -> None:
    """Compare names, shapes, dtypes, order and ``requires_grad`` on all ranks, by one hash.  Collective.

    Args:
        comm: the ranks.
        parameters, buffers: of this rank's model, by name.
        options: what else must be the same, of how gradients are reduced.

    Raises:
        RuntimeError: on every rank alike; it names the first parameter or buffer that differs, and the ranks.
    """
    entries = [f"option {name}={value!r}" for name, value in (options or {}).items()]
    entries += [_describe("parameter", name, t) for name, t in parameters]
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
                "Every rank must build the same model, its layers in the same order, and wrap it alike"
            )


def _describe(kind: str, name: str, tensor: Any) -> str:
    frozen = "" if kind == "buffer" or tensor.requires_grad else ", requires_grad=False"
    return f"{kind} '{name}' with shape {tuple(tensor.shape)} and dtype {tensor.dtype.name}{frozen}"


_chain = itertools.chain.from_iterable


class AsWrapped:
    """A module as it was when it was wrapped; cheap to compare with what it has become.

    Args:
        rank: for the error.
        module: what was wrapped.
    """

    def __init__(self, rank: int, module: Any) -> None:
        self._rank, self._module = rank, module
        named = dict(module.named_parameters())
        self._trained = {name: p for name, p in named.items() if p.requires_grad}
        self._frozen = {name: p for name, p in named.items() if not p.requires_grad}
        self._kinds = [p._data.dtype for p in self._trained.values()]
        registries = [registry for part in module.modules() for registry in (part._parameters, part._modules)]
        end = object()  # behind the last, so that what came or went shows
        self._members = [*(registry.values() for registry in registries), (end,)]
        self._held = [*_chain(self._members)]
        self._them = [*self._trained.values()]

    def __reduce__(self) -> tuple[Any, ...]:
        return AsWrapped, (self._rank, self._module)  # of the copy that is loaded, as it is then

    def check(self) -> None:
        """RuntimeError if a parameter came, is trained since or has another dtype; it says which."""
        # Each forward pass comes by here: whole lists are compared, and looked through only where they differ.
        if not all(map(operator.is_, _chain(self._members), self._held)):
            self._look()
        if [p._data.dtype for p in self._them] != self._kinds:
            for (name, p), kind in zip(self._trained.items(), self._kinds, strict=True):
                if p._data.dtype != kind:
                    self._refuse(f"parameter '{name}' was {kind} and is {p._data.dtype} now")
        for name, p in self._frozen.items() if self._frozen else ():
            if p.requires_grad:
                self._refuse(f"parameter '{name}' did not require a gradient and does now")

    def _look(self) -> None:
        known = {id(p) for p in self._trained.values()}
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
