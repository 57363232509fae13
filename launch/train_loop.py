"""What ``train.py`` does between reading its options and printing where the files lie: epochs, metrics, checkpoints."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distgrad as dg
from distgrad import distributed as dist, nn
from distgrad.random import Generator, default_generator
from distgrad.utils.data import DataLoader, Sampler, TensorDataset
from train_ranks import Asked, Refused, on_rank_0
from train_report import beside
from train_task import Task

__all__ = ["FILE", "Shares", "Sums", "Trainer"]

FILE = "checkpoint.safetensors"


class Shares(Sampler[list[int]]):
    """This rank's share of each global batch: every ``size``-th sample from the ``rank``-th on.

    The order of samples depends on seed and epoch alone, so the global batches are the same on any number of ranks.  A
    last batch with fewer samples than ranks joins the one before it.
    """

    def __init__(self, samples: int, batch_size: int, seed: int) -> None:
        self.samples, self.batch_size, self.seed, self.epoch = samples, batch_size, seed, 0
        self.first = 0  # the batch of the epoch to begin with
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        starts = list(range(0, samples, batch_size))
        if len(starts) > 1 and samples - starts[-1] < self.size:
            starts.pop()
        self._bounds = [*starts, samples]

    def __iter__(self) -> Iterator[list[int]]:
        order = Generator.keyed(self.seed, self.epoch).permutation(self.samples)
        for lo, hi in itertools.pairwise(self._bounds[self.first :]):
            yield order[lo:hi][self.rank :: self.size].tolist()

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def samples_before(self, batch: int) -> int:
        """How many samples of all ranks the batches before this one hold."""
        return self._bounds[batch]


class Sums:
    """Loss and score (hits, or absolute errors) over the samples of all ranks."""

    def __init__(self) -> None:
        self.loss, self.score, self.count = 0.0, 0.0, 0.0

    def add(self, loss: dg.Tensor, score: float, samples: int) -> None:
        """One batch: its mean loss, and the metric's sum over its samples."""
        self.loss += loss.item() * samples
        self.score += score
        self.count += samples

    def tensor(self) -> dg.Tensor:
        """The sums of this rank: (3,), float64."""
        return dg.tensor([self.loss, self.score, self.count], dtype=dg.float64)

    def means(self) -> tuple[float, float]:
        """Mean loss and metric over what all ranks have added; every rank calls it and gets the same."""
        total = self.tensor()
        dist.all_reduce(total)
        loss, score, count = total.tolist()
        return loss / count, score / count


class Trainer:
    """A model in training on this rank's share of the data.

    Args:
        model: on its device.
        optimizer: over the model's parameters.
        loss: called as ``loss(outputs, target)``, averaging over samples.
        task: what the loss is called with.
        train, validation: inputs and labels on the model's device, all of them on every rank.
        batch_size: over all ranks together.
        folder: where the checkpoint is kept.
        options: what a run must have in common with the one it resumes.

    Attributes:
        epoch, batch: how many epochs, and batches of the next one, are done.
        history: the metrics of each epoch.
        trained: samples of all ranks, and seconds, that the last epoch (or its part) trained.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Any,
        loss: Any,
        task: Task,
        train: tuple[dg.Tensor, dg.Tensor],
        validation: tuple[dg.Tensor, dg.Tensor],
        batch_size: int,
        seed: int,
        folder: Path,
        options: dict[str, Any],
    ) -> None:
        # Ranks' shares of a batch differ by a sample: each weighs as much as its share.
        self.model = nn.parallel.DistributedDataParallel(model, weighting="samples")
        self.optimizer, self.loss, self.task = optimizer, loss, task
        self.searches = any(group.get("line_search_fn") for group in optimizer.param_groups)
        self.shares = Shares(len(train[0]), batch_size, seed)
        self.batches: DataLoader[Any] = DataLoader(TensorDataset(*train), batch_sampler=self.shares)
        rank, size = dist.get_rank(), dist.get_world_size()
        self.sample = tuple(t[:2] for t in train)
        self.validation = tuple(t[rank::size] for t in validation)
        self.seed, self.folder, self.options = seed, folder, options
        self.epoch, self.batch, self.sums = 0, 0, Sums()
        self._stream: Any = None  # the default generator's state in the middle of an epoch
        self._is_ours = False  # the checkpoint in the folder
        self.metrics = [f"{part} {what}" for part in ("train", "validation") for what in ("loss", task.metric)]
        self.history: dict[str, list[float]] = {name: [] for name in self.metrics}
        self.trained = (0, 0.0)
        self._own_stream()

    def _own_stream(self) -> None:
        """Let what this rank draws (dropout) differ from what others draw."""
        stream = Generator.keyed(self.seed, self.epoch, dist.get_rank())
        default_generator.set_state(stream.get_state())

    def run_epoch(self, bar: Any, asked: Asked | None = None) -> dict[str, float]:
        """Train on all batches once, then validate; the metrics are over all ranks, and the same on each.

        Args:
            bar: a tqdm bar, which counts batches and shows the epoch's mean loss so far on this rank.

        Returns:
            the metrics; empty where the run was asked to end before the epoch did.
        """
        self.shares.epoch, self.shares.first = self.epoch, self.batch
        self.model.train()
        batches = iter(self.batches)
        if self._stream is not None:  # behind what a loader draws at its start
            default_generator.set_state(self._stream)
            self._stream = None
        started, before = time.perf_counter(), self.shares.samples_before(self.batch)
        for x, labels in batches:
            loss, outputs = self._step(x, labels)
            self.sums.add(loss, self.task.score(outputs, labels), len(labels))
            self.batch += 1
            bar.set_postfix_str(f"loss {self.sums.loss / self.sums.count:.4f}", refresh=False)
            bar.update()
            self.trained = self.shares.samples_before(self.batch) - before, time.perf_counter() - started
            if asked is not None and asked.everywhere() and self.batch < len(self.shares):
                return {}
        train = self.sums.means()
        found = dict(zip(self.metrics, (*train, *self.validate()), strict=True))
        for name, value in found.items():
            self.history[name].append(value)
        self.epoch, self.batch, self.sums = self.epoch + 1, 0, Sums()
        return found

    def _step(self, x: dg.Tensor, labels: dg.Tensor) -> list[dg.Tensor]:
        """One step of the optimizer; the loss and the outputs before it."""
        first: list[dg.Tensor] = []

        def evaluate() -> dg.Tensor:
            self.optimizer.zero_grad()
            outputs = self.model(x)
            loss = self.task.loss(self.loss, outputs, labels)
            loss.backward()
            first.extend([loss, outputs] if not first else [])
            return self._of_all(loss, len(labels)) if self.searches else loss

        try:
            self.optimizer.step(evaluate)  # L-BFGS evaluates several times
        except ArithmeticError as error:  # of numbers that are the same on all ranks
            name = type(self.optimizer).__name__
            raise Refused(f"a step of {name} failed ({error}); try a smaller --lr") from None
        return first

    def _of_all(self, loss: dg.Tensor, samples: int) -> dg.Tensor:
        """The mean loss over the batch of all ranks, by which they search along a line alike."""
        sums = dg.tensor([loss.item() * samples, samples], dtype=dg.float64)
        dist.all_reduce(sums)
        return sums[0] / sums[1]

    def try_loss(self) -> None:
        """Evaluate the loss once, so that one which takes other targets is found before anything is trained.

        Raises:
            Refused: it cannot be called so, or gives no single number.
        """
        self.model.eval()
        x, labels = self.sample  # the same on all ranks, so that all refuse
        problem = ""
        with dg.no_grad():
            outputs = self.model.module(x)
            try:
                loss = self.task.loss(self.loss, outputs, labels)
                if not isinstance(loss, dg.Tensor) or loss.numel() != 1:
                    shape = f"shape {tuple(loss.shape)}" if isinstance(loss, dg.Tensor) else type(loss).__name__
                    problem = f"it gave {shape}, where a mean over samples, one number, is needed"
            except Exception as error:  # a stranger's
                problem = f"it raised {type(error).__name__}: {error}"
        if problem:
            raise Refused(
                f"the loss {type(self.loss).__name__} was called with outputs {tuple(outputs.shape)} and "
                f"{self.task.given}: {problem}. "
                "A loss says in its class what it takes: targets = 'classes' (or 'one_hot', 'signs')"
            )

    def validate(self) -> tuple[float, float]:
        """Mean loss and metric over the validation data of all ranks."""
        self.model.eval()
        sums = Sums()
        x, labels = self.validation
        with dg.no_grad():
            for lo in range(0, len(x), 1024):
                outputs, some = self.model(x[lo : lo + 1024]), labels[lo : lo + 1024]
                sums.add(self.task.loss(self.loss, outputs, some), self.task.score(outputs, some), len(some))
        return sums.means()

    # ------------------------------------------------------------------------------------------------- checkpoints

    def save(self) -> Path | None:
        """Write the checkpoint, atomically, on rank 0; every rank calls it.

        Returns:
            on rank 0, where a checkpoint of another run was in the way: under which name that is kept.

        Raises:
            Refused: it cannot be written; on all ranks.
        """
        streams = _everyones(dg.tensor(default_generator.get_state()))
        sums = _everyones(self.sums.tensor())
        kept: list[Path] = []

        def write() -> None:
            state = {
                "options": self.options,
                "epoch": self.epoch,
                "batch": self.batch,
                "sums": sums,
                "model": self.model.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "rng": streams,
                "history": self.history,
            }
            path = self.folder / FILE
            if not self._is_ours and path.exists():
                kept.append(beside(path))
                try:
                    os.link(path, kept[0])
                except OSError:  # a file system without links
                    shutil.copy2(path, kept[0])
            dg.save(state, path)

        on_rank_0(write)
        self._is_ours = True
        return kept[0] if kept else None

    def resume(self) -> None:
        """Go on from the checkpoint, exactly where as many ranks go on as saved it.

        Raises:
            ValueError: it is not one of this program, or was made with other options, which are named.
            Exception: what loading it, or its parts, raises.
        """
        path = self.folder / FILE
        state = dg.load(path, map_location="cpu")
        missing = [name for name in NEEDED if not isinstance(state, dict) or name not in state]
        if missing:
            raise ValueError(f"{path} is no checkpoint of this program: it has no {', '.join(missing)}")
        for name, kind in NEEDED.items():
            if not isinstance(state[name], kind):
                raise ValueError(f"{path} is no checkpoint of this program: {name} is a {type(state[name]).__name__}")
        saved = state["options"]
        for name in sorted(self.options.keys() | saved.keys()):
            if saved.get(name) != self.options.get(name):
                raise ValueError(f"{path} was made with {name} {saved.get(name)}, not {self.options.get(name)}")
        self.model.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.history = state["epoch"], {name: list(state["history"][name]) for name in self.metrics}
        self._is_ours = True
        rank, as_many = dist.get_rank(), len(state["rng"]) == dist.get_world_size()
        if as_many:
            default_generator.set_state(state["rng"][rank].numpy())
        else:
            self._own_stream()
        self.batch = int(state.get("batch", 0))
        if self.batch:
            self._stream = default_generator.get_state()
            parts = state["sums"]
            mine = parts[rank] if as_many else sum(parts) if rank == 0 else dg.zeros(3)
            self.sums.loss, self.sums.score, self.sums.count = mine.tolist()


NEEDED = {"options": dict, "epoch": int, "model": dict, "optimizer": dict, "rng": list, "history": dict}


def _everyones(mine: dg.Tensor) -> list[dg.Tensor]:
    found = [dg.zeros_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(found, mine)
    return found
