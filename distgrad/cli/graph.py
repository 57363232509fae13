"""Draw the graph that a backward pass goes through.

    python -m distgrad graph train.py:loss --out graph.svg

runs ``train.py`` as a program and draws what is behind its variable ``loss``, with the names that ``model`` there, or
``--model``, gives its parameters.  ``.dot`` writes text for Graphviz.  The graph must be whole yet: draw a loss before
backward() was called on it.
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

COMMAND = ("graph",)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="FILE.py:NAME", help="a script, and its variable that holds a tensor")
    parser.add_argument("--out", type=Path, default=Path("graph.svg"), help="FILE.svg or FILE.dot")
    parser.add_argument("--model", default="model", help="the script's variable whose parameters are named")


def run(arguments: argparse.Namespace) -> int:
    from distgrad import Tensor
    from distgrad.utils.graph_picture import graph_dot, graph_svg

    file, _, name = arguments.target.rpartition(":")
    if not file or not Path(file).is_file():
        expected = "FILE.py:NAME, the path of a script and a variable of it"
        raise SystemExit(f"graph: expected {expected}, got {arguments.target}")
    draw = {".svg": graph_svg, ".dot": graph_dot}.get(arguments.out.suffix)
    if draw is None:
        raise SystemExit(f"graph: --out must end in .svg or .dot, got {arguments.out}")
    found = runpy.run_path(file, run_name="__main__")
    loss = found.get(name)
    if not isinstance(loss, Tensor):
        raise SystemExit(f"graph: {file} has no tensor named {name} at its end")
    model = found.get(arguments.model)
    try:
        text = draw(loss, dict(model.named_parameters()) if model is not None else {})
    except ValueError as e:
        raise SystemExit(f"graph: {e}") from None
    arguments.out.write_text(text, encoding="utf-8")
    print(f"{arguments.out}: what is behind {name}")
    return 0
