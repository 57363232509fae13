"""A picture of the graph that a backward pass will go through: as DOT, for Graphviz, and as SVG, by itself.

A box is an operation, with the shape of its result and the memory it saves, or a leaf whose ``.grad`` will be added to,
with its name if that is told.  An arrow leads from a gradient to the next.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..autograd import Tensor
from ..autograd.tensor import TENSORS

__all__ = ["graph_dot", "graph_svg"]

_LETTER, _LINE, _GAP, _ROW = 7, 16, 24, 46  # of the SVG, in pixels: a letter's width, and heights and distances


class _Box(NamedTuple):
    lines: tuple[str, ...]
    leaf: bool


def _size(nbytes: int) -> str:
    for unit in ("B", "KB", "MB"):
        if nbytes < 1000:
            return f"{nbytes:.3g} {unit}"
        nbytes /= 1000  # type: ignore[assignment]
    return f"{nbytes:.3g} GB"


def _saved(node: Any) -> int:
    """Bytes of the tensors that a node keeps for its gradient rule."""
    kept = [a._data for a in getattr(node, "args", None) or () if a.__class__ in TENSORS]
    ans = getattr(node, "ans", None)
    kept += list(ans) if isinstance(ans, tuple) else [] if ans is None else [ans]
    return sum(int(getattr(a, "nbytes", 0)) for a in kept)


def _box(node: Any, names: dict[int, str]) -> _Box:
    leaf = getattr(node, "leaf", None)
    if leaf is not None:
        return _Box((names.get(id(node.variable), "leaf"), f"{list(leaf.shape)} {leaf.dtype}"), True)
    lines = [node.name()]
    sizes = getattr(node, "shape", None)
    if sizes is not None:
        lines.append(str(list(sizes)))
    if nbytes := _saved(node):
        lines.append(f"saves {_size(nbytes)}")
    return _Box(tuple(lines), False)


def _graph(
    outputs: Tensor | Iterable[Tensor], params: Mapping[str, Tensor] | None
) -> tuple[dict[Any, _Box], list[tuple[Any, Any]], dict[Any, int]]:
    """The boxes by node, the arrows, and the row of each node: below all that lead to it."""
    given = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    roots = [t.grad_fn for t in given if t.grad_fn is not None]
    if not roots:
        raise ValueError("none of the outputs was recorded: their graph is empty")
    names = {id(t): name for name, t in (params or {}).items()}
    boxes: dict[Any, _Box] = {}
    leaves: dict[int, Any] = {}
    arrows: list[tuple[Any, Any]] = []
    waiting = list(dict.fromkeys(roots))
    seen = set(waiting)
    before: dict[Any, int] = dict.fromkeys(waiting, 0)
    while waiting:
        node = waiting.pop()
        boxes[node] = _box(node, names)
        for below, _ in getattr(node, "next_functions", ()):
            if below is None:
                continue
            leaf = getattr(below, "leaf", None)
            if leaf is not None:  # whose node is made anew whenever it is asked for
                below = leaves.setdefault(id(leaf), below)
            arrows.append((node, below))
            before[below] = before.get(below, 0) + 1
            if below not in seen:
                seen.add(below)
                waiting.append(below)
    rows = dict.fromkeys(boxes, 0)
    below_of: dict[Any, list[Any]] = {}
    for a, b in arrows:
        below_of.setdefault(a, []).append(b)
    ready = [node for node in boxes if not before[node]]
    while ready:
        node = ready.pop()
        for b in below_of.get(node, ()):
            rows[b] = max(rows[b], rows[node] + 1)
            before[b] -= 1
            if not before[b]:
                ready.append(b)
    return boxes, arrows, rows


def graph_dot(outputs: Tensor | Iterable[Tensor], params: Mapping[str, Tensor] | None = None) -> str:
    """The graph behind ``outputs``, a tensor or several, in the DOT language.

    Args:
        params: names of leaves, for example ``dict(model.named_parameters())``.

    Raises:
        ValueError: none of the outputs was recorded.

    >>> from distgrad.utils.graph_picture import graph_dot
    >>> w = torch.ones(2, requires_grad=True)
    >>> print(graph_dot((w * 2).sum(), {"w": w}))
    digraph {
      node [shape=box, fontname=monospace]
      n0 [label="SumBackward0\\n[]"]
      n1 [label="MulBackward0\\n[2]"]
      n2 [label="w\\n[2] float32", style=filled, fillcolor=lightblue]
      n0 -> n1
      n1 -> n2
    }
    """
    boxes, arrows, _ = _graph(outputs, params)
    number = {node: f"n{i}" for i, node in enumerate(boxes)}
    lines = ["digraph {", "  node [shape=box, fontname=monospace]"]
    for node, box in boxes.items():
        label = "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in box.lines)
        lines.append(f'  {number[node]} [label="{label}"{", style=filled, fillcolor=lightblue" * box.leaf}]')
    lines += [f"  {number[a]} -> {number[b]}" for a, b in arrows]
    return "\n".join([*lines, "}"])


def _placed(boxes: dict[Any, _Box], arrows: list[tuple[Any, Any]], rows: dict[Any, int]) -> dict[Any, tuple[int, ...]]:
    """Of each node the left edge, top, width and height; in a row they stand as those above them do."""
    above: dict[Any, list[Any]] = {}
    for a, b in arrows:
        above.setdefault(b, []).append(a)
    by_row: dict[int, list[Any]] = {}
    for node in boxes:
        by_row.setdefault(rows[node], []).append(node)
    places: dict[Any, tuple[int, ...]] = {}
    top = _GAP
    for row in sorted(by_row):
        centres = {n: [places[a][0] + places[a][2] / 2 for a in above.get(n, ()) if a in places] for n in by_row[row]}
        left, highest = _GAP, 0
        for node in sorted(by_row[row], key=lambda n: sum(centres[n]) / max(len(centres[n]), 1)):
            width = _LETTER * max(map(len, boxes[node].lines)) + 16
            height = _LINE * len(boxes[node].lines) + 8
            wanted = round(sum(centres[node]) / len(centres[node]) - width / 2) if centres[node] else left
            left = max(left, wanted)
            places[node] = (left, top, width, height)
            left += width + _GAP
            highest = max(highest, height)
        top += highest + _ROW
    return places


def graph_svg(outputs: Tensor | Iterable[Tensor], params: Mapping[str, Tensor] | None = None) -> str:
    """The graph behind ``outputs`` as an SVG image; arguments and errors as of :func:`graph_dot`.

    >>> from distgrad.utils.graph_picture import graph_svg
    >>> graph_svg(torch.ones(2, requires_grad=True).sum())[:4]
    '<svg'
    """
    boxes, arrows, rows = _graph(outputs, params)
    places = _placed(boxes, arrows, rows)
    width = max(x + w for x, _, w, _ in places.values()) + _GAP
    height = max(y + h for _, y, _, h in places.values()) + _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="monospace" '
        'font-size="12">',
        '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
    ]
    for a, b in arrows:
        (ax, ay, aw, ah), (bx, by, bw, _) = places[a], places[b]
        parts.append(
            f'<line x1="{ax + aw / 2:g}" y1="{ay + ah}" x2="{bx + bw / 2:g}" y2="{by}" stroke="gray" '
            'marker-end="url(#tip)"/>'
        )
    for node, (x, y, w, h) in places.items():
        fill = "lightblue" if boxes[node].leaf else "white"
        parts.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="{fill}" stroke="black"/>')
        for i, line in enumerate(boxes[node].lines, 1):
            text = f'<text x="{x + w / 2:g}" y="{y + _LINE * i}" text-anchor="middle">'
            parts.append(f"{text}{html.escape(line)}</text>")
    return "\n".join([*parts, "</svg>"]) + "\n"
