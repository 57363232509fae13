"""Results of several tensors: named tuples printed as PyTorch's, and watched where a rule reads them again."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from ..autograd import Tensor
from ..autograd.graph import Cell, Output
from ..autograd.recording import Watching


def named_result(name: str, *fields: str) -> Any:
    """A class of named tuples that is printed as PyTorch's ``torch.return_types.name``."""

    def text(self: Any) -> str:
        parts = ",\n".join(f"{field}={value!r}" for field, value in zip(fields, self, strict=True))
        return f"torch.return_types.{name}(\n{parts})"

    plain: Any = namedtuple(name, fields)
    made = type(name, (plain,), {"__slots__": (), "__repr__": text})
    made.__module__ = "torch.return_types"
    return made


def watched_results(outs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """``outs``, all results of one recorded operation whose rule reads them: it then notices writes to them."""
    edge = next((o._node for o in outs if o._node is not None), None)
    if edge.__class__ is Output:
        seen = []
        for o in outs:
            if o._vc is None:
                o._vc = Cell()
            same = Tensor._wrap(o._data, None)  # which does not keep the graph
            same._vc = o._vc
            seen.append(same)
        node = edge.edges[0]
        node.primitive = Watching(node.primitive, tuple(seen))
    return outs
