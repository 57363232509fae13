"""Whose gradients and values count where ranks that share out an update do not have the same.

In PyTorch's ZeroRedundancyOptimizer each parameter is updated by one rank, its owner, with that rank's own gradient,
and all take the owner's result.  Here parameters are cut at other places; so before an update of what is not the same
everywhere all ranks take the owner's gradient, of which each then updates its part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distgrad import backend
from distgrad.autograd import Tensor
from distgrad.backend import Array
from distgrad.distributed.collectives.in_place import broadcast_array
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.gradients.fingerprint import PRIME, bits
from distgrad.storage import FlatStorage

__all__ = ["levelled", "owners", "told"]


def owners(groups: Sequence[Mapping[str, Any]], size: int) -> dict[int, int]:
    """By ``id`` of a parameter its owner among ``size`` ranks, as in PyTorch.

    In each group, from the largest on, a parameter goes to the rank that has the fewest elements so far.
    """
    elements = [0] * size
    found = {}
    for group in groups:
        for p in sorted(group["params"], key=lambda p: p.numel(), reverse=True):
            rank = found[id(p)] = elements.index(min(elements))
            elements[rank] += p.numel()
    return found


def told(flat: FlatStorage, values: bool) -> int:
    """A number for this rank's gradients, gathered in ``flat``, and with ``values`` for the parameters there."""
    present = [p._grad is not None for p in flat.params]
    if all(present):
        found = bits(flat.grad)
    else:  # in the slot of a missing one lies something older
        found = bits(np.array(present))
        for has, slot in zip(present, flat.slots, strict=True):
            if has:
                found = (found * 31 + bits(slot)) % PRIME
    for p in flat.params if values else ():
        found = (found * 31 + bits(p._data)) % PRIME
    return found % PRIME


def levelled(comm: Communicator, flat: FlatStorage, owner: Mapping[int, int]) -> tuple[Array, dict[int, Tensor | None]]:
    """Give parameters their owners' values.  Collective.

    Returns:
        the owners' gradients, laid out as ``flat.grad``; and of parameters, by their numbers, of which not this rank
        but the owner has a gradient, or the other way round, what this rank has.  There ``p.grad`` is now None where
        the owner's is, and something where it is not.
    """
    mine = np.array([p._grad is not None for p in flat.params], np.uint8)
    table = np.zeros((comm.size, mine.size), np.uint8)
    comm.Allgather(mine, table)
    with backend.where_it_lies(flat.grad):
        gradients = flat.grad.copy()
    aside = dict[int, Tensor | None]()
    for i, (p, (lo, hi)) in enumerate(zip(flat.params, flat.ranges, strict=True)):
        rank = owner.get(id(p))
        if rank is None:
            continue  # another optimizer's
        broadcast_array(comm, p._data, rank)
        p._bump()
        if table[rank, i]:
            broadcast_array(comm, gradients[lo:hi], rank)
        if mine[i] != table[rank, i]:
            aside[i] = p._grad
            p._grad = flat.grad_slot(i) if table[rank, i] else None
    return gradients, aside
