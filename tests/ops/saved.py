"""What an operation saves, found out by writing to its inputs and results before its backward pass.

``python -m tests.ops.saved`` writes beside this file what PyTorch lets be written; the tests compare.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.ops.case import Row, differentiable, outputs

RECORDED = Path(__file__).with_suffix(".json")


def inputs_of(t: Any, case: Any) -> tuple[list[Any], list[Any]]:
    """The inputs of a case, in float64 and no leaves, so that they may be written to; and their leaves."""
    made, leaves = [], []
    for i, make in enumerate(case):
        x = t.tensor(make.array("float64", i))
        if differentiable(x) and make.kind != "constant":
            leaves.append(x.requires_grad_())
            x = x * 1
        made.append(x)
    return made, leaves


def total_of(t: Any, outs: list[Any]) -> Any:
    """One number that depends on every element of those that require grad; saves none of them."""
    total = 0
    for k, o in enumerate(outs):
        if o.requires_grad:
            w = t.tensor(np.cos(np.arange(o.numel()) + k).reshape(tuple(o.shape)))
            total = total + ((o.real * w).sum() + (o.imag * w).sum() if o.dtype.is_complex else (o * w).sum())
    return total


def overwrite(t: Any, x: Any) -> None:
    """Other values, seen by whoever counts writes."""
    x = x.detach()
    if x.dtype is t.bool:
        x.logical_not_()
    elif any(stride == 0 and n > 1 for stride, n in zip(x.stride(), x.shape, strict=True)):
        x.zero_()
    else:
        x.mul_(2).add_(1)


def made(t: Any, row: Row, case: Any) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """The inputs of a case, their leaves, the results, and those results that are no inputs."""
    xs, leaves = inputs_of(t, case)
    outs = outputs(row.call(t, *xs))
    return xs, leaves, outs, [o for o in outs if not any(o is x for x in xs)]


def places(t: Any, row: Row, case: Any) -> list[str]:
    """What there is to write to: ``in0``, ``in1``, …, ``out0``, …, those with elements."""
    xs, _, _, own = made(t, row, case)
    return [f"in{i}" for i, x in enumerate(xs) if x.numel()] + [f"out{i}" for i, o in enumerate(own) if o.numel()]


def gradients(t: Any, row: Row, case: Any, place: str | None = None) -> list[Any] | str | None:
    """The gradients of the case's leaves where ``place`` was written to before the backward pass, or "raises"; None
    where nothing is recorded."""
    xs, leaves, outs, own = made(t, row, case)
    total = total_of(t, outs)
    if not getattr(total, "requires_grad", False):
        return None
    if place is not None:
        overwrite(t, (xs if place.startswith("in") else own)[int(place.lstrip("inout"))])
    try:
        total.backward()
    except RuntimeError as e:
        if "modified by an inplace operation" in str(e) or "has been modified inplace" in str(e):
            return "raises"
        raise
    return [None if leaf.grad is None else np.asarray((leaf.grad + t.zeros(leaf.shape)).tolist()) for leaf in leaves]


def allowed(t: Any, row: Row, case: Any) -> set[str]:
    """The places that may be written to."""
    return {p for p in places(t, row, case) if gradients(t, row, case, p) not in ("raises", None)}


def record(t: Any, rows: list[Row]) -> None:
    """Write what module ``t`` lets be written, for each row (of several of one name what all allow) and case."""
    found: dict[str, set[str]] = {}
    for row in rows:
        for i, case in enumerate(row.cases[:2]):
            if gradients(t, row, case) is not None:
                name = f"{row.name} {i}"
                found[name] = found.get(name, allowed(t, row, case)) & allowed(t, row, case)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(' '.join(sorted(let)))}" for name, let in found.items())
    RECORDED.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    import torch

    from tests.ops.test_rows import ROWS

    record(torch, ROWS)
