"""What ``train.py`` does between reading its options and printing where the files lie: epochs, metrics, checkpoints."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import distgrad as dg
from distgrad import distributed as dist, nn
from distgrad.random import Generator, default_generator
from distgrad.utils.data import DataLoader, Sampler, TensorDataset

__all__ = ["Asked", "CURVES", "FILE", "Refused", "Shares", "Sums", "Trainer", "beside", "draw", "on_rank_0"]

FILE = "checkpoint.safetensors"
CURVES = "learning-curve.png"
METRICS = ("train loss", "train accuracy", "validation loss", "validation accuracy")


class Refused(Exception):
    """What cannot be, raised on all ranks; the message says what was given and what was possible."""


class Asked:
    """Signals that ask a run to end: noted, and acted on where all ranks do.  A second one ends the process as usual.

    Attributes:
        CODES: by signal, the exit code of a run that it has ended (75: try again).
        code: of the signal that came; 0 before.
    """

    CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 75}

    def __init__(self) -> None:
        self.code = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Asked:
        for number in self.CODES:
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.code = self.CODES[signal.Signals(number)]
        signal.signal(number, self._before[number])

    def everywhere(self) -> bool:
        """Whether some rank has been asked; the same answer, and then the same code, on all.  Collective."""
        found = dg.tensor([self.code])
        dist.all_reduce(found, dist.ReduceOp.MAX)
        self.code = int(found.item())
        return bool(self.code)


def on_rank_0(action: Callable[[], Any]) -> None:
    """Do on rank 0 what touches files; every rank calls it.

    Raises:
        Refused: the system refuses; on all ranks.
    """
    told = [""]
    if dist.get_rank() == 0:
        try:
            action()
        except OSError as error:
            told = [str(error)]
    dist.broadcast_object_list(told)
    if told[0]:
        raise Refused(told[0])


def beside(path: Path) -> Path:
    """A name beside ``path`` that is free: ``checkpoint-1.safetensors``, or the next number."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


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

    def tensor(self) -> dg.Tensor:
        """The sums of this rank: (3,), float64."""
        return dg.tensor([self.loss, self.hits, self.count], dtype=dg.float64)

    def means(self) -> tuple[float, float]:
        """Mean loss and accuracy over what all ranks have added; every rank calls it and gets the same."""
        total = self.tensor()
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

    Attributes:
        epoch, batch: how many epochs, and batches of the next one, are done.
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
        self.searches = any(group.get("line_search_fn") for group in optimizer.param_groups)
        self.targets: str = getattr(loss, "targets", "one_hot")
        self.shares = Shares(len(train[0]), batch_size, seed)
        self.batches: DataLoader[Any] = DataLoader(TensorDataset(*train), batch_sampler=self.shares)
        rank, size = dist.get_rank(), dist.get_world_size()
        self.validation = tuple(t[rank::size] for t in validation)
        self.seed, self.folder, self.options = seed, folder, options
        self.epoch, self.batch, self.sums = 0, 0, Sums()
        self._stream: Any = None  # the default generator's state in the middle of an epoch
        self._is_ours = False  # the checkpoint in the folder
        self.history: dict[str, list[float]] = {name: [] for name in METRICS}
        self._own_stream()

    def _own_stream(self) -> None:
        """Let what this rank draws (dropout) differ from what others draw."""
        stream = Generator.keyed(self.seed, self.epoch, dist.get_rank())
        default_generator.set_state(stream.get_state())

    def run_epoch(self, bar: Any, asked: Asked | None = None) -> dict[str, float]:
        """Train on all batches once, then validate; the metrics are over all ranks, and the same on each.

        Returns:
            the metrics; empty where the run was asked to end before the epoch did.
        """
        self.shares.epoch, self.shares.first = self.epoch, self.batch
        self.model.train()
        batches = iter(self.batches)
        if self._stream is not None:  # behind what a loader draws at its start
            default_generator.set_state(self._stream)
            self._stream = None
        for x, labels in batches:
            first: list[dg.Tensor] = []

            def evaluate(x: dg.Tensor = x, labels: dg.Tensor = labels, first: list[dg.Tensor] = first) -> dg.Tensor:
                self.optimizer.zero_grad()
                outputs = self.model(x)
                loss = self._loss(outputs, labels)
                loss.backward()
                first.extend([loss, outputs] if not first else [])
                return self._of_all(loss, len(labels)) if self.searches else loss

            try:
                self.optimizer.step(evaluate)  # L-BFGS evaluates several times
            except ArithmeticError as error:  # of numbers that are the same on all ranks
                name = type(self.optimizer).__name__
                raise Refused(f"a step of {name} failed ({error}); try a smaller --lr") from None
            loss, outputs = first
            self.sums.add(loss, outputs, labels)
            self.batch += 1
            bar.update()
            if asked is not None and asked.everywhere() and self.batch < len(self.shares):
                return {}
        train = self.sums.means()
        found = dict(zip(METRICS, (*train, *self.validate()), strict=True))
        for name, value in found.items():
            self.history[name].append(value)
        self.epoch, self.batch, self.sums = self.epoch + 1, 0, Sums()
        return found

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
        x, labels = (t[:2] for t in self.validation)
        problem = ""
        with dg.no_grad():
            outputs = self.model.module(x)
            try:
                loss = self._loss(outputs, labels)
                if not isinstance(loss, dg.Tensor) or loss.numel() != 1:
                    shape = f"shape {tuple(loss.shape)}" if isinstance(loss, dg.Tensor) else type(loss).__name__
                    problem = f"it gave {shape}, where a mean over samples, one number, is needed"
            except Exception as error:  # a stranger's
                problem = f"it raised {type(error).__name__}: {error}"
        if problem:
            given = {"classes": "class numbers, int64", "signs": "1 and -1"}.get(self.targets, "one-hot vectors")
            raise Refused(
                f"the loss {type(self.loss).__name__} was called with outputs {tuple(outputs.shape)} and {given}: "
                f"{problem}. A loss says in its class what it takes: targets = 'classes' (or 'one_hot', 'signs')"
            )

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
        if self.targets == "classes":
            return self.loss(outputs, labels)
        classes = dg.arange(outputs.shape[1], device=labels.device)
        targets = (labels.unsqueeze(1) == classes).to(outputs.dtype)
        return self.loss(outputs, targets * 2 - 1 if self.targets == "signs" else targets)

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
        self.epoch, self.history = state["epoch"], {name: list(state["history"][name]) for name in METRICS}
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
            self.sums.loss, self.sums.hits, self.sums.count = mine.tolist()


NEEDED = {"options": dict, "epoch": int, "model": dict, "optimizer": dict, "rng": list, "history": dict}


def _everyones(mine: dg.Tensor) -> list[dg.Tensor]:
    found = [dg.zeros_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(found, mine)
    return found


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
