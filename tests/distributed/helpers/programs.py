"""Random programs that use DistributedDataParallel as people do, and what PyTorch makes of each, by NumPy alone.

A program is a list of operations, for all ranks or for one of them: forward passes (of the wrapper, of it inside
``no_sync``, of the bare module), backward passes of some of their outputs, hooks, clipping, steps, and so on.
:func:`expected` follows PyTorch's rules: a forward pass of the wrapper makes the next backward pass one that is
reduced; a reduction gives every rank the mean of what the ranks have in ``.grad``; all else is each rank's own.

As a program, ``programs.py BACKENDS SEED COUNT`` on each rank; ``programs.py torch …`` runs PyTorch's own, over gloo.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # as a program by mpirun

LR, MOMENTUM, EVERYBODY = 0.05, 0.5, -1
SIZES = {"a": 3, "b": 2}
Op = tuple[str, int, Any]  # what, which rank or EVERYBODY, an argument


def random_program(seed: int, ranks: int) -> list[Op]:
    """Operations that PyTorch makes sense of: what one rank does alone is never one that is reduced."""
    rng = np.random.default_rng([seed, ranks])
    program: list[Op] = []
    outputs: list[int] = []  # of everybody, not yet freed
    made = 0
    expecting, has_gradients = False, False

    def forward(mode: str) -> None:
        nonlocal made, expecting
        program.append(("forward", EVERYBODY, (mode, made)))
        outputs.append(made)
        made += 1
        expecting = expecting or mode == "wrapped"

    while len(program) < 14:
        kinds, often = ["forward", "backward", "step", "alone", "change", "other"], [0.27, 0.25, 0.2, 0.1, 0.1, 0.08]
        match rng.choice(kinds, p=often):
            case "forward":
                forward(str(rng.choice(["wrapped", "wrapped", "no_sync", "bare"])))
            case "backward" if outputs:
                several = [int(k) for k in rng.permutation(outputs)[: int(rng.integers(1, 3))]]
                keep = bool(rng.random() < 0.3)
                program.append(("backward", EVERYBODY, (several, keep, bool(rng.random() < 0.2))))
                if not keep:
                    outputs = [k for k in outputs if k not in several]
                expecting, has_gradients = False, True
            case "step" if has_gradients:
                program.append(("step", EVERYBODY, None))
                outputs.clear()  # a step changes what they need
                if rng.random() < 0.8:
                    program.append(("zero", EVERYBODY, bool(rng.random() < 0.8)))
                    has_gradients = False
            case "alone" if not expecting:
                who = int(rng.integers(ranks))
                program.append(("forward", who, ("bare", made)))
                program.append(("backward", who, ([made], False, False)))
                made += 1
                if rng.random() < 0.4:
                    program.append(("step", who, None))
                    outputs.clear()
                if rng.random() < 0.6:
                    program.append(("zero", who, True))
            case "change" if has_gradients:
                what = str(rng.choice(["clip", "clip", "scale", "look"]))
                program.append((what, EVERYBODY if what != "look" else int(rng.integers(ranks)), None))
            case "other":
                what = str(rng.choice(["hook", "new optimizer", "load", "write"]))
                if what == "write":
                    outputs.clear()
                program.append((what, EVERYBODY, None))
    forward("wrapped")
    program.append(("backward", EVERYBODY, ([made - 1], False, False)))
    program.append(("step", EVERYBODY, None))
    program.append(("end", EVERYBODY, None))
    return program


def sample(rank: int, number: int) -> dict[str, np.ndarray]:
    """The input of forward pass ``number`` on a rank."""
    rng = np.random.default_rng([rank, number])
    return {name: rng.standard_normal(n) for name, n in SIZES.items()}


def start() -> dict[str, np.ndarray]:
    """The weights that all ranks begin with."""
    return {name: np.linspace(-1.0, 1.0, n) for name, n in SIZES.items()}


class _Rank:
    """What PyTorch has on one rank."""

    def __init__(self, rank: int) -> None:
        self.rank, self.weights = rank, start()
        self.grads: dict[str, np.ndarray | None] = dict.fromkeys(SIZES)
        self.momentum: dict[str, np.ndarray | None] = dict.fromkeys(SIZES)
        self.outputs: dict[int, dict[str, np.ndarray]] = {}  # the gradients of each
        self.expecting = self.hooked = False

    def forward(self, mode: str, number: int) -> None:
        x = sample(self.rank, number)
        y = sum(float(self.weights[name] @ x[name]) for name in SIZES)
        self.outputs[number] = {name: y * x[name] for name in SIZES}
        self.expecting = self.expecting or mode == "wrapped"

    def backward(self, several: list[int], factor: float) -> bool:
        for name in SIZES:
            new = factor * sum(self.outputs[k][name] for k in several)
            old = self.grads[name]
            self.grads[name] = new if old is None else old + new
            if self.hooked:
                self.grads[name] = self.grads[name] * (self.rank + 2)  # type: ignore[operator]
        reduces, self.expecting = self.expecting, False
        return reduces

    def step(self) -> None:
        for name, g in self.grads.items():
            if g is not None:
                before = self.momentum[name]
                self.momentum[name] = g.copy() if before is None else MOMENTUM * before + g
                self.weights[name] = self.weights[name] - LR * self.momentum[name]  # type: ignore[operator]

    def norm(self) -> float:
        return float(np.sqrt(sum((g**2).sum() for g in self.grads.values() if g is not None)))


def expected(program: list[Op], ranks: int) -> list[dict[str, np.ndarray]]:
    """Each rank's weights at the end, by PyTorch's rules."""
    everybody = [_Rank(r) for r in range(ranks)]
    for what, who, given in program:
        those = everybody if who == EVERYBODY else [everybody[who]]
        reduces = False
        for one in those:
            match what:
                case "forward":
                    one.forward(*given)
                case "backward":
                    several, _, inside = given
                    reduces = one.backward(several, 0.5 if inside else 1.0)
                case "step" | "end":
                    if what == "end":  # the group is gone
                        one.expecting = False
                        one.forward("bare", 1000)
                        one.backward([1000], 1.0)
                    one.step()
                case "zero":
                    one.grads = {k: None if given or g is None else 0 * g for k, g in one.grads.items()}
                case "clip":
                    factor = min(1.0, 0.5 / (one.norm() + 1e-6))
                    one.grads = {k: None if g is None else g * factor for k, g in one.grads.items()}
                case "scale":
                    one.grads = {k: None if g is None else g * (one.rank + 1) for k, g in one.grads.items()}
                case "hook":
                    one.hooked = True
                case "new optimizer":
                    one.momentum = dict.fromkeys(SIZES)
                case "write":
                    one.weights = {k: w + 0.125 * (one.rank if given else 1) for k, w in one.weights.items()}
        if reduces:
            for name in SIZES:
                mean = sum(one.grads[name] for one in everybody) / ranks  # type: ignore[misc]
                for one in everybody:
                    one.grads[name] = mean
    return [one.weights for one in everybody]


def run(program: list[Op], lib: Any, rank: int, group: Any) -> dict[str, np.ndarray]:
    """The same by a library, on this rank."""
    part = lambda name: importlib.import_module(f"{lib.__name__}.{name}")  # noqa: E731
    nn, optim, dist = part("nn"), part("optim"), part("distributed")

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
    optimizer = optim.SGD(bare.parameters(), lr=LR, momentum=MOMENTUM)
    outputs: dict[int, Any] = {}

    def scale(p: Any) -> None:
        p.grad.mul_(rank + 2)

    def forward(mode: str, number: int) -> None:
        x = {name: lib.tensor(values) for name, values in sample(rank, number).items()}
        if mode == "no_sync":
            with model.no_sync():
                outputs[number] = model(x)
        else:
            outputs[number] = (bare if mode == "bare" else model)(x)

    for what, who, given in program:
        if who not in (EVERYBODY, rank):
            continue
        match what:
            case "forward":
                forward(*given)
            case "backward":
                several, keep, halved = given
                loss = sum(outputs[k] for k in several)
                (loss * 0.5 if halved else loss).backward(retain_graph=keep)
            case "step":
                optimizer.step()
            case "zero":
                optimizer.zero_grad(set_to_none=given)
            case "clip":
                nn.utils.clip_grad_norm_(bare.parameters(), 0.5)
            case "scale":
                for p in bare.parameters():
                    if p.grad is not None:
                        p.grad.mul_(rank + 1)
            case "look":
                assert all(p.grad is None or bool(p.grad.norm() >= 0) for p in bare.parameters())
            case "hook":
                if not hasattr(bare, "hooked"):
                    bare.hooked = [p.register_post_accumulate_grad_hook(scale) for p in bare.parameters()]
            case "new optimizer":
                optimizer = optim.SGD(bare.parameters(), lr=LR, momentum=MOMENTUM)
            case "load":
                optimizer.load_state_dict(optimizer.state_dict())
            case "write":
                with lib.no_grad():
                    for p in bare.parameters():
                        p.add_(0.125 * (rank if given else 1))
            case "end":
                dist.destroy_process_group(group)
                forward("bare", 1000)
                outputs[1000].backward()
                optimizer.step()
    return {name: np.array(getattr(bare, name).detach().numpy()) for name in SIZES}


def check(program: list[Op], lib: Any, rank: int, ranks: int, group: Any) -> str:
    """What is wrong with what a library makes of a program, on this rank; empty if nothing is."""
    found, wanted = run(program, lib, rank, group), expected(program, ranks)[rank]
    worst = max(float(np.abs(found[name] - wanted[name]).max()) for name in SIZES)
    return "" if worst < 1e-9 else f"off by {worst:.3g}: {found} instead of {wanted}"


def main(backends: str, first: str, count: str) -> None:
    """Run programs on all ranks, under one backend after the other."""
    library = "torch" if backends == "torch" else "distgrad"
    lib, dist = importlib.import_module(library), importlib.import_module(library + ".distributed")
    for backend in backends.split(","):
        dist.init_process_group("gloo" if backend == "torch" else backend)
        rank, ranks = dist.get_rank(), dist.get_world_size()
        wrong = []
        for seed in range(int(first), int(first) + int(count)):
            group = dist.new_group(list(range(ranks)))
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
