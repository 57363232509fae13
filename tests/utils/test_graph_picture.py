"""Pictures of graphs: each node once, arrows as the gradients go, boxes apart."""

from __future__ import annotations

import re
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import pytest

import distgrad
from distgrad import nn
from distgrad.cli import main
from distgrad.utils.graph_picture import graph_dot, graph_svg

SVG = "{http://www.w3.org/2000/svg}"


def _losses() -> dict[str, tuple[Any, dict[str, Any]]]:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    out = model(distgrad.ones(5, 3))
    w = distgrad.ones(2, requires_grad=True)
    chain = w
    for _ in range(3000):  # deeper than Python recurses
        chain = chain * 1.0
    wide = distgrad.stack([w * i for i in range(40)]).sum()
    return {
        "a model": (nn.functional.mse_loss(out, distgrad.zeros(5, 2)) + out.mean(), dict(model.named_parameters())),
        "a leaf twice": (w @ w, {"w": w}),
        "a chain": (chain.sum(), {"w": w}),
        "a wide one": (wide, {}),
        "several results": (distgrad.cat(w.split(1)), {"w": w}),
    }


LOSSES = ["a model", "a leaf twice", "a chain", "a wide one", "several results"]


@pytest.mark.parametrize("name", LOSSES)
def test_each_node_is_drawn_once_with_its_arrows(name: str) -> None:
    loss, names = _losses()[name]
    text = graph_dot(loss, names)
    nodes = re.findall(r"^  (n\d+) \[label=\"(.*?)\"", text, re.MULTILINE)
    arrows = re.findall(r"^  (n\d+) -> (n\d+)$", text, re.MULTILINE)
    found, waiting, edges = {id(loss.grad_fn)}, [loss.grad_fn], 0
    while waiting:
        for below, _ in waiting.pop().next_functions:
            if below is not None:
                edges += 1
                key = id(getattr(below, "leaf", below))
                if key not in found:
                    found.add(key)
                    waiting.append(below)
    assert len(nodes) == len(dict(nodes)) == len(found)
    assert len(arrows) == edges
    assert {a for arrow in arrows for a in arrow} <= dict(nodes).keys()
    for leaf in names:
        assert sum(label.startswith(leaf + "\\n") for _, label in nodes) == 1


@pytest.mark.parametrize("name", LOSSES)
def test_boxes_lie_apart_and_arrows_point_down(name: str) -> None:
    loss, names = _losses()[name]
    drawn = xml.etree.ElementTree.fromstring(graph_svg(loss, names))
    boxes = [tuple(float(r.attrib[k]) for k in ("x", "y", "width", "height")) for r in drawn.iter(SVG + "rect")]
    by_top: dict[float, list[tuple[float, ...]]] = {}
    for box in boxes:
        by_top.setdefault(box[1], []).append(box)
    bottom = 0.0
    for top in sorted(by_top):
        assert top >= bottom
        right = 0.0
        for x, _, width, height in sorted(by_top[top]):
            assert x >= right
            right = x + width
            bottom = max(bottom, top + height)
    assert all(float(line.attrib["y1"]) < float(line.attrib["y2"]) for line in drawn.iter(SVG + "line"))
    width, height = float(drawn.attrib["width"]), float(drawn.attrib["height"])
    assert all(x + w <= width and y + h <= height for x, y, w, h in boxes)


def test_what_was_not_recorded_has_no_graph() -> None:
    with pytest.raises(ValueError, match="recorded"):
        graph_dot(distgrad.ones(2))


SCRIPT = """
import distgrad as torch
model = torch.nn.Linear(2, 1)
loss = model(torch.ones(3, 2)).mean()
number = 3
"""


def test_the_command_draws_a_scripts_loss(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT, encoding="utf-8")
    for name in ("graph.svg", "graph.dot"):
        assert main(["graph", f"{script}:loss", "--out", str(tmp_path / name)]) == 0
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "weight" in text
        assert "bias" in text


@pytest.mark.parametrize(
    ("target", "out", "said"),
    [("train.py", "a.svg", "FILE.py:NAME"), ("train.py:number", "a.svg", "no tensor named number"),
     ("train.py:loss", "a.png", "svg or .dot"), ("none.py:loss", "a.svg", "FILE.py:NAME")],
)  # fmt: skip
def test_the_command_says_what_it_wants(
    target: str, out: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(SCRIPT, encoding="utf-8")
    with pytest.raises(SystemExit, match=said):
        main(["graph", target, "--out", out])
