"""What people see of a training: progress bar, metrics, TensorBoard events, learning curve, table at the end.

All of it is rank 0's; the others hold the same objects, which then do nothing.
"""

from __future__ import annotations

import importlib
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from distgrad import distributed as dist
from train_ranks import Refused, on_rank_0

__all__ = ["Events", "Metrics", "at_a_terminal", "beside", "draw", "need_matplotlib", "progress", "summary"]

LAUNCHERS = ("mpirun", "mpiexec", "orterun", "prterun", "prted", "hydra")


def beside(path: Path) -> Path:
    """A name beside ``path`` that is free: ``checkpoint-1.safetensors``, or the next number."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


# --------------------------------------------------------------------------------------------------- progress bar


def at_a_terminal() -> bool:
    """Whether stderr is shown on a terminal: directly, or by the mpirun that hands its ranks a pipe (Linux)."""
    if sys.stderr.isatty():
        return True
    pid = os.getppid()
    try:
        while Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").startswith(LAUNCHERS):
            if os.readlink(f"/proc/{pid}/fd/2").startswith(("/dev/pts/", "/dev/tty")):
                return True
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
            pid = int(stat.rpartition(")")[2].split()[1])
    except OSError:  # another system, or another user's process
        pass
    return False


def progress(total: int, done: int, shown: bool) -> tqdm:
    """The bar of the whole run, of so many batches."""
    return tqdm(total=total, initial=done, unit="batch", leave=False, disable=not shown or dist.get_rank() != 0)


# --------------------------------------------------------------------------------------------------------- metrics


def _at(path: Path, option: str, action: Callable[[], Any]) -> None:
    try:
        on_rank_0(action)
    except Refused as refusal:
        raise Refused(f"{option} {path}: {refusal}") from None


class Metrics:
    """A file of JSON lines, one for each epoch.

    A run that resumes after ``epoch`` epochs goes on with the file: lines of later epochs, which it trains again, and a
    line that was cut off are removed.  Any other run keeps the file that it finds under another name.
    """

    def __init__(self, path: Path, resumes: bool, epoch: int) -> None:
        self.path = path
        _at(path, "--metrics", lambda: self._continue(epoch) if resumes else self._begin())

    def _begin(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            if not self.path.is_file():
                raise Refused("is no file")
            if self.path.stat().st_size:
                self.path.replace(beside(self.path))
        self.path.touch()

    def _continue(self, epoch: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        kept = []
        for number, line in enumerate(lines, 1):
            try:
                its = json.loads(line)["epoch"]
                if its <= epoch:
                    kept.append(line if line.endswith("\n") else f"{line}\n")
            except (ValueError, TypeError, KeyError):
                if number < len(lines):
                    raise Refused(f"line {number} is no line of metrics: {line.strip()!r:.60}") from None
        if kept != lines:
            new = self.path.with_name(f"{self.path.name}.new")
            new.write_text("".join(kept), encoding="utf-8")
            new.replace(self.path)

    def add(self, found: dict[str, Any]) -> None:
        """Write an epoch's line; every rank calls it.  A number that is not finite is null."""
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in found.items()}

        def write() -> None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(finite, allow_nan=False) + "\n")

        _at(self.path, "--metrics", write)


class _EventFile:
    """TensorBoard's own event files, written without PyTorch."""

    def __init__(self, folder: Path, first: int) -> None:
        # By name: an optional library, which has no type hints.
        writer = importlib.import_module("tensorboard.summary.writer.event_file_writer")
        self._event = importlib.import_module("tensorboard.compat.proto.event_pb2")
        self._summary = importlib.import_module("tensorboard.compat.proto.summary_pb2")
        self._file = writer.EventFileWriter(str(folder))
        start = self._event.SessionLog(status=self._event.SessionLog.START)
        self._file.add_event(self._event.Event(wall_time=time.time(), step=first, session_log=start))

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        summary = self._summary.Summary(value=[self._summary.Summary.Value(tag=tag, simple_value=value)])
        self._file.add_event(self._event.Event(wall_time=time.time(), step=step, summary=summary))

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _writer() -> Callable[[Path, int], Any]:
    """What makes a writer of a folder and the first step, by whichever library is installed."""
    try:
        make = importlib.import_module("tensorboardX").SummaryWriter
        return lambda folder, first: make(str(folder), purge_step=first)
    except ImportError:
        pass
    try:
        importlib.import_module("tensorboard.summary.writer.event_file_writer")
        return _EventFile
    except ImportError as error:
        raise Refused(f"needs a writer: pip install tensorboardX (or tensorboard) ({error})") from None


class Events:
    """TensorBoard event files by tensorboardX's writer or tensorboard's own.

    TensorBoard then forgets what an earlier run has written to the folder of the first step and of later ones.

    Raises:
        Refused: neither is installed, or the folder cannot be written to; on all ranks.
    """

    def __init__(self, folder: Path, first: int) -> None:
        self._file: Any = None
        self.folder = folder

        def start() -> None:
            make = _writer()
            folder.mkdir(parents=True, exist_ok=True)
            self._file = make(folder, first)

        _at(folder, "--tensorboard", start)

    @staticmethod
    def need_writer(folder: Path) -> None:
        """See on rank 0 that there is a writer, before anything is trained."""

        def look() -> None:
            _writer()

        _at(folder, "--tensorboard", look)

    def add(self, scalars: dict[str, float], epoch: int) -> None:
        """Write an epoch's numbers; every rank calls it."""

        def write() -> None:
            for tag, value in scalars.items():
                self._file.add_scalar(tag, value, epoch)
            self._file.flush()

        _at(self.folder, "--tensorboard", write)

    def close(self) -> None:
        """Write what is left, and close the file."""
        if self._file is not None:
            self._file.close()


# ---------------------------------------------------------------------------------------------- curve and summary


def need_matplotlib(path: Path) -> None:
    """See on rank 0 that the picture can be drawn, before anything is trained.

    Raises:
        Refused: matplotlib is not installed; on all ranks.
    """

    def look() -> None:
        try:
            importlib.import_module("matplotlib")
        except ImportError as error:
            raise Refused(f"needs matplotlib: pip install 'distgrad[demo]' ({error})") from None

    _at(path, "--plot", look)


def draw(history: dict[str, list[float]], path: Path, title: str) -> None:
    """Write a picture of losses and metrics by epoch to ``path``, in the format that its suffix names."""
    import matplotlib

    matplotlib.use("Agg")  # no display is needed
    from matplotlib import pyplot

    whats = [name.removeprefix("train ") for name in history if name.startswith("train ")]
    figure, panels = pyplot.subplots(1, len(whats), figsize=(10, 4), layout="constrained")
    epochs = range(1, len(history["train loss"]) + 1)
    for panel, what in zip(panels, whats, strict=True):
        percent = what == "accuracy"
        for part in ("train", "validation"):
            values = [v * 100 if percent else v for v in history[f"{part} {what}"]]
            panel.plot(epochs, values, marker=".", label=part)
        panel.set(xlabel="epoch", ylabel=f"{what}, %" if percent else what)
        panel.grid(alpha=0.3)
        panel.legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def summary(history: dict[str, list[float]], metric: str, shown: Callable[[float], str], last: dict[str, str]) -> str:
    """A table of losses and metrics, at the end and in the best epoch by validation, and what ``last`` names."""
    held = history[f"validation {metric}"]
    best = (max if metric == "accuracy" else min)(range(len(held)), key=held.__getitem__)
    rows = [("", "train", "validation", f"best, epoch {best + 1}")]
    for what, text in (("loss", lambda v: f"{v:.4g}"), (metric, shown)):
        train, validation = history[f"train {what}"], history[f"validation {what}"]
        rows.append((what, text(train[-1]), text(validation[-1]), text(validation[best])))
    width = max(len(name) for name in (*last, metric))
    lines = [f"{name:<{width}}  {a:>12}  {b:>12}  {c:>14}" for name, a, b, c in rows]
    return "\n".join([*(line.rstrip() for line in lines), *(f"{name:<{width}}  {text}" for name, text in last.items())])
