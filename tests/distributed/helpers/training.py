"""One training, on any number of ranks, against one process that has the whole batch; on threads and under mpirun."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

import distgrad as dg
import distgrad.distributed as dist
from distgrad import from_numpy, nn, registry
from distgrad.autograd import Tensor
from distgrad.nn.parallel import DistributedDataParallel

# All but those of sparse gradients, of which this model has none.
OPTIMIZERS = [n for n in registry.names("optimizer") if registry.get("optimizer", n).gradients != "sparse"]
STEPS = 6
LR = {"adadelta": 1.0, "lars": 10.0}  # its steps have a size of their own, which lr only scales
LIMIT = {"lbfgs": 1e-9}  # else 1e-12; each of its directions magnifies the rounding of the one before
MORE = {"lbfgs": dict(max_iter=5, history_size=10)}  # 30 directions: more than it keeps
RNG = np.random.default_rng(7)
X, Y = RNG.standard_normal((STEPS, 12, 5)), RNG.standard_normal((STEPS, 12, 2))


class Branching(nn.Module):
    """Samples of one kind go through one head, samples of the other through another, and nothing through a third."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.body = nn.Linear(5, 8, dtype=dg.float64)
        self.even, self.odd, self.never = (nn.Linear(8, 2, dtype=dg.float64) for _ in range(3))
        rng = np.random.default_rng(seed)
        with dg.no_grad():
            for p in self.parameters():
                p.copy_(dg.tensor(rng.standard_normal(p.shape) * 0.5))

    def forward(self, x: Tensor, kinds: np.ndarray) -> Tensor:
        """The outputs for ``x`` (n, 5), those of kind 0 first."""
        hidden = dg.tanh(self.body(x))
        heads = [(self.even, np.flatnonzero(kinds == 0)), (self.odd, np.flatnonzero(kinds == 1))]
        return dg.cat([head(hidden[dg.tensor(rows)]) for head, rows in heads if rows.size])


def share(step: int, rank: int, size: int) -> np.ndarray:
    """The samples of a rank: other numbers at each step, and at step 0 with two ranks one kind only on each."""
    if step == 0:
        return np.arange(12)[rank::size]
    bounds = [0, *sorted(np.random.default_rng([step, size]).choice(np.arange(1, 12), size - 1, replace=False)), 12]
    return np.arange(bounds[rank], bounds[rank + 1])


def loss_of(model: nn.Module, step: int, rows: np.ndarray) -> Tensor:
    kinds = rows % 2
    order = np.argsort(kinds, kind="stable")
    out = model(dg.tensor(X[step][rows]), kinds)
    return ((out - dg.tensor(Y[step][rows][order])) ** 2).mean()


def parameters(optimizer: str, model: nn.Module) -> list[Tensor]:
    """What ``optimizer`` can update of ``model``: Muon only matrices."""
    return [p for p in model.parameters() if p.ndim == 2 or optimizer != "muon"]


def train(optimizer: str, rank: int, size: int, distributed: bool) -> list[np.ndarray]:
    """The parameters after all steps."""
    bare = Branching(seed=3 if rank == 0 else 100 + rank)  # wrapping must give all ranks those of rank 0
    model: nn.Module = DistributedDataParallel(bare, bucket_cap_mb=0.0002, weighting="samples") if distributed else bare
    options = dict(lr=LR.get(optimizer, 0.02), **MORE.get(optimizer, {}))
    opt = registry.get("optimizer", optimizer)(parameters(optimizer, model), **options)
    for step in range(STEPS):

        def closure(step: int = step) -> Tensor:
            opt.zero_grad()
            loss = loss_of(model, step, share(step, rank, size))
            loss.backward()
            return loss

        opt.step(closure)
    return [p._data.copy() for p in bare.parameters()]


def difference(got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> float:
    """The largest difference, relative to the largest element."""
    return max(float(np.abs(g - w).max() / np.abs(w).max()) for g, w in zip(got, want, strict=True))


def alone(names: Sequence[str]) -> dict[str, list[np.ndarray]]:
    """What one process with the whole batch ends with, for each optimizer; the ranks share out the trainings."""
    rank, size = dist.get_rank(), dist.get_world_size()
    found = {name: train(name, 0, 1, distributed=False) for name in names[rank::size]}
    for i, name in enumerate(names):
        blank = [np.empty(p.shape) for p in Branching(3).parameters()]
        for array in found.setdefault(name, blank):
            dist.broadcast(from_numpy(array), i % size)
    return found


def run_all(backend: str | None) -> Iterator[str]:
    """Train with every registered optimizer and compare; yields its name and the difference."""
    dist.init_process_group(backend)
    wants = alone(OPTIMIZERS)
    for name in OPTIMIZERS:
        got, want = train(name, dist.get_rank(), dist.get_world_size(), distributed=True), wants[name]
        worst = difference(got, want)
        assert worst <= LIMIT.get(name, 1e-12), (name, worst)
        assert difference(want, [p._data for p in Branching(3).parameters()]) > 1e-3, "nothing was learnt"
        yield f"{name}: {worst:.1e}"
    dist.destroy_process_group()


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)  # more ranks than cores
    for backend in sys.argv[1].split(","):
        lines = list(run_all(backend))
        sys.stdout.write("".join(f"equal with {backend} {line}\n" for line in lines))
