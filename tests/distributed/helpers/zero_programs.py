"""Random programs with ZeroRedundancyOptimizer whose ranks have other gradients or parameters, by NumPy alone.

PyTorch's rules: of each group's parameters, from the largest on, each goes to the rank with the fewest elements so far,
its owner, which updates it by its own gradient (not at all if it has none); then all ranks take the owner's values.

As a program, ``zero_programs.py BACKENDS SEED COUNT`` on each rank; with ``torch``, PyTorch's own, over gloo.
"""

from __future__ import annotations

import copy
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # as a program by mpirun

LR, LR_LATER, MOMENTUM, EVERYBODY = 0.05, 0.02, 0.5, -1
SIZES = {"a": 3, "b": 40, "c": 33, "d": 7}  # parts of ranks begin and end amid them
GROUPS = [["a", "b"], ["c"], ["d"]]  # the last is added later, or never
Op = tuple[str, int, Any]  # what, which rank or EVERYBODY, an argument


def random_program(seed: int, ranks: int) -> list[Op]:
    """Operations; steps are all ranks'."""
    rng = np.random.default_rng([seed, ranks])
    program: list[Op] = []
    made, added = 0, False

    def work(who: int, mode: str) -> None:
        nonlocal made
        program.append(("work", who, (mode, made)))
        made += 1

    for _ in range(2):  # PyTorch forms its buckets anew between these, which all ranks must do at once
        work(EVERYBODY, "wrapped")
    program.append(("zero", EVERYBODY, True))
    while len(program) < 18:
        kinds, often = ["work", "step", "alone", "change", "other"], [0.28, 0.3, 0.16, 0.16, 0.1]
        match rng.choice(kinds, p=often):
            case "work":
                work(EVERYBODY, str(rng.choice(["wrapped", "wrapped", "no_sync", "bare"])))
            case "alone":
                work(int(rng.integers(ranks)), str(rng.choice(["no_sync", "bare"])))
            case "step":
                program.append(("step", EVERYBODY, None))
                if rng.random() < 0.7:
                    program.append(("zero", EVERYBODY, bool(rng.random() < 0.8)))
            case "change":
                what = str(rng.choice(["clip", "scale", "drop", "swap", "write"]))
                program.append((what, int(rng.integers(-1, ranks)), str(rng.choice(list("abc")))))
            case "other":
                what = str(rng.choice(["load", "new optimizer", "add group"]))
                if what != "add group" or not added:
                    program.append((what, EVERYBODY, added))
                added = added or what == "add group"
    work(EVERYBODY, "wrapped")
    program.append(("step", EVERYBODY, None))
    return program


def sample(rank: int, number: int) -> dict[str, np.ndarray]:
    """The input of pass ``number`` on a rank."""
    rng = np.random.default_rng([rank, number])
    return {name: rng.standard_normal(n) / 4 for name, n in SIZES.items()}


def start() -> dict[str, np.ndarray]:
    """The weights that all ranks begin with."""
    return {name: np.linspace(-1.0, 1.0, n) for name, n in SIZES.items()}


def owners(groups: list[list[str]], ranks: int) -> dict[str, int]:
    """The rank that updates each parameter."""
    room, found = [0] * ranks, {}
    for names in groups:
        for name in sorted(names, key=SIZES.__getitem__, reverse=True):
            found[name] = int(np.argmin(room))
            room[found[name]] += SIZES[name]
    return found


def expected(program: list[Op], ranks: int) -> list[dict[str, Any]]:
    """Each rank's weights and gradients at the end, by PyTorch's rules."""
    weights = [start() for _ in range(ranks)]
    grads: list[dict[str, Any]] = [dict.fromkeys(SIZES) for _ in range(ranks)]
    momentum: dict[str, Any] = dict.fromkeys(SIZES)  # of the owners
    groups = GROUPS[:2]
    for what, who, given in program:
        those = range(ranks) if who == EVERYBODY else [who]
        for r in those:
            g = grads[r]
            match what:
                case "work":
                    x = sample(r, given[1])
                    y = sum(float(weights[r][name] @ x[name]) for name in SIZES)
                    for name in SIZES:
                        g[name] = y * x[name] + (0 if g[name] is None else g[name])
                case "zero":
                    grads[r] = {name: None if given or v is None else 0 * v for name, v in g.items()}
                case "clip":
                    norm = np.sqrt(sum((v**2).sum() for v in g.values() if v is not None))
                    factor = min(1.0, 0.5 / (norm + 1e-6))
                    grads[r] = {name: None if v is None else v * factor for name, v in g.items()}
                case "scale":
                    grads[r] = {name: None if v is None else v * (r + 1) for name, v in g.items()}
                case "drop":
                    g[given] = None
                case "swap":  # the same numbers in other places
                    g[given] = None if g[given] is None else np.roll(g[given], r)
                case "write":
                    weights[r][given] = weights[r][given] + 0.125 * (r + 1)
        if what == "work" and given[0] == "wrapped":
            for name in SIZES:
                mean = sum(g[name] for g in grads) / ranks
                for g in grads:
                    g[name] = mean
        elif what == "step":
            for name, r in owners(groups, ranks).items():
                g = grads[r][name]
                if g is not None:
                    v = momentum[name] = g if momentum[name] is None else MOMENTUM * momentum[name] + g
                    weights[r][name] = weights[r][name] - (LR if name in GROUPS[0] else LR_LATER) * v
                for w in weights:
                    w[name] = weights[r][name]
        elif what == "new optimizer":
            momentum = dict.fromkeys(SIZES)
        elif what == "add group":
            groups = GROUPS
    return [{**w, "gradients": g} for w, g in zip(weights, grads, strict=True)]


def run(program: list[Op], lib: Any, rank: int, ranks: int, group: Any) -> dict[str, Any]:
    """The same by a library, on this rank."""
    part = lambda name: importlib.import_module(f"{lib.__name__}.{name}")  # noqa: E731
    nn, zero = part("nn"), part("distributed.optim").ZeroRedundancyOptimizer

    class Net(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            for name, values in start().items():
                setattr(self, name, nn.Parameter(lib.tensor(values)))

        def forward(self, x: dict[str, Any]) -> Any:
            y = sum((getattr(self, name) * x[name]).sum() for name in SIZES)
            return y * y / 2

    bare = Net()
    model = part("nn.parallel").DistributedDataParallel(bare, process_group=group)

    def made(several: list[list[str]]) -> Any:
        groups = [
            {"params": [getattr(bare, name) for name in names], "lr": LR if k == 0 else LR_LATER}
            for k, names in enumerate(several)
        ]
        return zero(groups, part("optim").SGD, process_group=group, lr=LR, momentum=MOMENTUM)

    optimizer = made(GROUPS[:2])
    for what, who, given in program:
        if who not in (EVERYBODY, rank):
            continue
        named = getattr(bare, given) if what in ("drop", "swap", "write") else None
        match what:
            case "work":
                mode, number = given
                x = {name: lib.tensor(values) for name, values in sample(rank, number).items()}
                if mode == "no_sync":
                    with model.no_sync():
                        model(x).backward()
                else:
                    (bare if mode == "bare" else model)(x).backward()
            case "step":
                optimizer.step()
            case "zero":
                optimizer.zero_grad(set_to_none=given)
                if given:
                    bare.zero_grad()
                else:
                    for p in bare.parameters():
                        if p.grad is not None:
                            p.grad.zero_()
            case "clip":
                nn.utils.clip_grad_norm_(bare.parameters(), 0.5)
            case "scale":
                for p in bare.parameters():
                    if p.grad is not None:
                        p.grad.mul_(rank + 1)
            case "drop":
                named.grad = None
            case "swap":
                if named.grad is not None:
                    named.grad.copy_(named.grad.roll(rank))
            case "write":
                with lib.no_grad():
                    named.add_(0.125 * (rank + 1))
            case "load":
                for r in range(ranks):
                    optimizer.consolidate_state_dict(to=r)
                    if r == rank:
                        saved = copy.deepcopy(optimizer.state_dict())
                optimizer.load_state_dict(saved)
            case "new optimizer":
                optimizer = made(GROUPS if given else GROUPS[:2])
            case "add group":
                optimizer.add_param_group({"params": [bare.d], "lr": LR_LATER})
    told = {name: None if getattr(bare, name).grad is None else getattr(bare, name).grad.numpy() for name in SIZES}
    return {**{name: np.array(getattr(bare, name).detach().numpy()) for name in SIZES}, "gradients": told}


def check(program: list[Op], lib: Any, rank: int, ranks: int, group: Any) -> str:
    """What is wrong with what a library makes of a program, on this rank; empty if nothing is."""
    found, wanted = run(program, lib, rank, ranks, group), expected(program, ranks)[rank]
    wrong = [name for name in SIZES if not np.allclose(found[name], wanted[name], rtol=1e-9, atol=1e-9)]
    for name in SIZES:
        ours, theirs = found["gradients"][name], wanted["gradients"][name]
        same = ours is theirs if ours is None or theirs is None else np.allclose(ours, theirs, rtol=1e-9, atol=1e-9)
        wrong += [] if same else [f"gradient of {name}"]
    return f"{wrong}: {found} instead of {wanted}" if wrong else ""


def main(backends: str, first: str, count: str, *per_node: str) -> None:
    """Run programs on all ranks, under one backend after the other."""
    if per_node:
        importlib.import_module("tests.distributed.helpers.ranks_as_threads").pretend_nodes(*per_node)
    library = "torch" if backends == "torch" else "distgrad"
    lib, dist = importlib.import_module(library), importlib.import_module(library + ".distributed")
    for backend in backends.split(","):
        dist.init_process_group("gloo" if backend == "torch" else backend)
        rank, ranks = dist.get_rank(), dist.get_world_size()
        wrong = []
        for seed in range(int(first), int(first) + int(count)):
            group = None if per_node else dist.new_group(list(range(ranks)))
            program = random_program(seed, ranks)
            fault = check(program, lib, rank, ranks, group)
            if fault:
                wrong.append(f"{backend}, rank {rank} of {ranks}, seed {seed}: {fault}\n{program}\n")
        dist.barrier()
        dist.destroy_process_group()
        sys.stdout.write("".join(wrong) or f"{backend} as-pytorch\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
