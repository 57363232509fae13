"""A cost model of a training step, fitted to what was measured on this node, and what it says of 8 … 4096 ranks.

python benchmarks/cost_model.py --scaling SCALING.json --all-reduce ALL_REDUCE.json [--out NAME.json]

For P ranks, L of them on a node, N = P / L nodes, and g bytes of gradients:

    step    = compute + update · share + meeting + sum + rest + max(0, network − overlap · compute)
    update  = what one rank alone takes for all parameters; share = 1 / L: the ranks of a node share it out
    meeting = 2 · m · ⌈log₂ L⌉                     two meetings a step; m is measured with 2 ranks
    sum     = (L + 1) · (g / L) / b(L)             a rank reads its part of L gradients and writes one
    b(L)    = min(b₁, B / L)                       memory: what one rank reaches, and what the node has to share
    network = 2 · (N − 1) / N · g / W + 2 · (a + (N − 1) · o)     N > 1: reduce-scatter and all-gather among the nodes

    rest    = what a measured step of several ranks on this node took beyond the other terms; at least nothing, since
              what two ranks save by keeping gradients as factors, eight of the same batch each do not

m, b₁ and B are fitted by least squares to the measured sums; a (latency of a message), W (bytes per second of a node)
and o (what a further message costs its sender) are the network's, as stated.

Assumptions: every node is as this machine; what its ranks lose to each other beside sums and meetings (caches, memory,
Python around a step) is with L ranks what it is with those measured; the ranks of a node use its network together and
fully; nobody else does; no rank is late (a real job waits for the slowest of P).  Sums between nodes begin while
backward runs, but how much of a transfer that hides is the MPI's and the network's affair: shown are nothing (0) and
nine tenths.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from machine import describe
from scaling_worker import MODELS


class Network(NamedTuple):
    """Seconds a message, bytes a second of a node, seconds a further message costs its sender."""

    latency: float
    bandwidth: float
    overhead: float


NETWORKS = {
    "10 Gbit Ethernet": Network(20e-6, 1.25e9, 2e-6),
    "100 Gbit RoCE": Network(3e-6, 12.5e9, 0.5e-6),
    "200 Gbit InfiniBand": Network(1.5e-6, 25e9, 0.3e-6),
}
NO_NETWORK = Network(0.0, math.inf, 0.0)  # of one node
RANKS = (8, 64, 512, 4096)
RANKS_A_NODE = 8


class Node(NamedTuple):
    """What was fitted: seconds a meeting of two, bytes a second that one rank reaches, and that the node has."""

    meeting: float
    one: float
    all: float


def fit(rows: list[dict[str, Any]], ranks: int) -> Node:
    """From rows of all_reduce.py on ``ranks`` ranks: seconds = 2 m + (L + 1) g / L / b, and the copy of all at once."""
    g = np.array([row["bytes"] for row in rows], float)
    t = np.array([row["us"]["shared"] for row in rows]) * 1e-6
    x = np.stack([np.ones_like(g), (ranks + 1) * g / ranks], axis=1) / t[:, None]  # relative errors
    (meetings, inverse), *_ = np.linalg.lstsq(x, np.ones_like(t), rcond=None)
    largest = rows[int(g.argmax())]
    together = ranks * 2 * largest["bytes"] / (largest["us"]["copy"] * 1e-6)  # each reads and writes it
    one = 1 / max(inverse, 1e-13)
    return Node(max(meetings, 0.0) / 2, one, max(together, ranks * one))


def gradient_bytes(model: str) -> int:
    """Bytes of float32 gradients."""
    sizes = MODELS[model][0]
    return 4 * sum(i * o + o for i, o in itertools.pairwise(sizes))


def step(
    compute: float,
    update: float,
    g: int,
    ranks: int,
    a_node: int,
    node: Node,
    net: Network,
    overlap: float,
    rest: float = 0.0,
) -> float:
    """Seconds a step; see the formula above."""
    here = min(a_node, ranks)
    nodes = ranks // here
    bandwidth = min(node.one, node.all / here)
    meeting = 2 * node.meeting * math.ceil(math.log2(here)) if here > 1 else 0.0
    adding = (here + 1) * (g / here) / bandwidth if here > 1 else 0.0
    network = 0.0
    if nodes > 1:
        network = 2 * (nodes - 1) / nodes * g / net.bandwidth + 2 * (net.latency + (nodes - 1) * net.overhead)
    return compute + update / here + meeting + adding + rest + max(0.0, network - overlap * compute)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scaling", type=Path, required=True)
    parser.add_argument("--all-reduce", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    reduced = json.loads(args.all_reduce.read_text())
    node = fit(reduced["rows"], reduced["ranks"])
    print(f"m = {node.meeting * 1e6:.1f} µs, b₁ = {node.one / 1e9:.1f} GB/s, B = {node.all / 1e9:.1f} GB/s")
    alone = {
        row["model"]: row
        for row in json.loads(args.scaling.read_text())["rows"]
        if (row["library"], row["mode"], row["ranks"]) == ("distgrad", "weak", 1)
    }
    together = {
        row["model"]: row["us"] * 1e-6
        for row in json.loads(args.scaling.read_text())["rows"]
        if (row["library"], row["mode"], row["ranks"]) == ("distgrad", "weak", reduced["ranks"])
    }
    rows, rests = [], {}
    for model, row in alone.items():
        whole, g = row["us"] * 1e-6, gradient_bytes(model)
        update = row["split"]["update"] * whole
        here = reduced["ranks"]
        rest = max(together[model] - step(whole - update, update, g, here, here, node, NO_NETWORK, 0.0), 0.0)
        rests[model] = rest
        print(f"{model:<10}rest = {rest * 1e6:.0f} of {together[model] * 1e6:.0f} µs, {here} ranks on this node")
        for name, net in NETWORKS.items():
            for overlap in (0.0, 0.9):
                times = [step(whole - update, update, g, n, RANKS_A_NODE, node, net, overlap, rest) for n in RANKS]
                rows.append(dict(model=model, network=name, overlap=overlap, ranks=RANKS, seconds=times, alone=whole))
                shown = "  ".join(f"{n}: {whole / t:.0%}" for n, t in zip(RANKS, times, strict=True))
                print(f"{model:<10}{name:<22}overlap {overlap:.1f}   weak efficiency at ranks  {shown}")
    if args.out:
        content = {"machine": describe(), "node": node._asdict(), "ranks_a_node": RANKS_A_NODE, "rest": rests}
        networks = {name: net._asdict() for name, net in NETWORKS.items()}
        args.out.write_text(json.dumps(content | {"networks": networks, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
