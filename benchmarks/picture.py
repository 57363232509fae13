"""A picture of recorded steps: the time of each over PyTorch's, as bars.

python benchmarks/picture.py [RESULTS.json] [--out docs/pictures/steps.svg]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

HERE = Path(__file__).parent
PICTURE = HERE.parent / "docs" / "pictures" / "steps.svg"
NAMES = {
    "linear_regression": "linear regression, SGD",
    "thermometer": "thermometer, SGD",
    "chain": "100 chained operations",
    "mlp": "MLP, Adam",
    "wide_mlp": "wide MLP, Adam",
    "adam_200": "Adam, 200 x 256",
    "rmsprop_200": "RMSprop, 200 x 256",
    "adam_2x4m": "Adam, 2 x 4 M",
}
LEFT, WIDE, TALL = 200, 400, 26  # pixels: of the names, of PyTorch's time, of a row


def newest() -> Path:
    """The newest recorded steps."""
    return max((HERE / "results").glob("steps-*.json"))


def drawn(results: dict[str, Any]) -> str:
    """The picture, as SVG."""
    rows = results["steps"]
    machine = results["machine"]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDE + 60}" height="{TALL * (len(rows) + 2)}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="18">time of a step over PyTorch\'s; shorter is quicker ({escape(machine["processor"])}, '
        f"{machine['date']})</text>",
    ]
    for i, row in enumerate(rows, 1):
        y = TALL * i + 8
        width = WIDE * row["ratio"]
        lines += [
            f'<rect x="{LEFT}" y="{y}" width="{WIDE}" height="{TALL - 8}" fill="#dddddd"/>',
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{TALL - 8}" fill="#2b6cb0"/>',
            f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(NAMES.get(row["step"], row["step"]))}</text>',
            f'<text x="{LEFT + WIDE + 8}" y="{y + 14}">{row["ratio"]:.2f}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="?", type=Path, default=newest())
    parser.add_argument("--out", type=Path, default=PICTURE)
    args = parser.parse_args()
    args.out.write_text(drawn(json.loads(args.results.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
