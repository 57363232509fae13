"""What ``train.py`` does between reading its options and printing where the files lie: epochs, metrics, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distgrad as dg
from distgrad import distributed as dist, nn
from distgrad.random import Generator, default_generator
from distgrad.utils.data import DataLoader, Sampler, TensorDataset

__all__ = ["CURVES", "FILE", "Shares", "Sums", "Trainer", "draw"]

FILE = "checkpoint.safetensors"
CURVES = "learning-curve.png"
METRICS = ("train loss", "train accuracy", "validation loss", "validation accuracy")
# Losses, by their class's name, that take class numbers; all others are given one-hot vectors.
OF_CLASSES = {"CrossEntropyLoss", "NLLLoss"}
OF_SIGNS = {"SoftMarginLoss"}  # these 1 and -1 in place of 1 and 0


class Shares(Sampler[list[int]]):
    """This rank's share of each global batch: every ``size``-th sample from the ``rank``-th on.

    The order of samples depends on seed and epoch alone, so the global batches are the same on any number of ranks.  A
    last batch with fewer samples than ranks joins the one before it.
    """

    def __init__(self, samples: int, batch_size: int, seed: int) -> None:
        self.samples, self.batch_size, self.seed, self.epoch = samples, batch_size, seed, 0
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        starts = list(range(0, samples, batch_size))
        if len(starts) > 1 and samples - starts[-1] < self.size:
            starts.pop()
        self._bounds = [*starts, samples]

    def __iter__(self) -> Iterator[list[int]]:
        order = Generator.keyed(self.seed, self.epoch).permutation(self.samples)
        for lo, hi in zip(self._bounds, self._bounds[1:], strict=False):
            yield order[lo:hi][self.rank :: self.size].tolist()

    def __len__(self) -> int:
        return len(self._bounds) - 1


class Sums:
    """Loss and hits over the samples of all ranks."""

    def __init__(self) -> None:
        self.loss, self.hits, self.count = 0.0, 0.0, 0.0

    def add(self, loss: dg.Tensor, outputs: dg.Tensor, labels: dg.Tensor) -> None:
        """One batch: its mean loss, the outputs (n, classes) and the labels (n,)."""
        n = len(labels)
        self.loss += loss.item() * n
        self.hits += (outputs.argmax(1) == labels).sum().item()
        self.count += n

    def means(self) -> tuple[float, float]:
        """Mean loss and accuracy over what all ranks have added; every rank calls it and gets the same."""
        total = dg.tensor([self.loss, self.hits, self.count], dtype=dg.float64)
        dist.all_reduce(total)
        loss, hits, count = total.tolist()
        return loss / count, hits / count


class Trainer:
    """A model in training on this rank's share of the data.

    Args:
        model: on its device.
        optimizer: over the model's parameters.
        loss: called as ``loss(outputs, target)``, averaging over samples.
        train, validation: inputs and labels on the model's device, all of them on every rank.
        batch_size: over all ranks together.
        folder: where the checkpoint is kept.
        options: what a run must have in common with the one it resumes.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Any,
        loss: Any,
        train: tuple[dg.Tensor, dg.Tensor],
        validation: tuple[dg.Tensor, dg.Tensor],
        batch_size: int,
        seed: int,
        folder: Path,
        options: dict[str, Any],
    ) -> None:
        # Ranks' shares of a batch differ by a sample: each weighs as much as its share.
        self.model = nn.parallel.DistributedDataParallel(model, weighting="samples")
        self.optimizer, self.loss = optimizer, loss
        self.one_hot, self.signs = type(loss).__name__ not in OF_CLASSES, type(loss).__name__ in OF_SIGNS
        self.shares = Shares(len(train[0]), batch_size, seed)
        self.batches: DataLoader[Any] = DataLoader(TensorDataset(*train), batch_sampler=self.shares)
        rank, size = dist.get_rank(), dist.get_world_size()
        self.validation = tuple(t[rank::size] for t in validation)
        self.seed, self.folder, self.options = seed, folder, options
        self.epoch = 0
        self.history: dict[str, list[float]] = {name: [] for name in METRICS}
        self._own_stream()

    def _own_stream(self) -> None:
        """Let what this rank draws (dropout) differ from what others draw."""
        stream = Generator.keyed(self.seed, self.epoch, dist.get_rank())
        default_generator.set_state(stream.get_state())

    def run_epoch(self, bar: Any) -> dict[str, float]:
        """Train on all batches once, then validate; the metrics are over all ranks, and the same on each."""
        self.shares.epoch = self.epoch
        self.model.train()
        sums = Sums()
        for x, labels in self.batches:
            first: list[dg.Tensor] = []

            def evaluate(x: dg.Tensor = x, labels: dg.Tensor = labels, first: list[dg.Tensor] = first) -> dg.Tensor:
                self.optimizer.zero_grad()
                outputs = self.model(x)
                loss = self._loss(outputs, labels)
                loss.backward()
                first.extend([loss, outputs] if not first else [])
                return loss

            self.optimizer.step(evaluate)  # L-BFGS evaluates several times
            loss, outputs = first
            sums.add(loss, outputs, labels)
            bar.update()
        train = sums.means()
        found = dict(zip(METRICS, (*train, *self.validate()), strict=True))
        for name, value in found.items():
            self.history[name].append(value)
        self.epoch += 1
        return found

    def validate(self) -> tuple[float, float]:
        """Mean loss and accuracy over the validation data of all ranks."""
        self.model.eval()
        sums = Sums()
        x, labels = self.validation
        with dg.no_grad():
            for lo in range(0, len(x), 1024):
                outputs, some = self.model(x[lo : lo + 1024]), labels[lo : lo + 1024]
                sums.add(self._loss(outputs, some), outputs, some)
        return sums.means()

    def _loss(self, outputs: dg.Tensor, labels: dg.Tensor) -> dg.Tensor:
        if self.one_hot:
            classes = dg.arange(outputs.shape[1], device=labels.device)
            targets = (labels.unsqueeze(1) == classes).to(outputs.dtype)
            return self.loss(outputs, targets * 2 - 1 if self.signs else targets)
        return self.loss(outputs, labels)

    # ------------------------------------------------------------------------------------------------- checkpoints

    def save(self) -> None:
        """Write the checkpoint, atomically, on rank 0; every rank calls it."""
        mine = dg.tensor(default_generator.get_state())
        streams = [dg.zeros_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(streams, mine)
        if dist.get_rank() == 0:
            state = {
                "options": self.options,
                "epoch": self.epoch,
                "model": self.model.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "rng": streams,
                "history": self.history,
            }
            dg.save(state, self.folder / FILE)

    def resume(self) -> None:
        """Go on from the checkpoint, exactly where as many ranks go on as saved it.

        Raises:
            ValueError: it was made with other options, which are named.
        """
        state = dg.load(self.folder / FILE, map_location="cpu")
        saved = state["options"]
        for name in sorted(self.options.keys() | saved.keys()):
            if saved.get(name) != self.options.get(name):
                raise ValueError(
                    f"{self.folder / FILE} was made with {name} {saved.get(name)}, not {self.options.get(name)}"
                )
        self.model.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.history = state["epoch"], state["history"]
        if len(state["rng"]) == dist.get_world_size():
            default_generator.set_state(state["rng"][dist.get_rank()].numpy())
        else:
            self._own_stream()


def draw(history: dict[str, list[float]], path: Path, title: str) -> None:
    """Write a picture of losses and accuracies by epoch to ``path``, a PNG file."""
    import matplotlib

    matplotlib.use("Agg")  # no display is needed
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = range(1, len(history[METRICS[0]]) + 1)
    for panel, what, scale in zip(panels, ("loss", "accuracy"), (1, 100), strict=True):
        for part in ("train", "validation"):
            panel.plot(epochs, [scale * v for v in history[f"{part} {what}"]], marker=".", label=part)
        panel.set(xlabel="epoch", ylabel=f"{what}, %" if scale == 100 else what)
        panel.grid(alpha=0.3)
        panel.legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
