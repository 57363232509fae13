"""A program for PyTorch's API: trainings with DistributedDataParallel, whose ends rank 0 writes to a file.

``beside_torch.py LIBRARY BACKEND FILE PORT`` on each rank.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

LIBRARY, BACKEND, FILE, PORT = sys.argv[1:]


def part(name: str) -> Any:
    return importlib.import_module(f"{LIBRARY}.{name}")


lib = importlib.import_module(LIBRARY)
dist, nn, optim, schedules = map(part, ("distributed", "nn", "optim", "optim.lr_scheduler"))
DistributedDataParallel = part("nn.parallel").DistributedDataParallel
ZeroRedundancyOptimizer = part("distributed.optim").ZeroRedundancyOptimizer
fp16 = part("distributed.algorithms.ddp_comm_hooks.default_hooks").fp16_compress_hook
BY_RANKS: dict[str, Any] = {} if LIBRARY == "torch" else {"weighting": "ranks"}  # as PyTorch weighs unequal shares

STEPS = 12


class Net(nn.Module):  # type: ignore[misc]
    """With buffers, and a head that a pass may leave out.  (A bias ahead of the norm has no gradient but rounding.)"""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(12, 32, bias=False), nn.BatchNorm1d(32)
        self.second, self.head, self.other = nn.Linear(32, 16), nn.Linear(16, 4), nn.Linear(16, 4)
        rng = np.random.default_rng(0)
        with lib.no_grad():
            for p in self.parameters():
                p.copy_(lib.tensor(rng.standard_normal(tuple(p.shape)).astype(np.float32) * 0.2))

    def forward(self, x: Any, other: bool) -> Any:
        hidden = lib.tanh(self.second(lib.relu(self.norm(self.first(x)))))
        return self.head(hidden) + self.other(hidden) if other else self.head(hidden)


def batches(count: int, size: Callable[[int], int] = lambda i: 8) -> list[tuple[Any, Any]]:
    """This rank's inputs and classes; ``size`` samples in each."""
    rng = np.random.default_rng(100 + dist.get_rank())
    shapes = [(size(i), 12) for i in range(count)]
    return [
        (lib.tensor(rng.standard_normal(s).astype(np.float32)), lib.tensor(rng.integers(0, 4, s[0]))) for s in shapes
    ]


def train(
    optimizer: Callable[[Any], Any],
    other: Callable[[int], bool] = lambda i: True,
    prepare: Callable[[Any], None] = lambda model: None,
    data: list[tuple[Any, Any]] | None = None,
    clip: float | None = None,
    accumulate: int = 1,
    schedule: Callable[[Any], Any] | None = None,
    join: bool = False,
    **options: Any,
) -> np.ndarray:
    """Parameters and buffers after a training."""
    net = Net()
    model = DistributedDataParallel(net, **options)
    prepare(model)
    made = optimizer(model.parameters())
    plan = None if schedule is None else schedule(made)
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    data = batches(STEPS) if data is None else data

    def loop() -> None:
        for i, (x, y) in enumerate(data):
            if i % accumulate == 0:
                made.zero_grad()
            if (i + 1) % accumulate:
                with model.no_sync():
                    loss(model(x, other(i)), y).backward()
                continue
            loss(model(x, other(i)), y).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            made.step()
            if plan is not None:
                plan.step()

    if join:
        with model.join():
            loop()
    else:
        loop()
    return np.concatenate([np.asarray(t.detach().numpy(), np.float64).ravel() for t in net.state_dict().values()])


def trainings(rank: int) -> dict[str, np.ndarray]:
    finds: dict[str, Any] = {"find_unused_parameters": True}
    return {
        "sgd": train(lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)),
        "clipped": train(
            lambda p: optim.AdamW(p, lr=0.01), clip=0.5, schedule=lambda o: schedules.CosineAnnealingLR(o, 10)
        ),
        "accumulated": train(lambda p: optim.RMSprop(p, lr=0.001), accumulate=3),
        "unused by turns": train(lambda p: optim.Adagrad(p, lr=0.05), lambda i: i % 2 == 0, **finds),
        "unused on some ranks": train(lambda p: optim.SGD(p, lr=0.05), lambda i: i % 2 == rank % 2, **finds),
        "static graph": train(lambda p: optim.Adam(p, lr=0.01), static_graph=True),
        "zero": train(lambda p: ZeroRedundancyOptimizer(p, optimizer_class=optim.Adam, lr=0.01)),
        "float16": train(lambda p: optim.SGD(p, lr=0.1), prepare=lambda model: model.register_comm_hook(None, fp16)),
        "unequal shares": train(
            lambda p: optim.Adam(p, lr=0.01), data=batches(STEPS, lambda i: 4 + 2 * rank + i % 3), **BY_RANKS
        ),
        "joined": train(lambda p: optim.SGD(p, lr=0.05), data=batches(6 + 2 * rank), join=True, **BY_RANKS),
    }


def main() -> None:
    if LIBRARY == "torch":
        lib.set_num_threads(1)
        for ours, theirs in (("RANK", "RANK"), ("WORLD_SIZE", "SIZE")):
            names = (f"OMPI_COMM_WORLD_{theirs}", f"PMI_{theirs}")
            os.environ[ours] = next(os.environ[name] for name in names if name in os.environ)
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": PORT}
    dist.init_process_group(BACKEND)
    found = trainings(dist.get_rank())
    if dist.get_rank() == 0:
        np.savez(FILE, **found)  # type: ignore[arg-type]
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
