"""Train a model: ``mpirun -n N python launch/train.py --dataset digits --model mlp …``, or ``--data table.csv …``.

Each rank works on its share of every batch; gradients are averaged over MPI.  Without ``mpirun`` it is one rank.
Data sets, models, optimizers and losses are named; whatever is installed as a distgrad plugin can be named too.
A loss says for itself what it takes (see ``distgrad.nn.modules.loss.Loss``): none is known by its name here.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

import distgrad as dg
from distgrad import backend, distributed as dist, registry
from distgrad.distributed.gradients.nonfinite import NonFiniteError
from train_data import DATASETS, Data
from train_loop import FILE, Trainer
from train_models import MODELS
from train_options import parsed
from train_ranks import Asked, Refused, from_rank_0, on_any_rank, on_rank_0
from train_report import Events, Metrics, at_a_terminal, beside, draw, need_matplotlib, progress, summary
from train_table import Wanted, table
from train_task import Task, needs_more

CURVES = "learning-curve.png"
# It is meant for the whole data at once: with batches, few steps on each, along a line that is searched.
OPTIMIZER_OPTIONS: dict[str, dict[str, Any]] = {
    "LBFGS": {"max_iter": 4, "history_size": 10, "line_search_fn": "strong_wolfe"},
}
BATCH = 64  # samples, where the options and the data allow it
# What a run must have in common with the one it resumes; of a table, ``contents`` is its file's SHA-256.
COMMON = ("dataset", "model", "optimizer", "loss", "batch_size", "lr", "seed")
COMMON_OF_A_TABLE = ("contents", "target", "scale", "scale_target", "validation")


def _named(kind: str, table: dict[str, Any], name: str) -> Any:
    if name not in table:
        raise Refused(f"unknown {kind} {name!r}; known: {', '.join(sorted(table))}")
    return table[name]


def _plugin(kind: str, name: str) -> type:
    try:
        return registry.get(kind, name)
    except registry.PluginError as error:
        raise Refused(str(error)) from None


def _device(name: str) -> backend.device:
    if name == "cpu":
        return backend.CPU
    problem, device = "", backend.CPU
    try:
        device = backend.resolve(name)  # the GPU of this rank
    except RuntimeError as error:
        problem = str(error)
    if on_any_rank(bool(problem)):
        raise Refused(f"--device {name}: {problem or 'another rank has no GPU'}; --device cpu works everywhere")
    return device


# ------------------------------------------------------------------------------------------------------- the parts


def _table(options: argparse.Namespace, loss: type) -> Data:
    """The user's table, as rank 0 has read it."""
    names = ("target", "ignore", "scale", "scale_target", "validation", "seed")
    wanted = Wanted(options.data, **{name: getattr(options, name) for name in names})

    def load() -> dict[str, Any]:
        data = table(wanted, loss, options.loss)
        found = {part: [dg.tensor(a) for a in getattr(data, part)] for part in ("train", "validation")}
        contents = hashlib.sha256(options.data.read_bytes()).hexdigest()
        more = {name: getattr(data, name) for name in ("classes", "single", "facts", "note")}
        return found | more | {"contents": contents}

    found = from_rank_0(load)
    options.contents = found.pop("contents")
    for part in ("train", "validation"):
        found[part] = tuple(t.numpy() for t in found[part])
    return Data(**found)


def _data(options: argparse.Namespace, loss: type) -> Data:
    if needs_more(loss):
        raise Refused(f"--loss {options.loss} needs more than a model's outputs and class targets, all that there is")
    size, batch = dist.get_world_size(), options.batch_size
    if batch is not None and batch < size:
        raise Refused(f"--batch-size {batch} gives some of the {size} ranks no sample; at least {size}")
    if options.resume and on_any_rank(not (options.checkpoint_dir / FILE).is_file()):
        raise Refused(f"--resume: there is no {options.checkpoint_dir / FILE}")
    data = _table(options, loss) if options.data is not None else _named("data set", DATASETS, options.dataset)()
    samples = len(data.train[0])
    if batch is not None and batch > samples:
        raise Refused(f"--batch-size {batch} is more than the {samples} samples to train on")
    if samples < size:
        raise Refused(f"{samples} samples to train on give some of the {size} ranks none")
    options.batch_size = max(min(BATCH, samples), size) if batch is None else batch
    return data


def _trainer(options: argparse.Namespace) -> tuple[Trainer, Data]:
    if options.data is None:
        _named("data set", DATASETS, options.dataset)
    make_model = _named("model", MODELS, options.model)
    make_optimizer, make_loss = _plugin("optimizer", options.optimizer), _plugin("loss", options.loss)
    if getattr(make_optimizer, "gradients", "dense") == "sparse":
        raise Refused(f"--optimizer {options.optimizer} takes sparse gradients alone, and these models' are dense")
    device = _device(options.device)
    data = _data(options, make_loss)
    stated = getattr(make_loss, "targets", "one_hot"), getattr(make_loss, "inputs", "outputs")
    task = Task(data.classes, data.single, *stated)
    dg.manual_seed(options.seed)
    model = task.completed(make_model(data.shape, data.outputs)).to(device)
    chosen = OPTIMIZER_OPTIONS.get(make_optimizer.__name__, {}) | ({} if options.lr is None else {"lr": options.lr})
    try:
        optimizer = make_optimizer(model.parameters(), **chosen)
        loss = make_loss(**getattr(make_loss, "sample_mean", {}))
    except (TypeError, ValueError) as error:
        raise Refused(str(error)) from None
    common = COMMON if options.data is None else (*COMMON, *COMMON_OF_A_TABLE)
    trainer = Trainer(
        model,
        optimizer,
        loss,
        task,
        tuple(dg.tensor(a).to(device) for a in data.train),
        tuple(dg.tensor(a).to(device) for a in data.validation),
        options.batch_size,
        options.seed,
        options.checkpoint_dir,
        {name: getattr(options, name) for name in common},
    )
    trainer.try_loss()
    return trainer, data


def _prepare_folder(folder: Path, option: str) -> None:
    """Make the folder on rank 0, and see whether it can be written to."""

    def make() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass

    try:
        on_rank_0(make)
    except Refused as refusal:
        raise Refused(f"{option} {folder}: {refusal}") from None


def _resume(trainer: Trainer, folder: Path) -> None:
    problem = ""
    try:
        trainer.resume()
    except Exception as error:  # whatever a file that others have written makes of it
        problem = str(error) if isinstance(error, (ValueError, RuntimeError, OSError)) else repr(error)
    if on_any_rank(bool(problem)):
        raise Refused(f"--resume: {problem or f'another rank cannot go on from {folder / FILE}'}")


# ------------------------------------------------------------------------------------------------------ what is kept


def _save(trainer: Trainer) -> None:
    kept = trainer.save()
    if kept is not None:
        _say(f"the checkpoint that an earlier run left is kept as {kept} (--resume would have gone on with it)")


def _save_model(trainer: Trainer, data: Data, path: Path | None) -> None:
    """Write the model alone, with what its inputs and outputs are, on rank 0."""
    if path is not None:
        on_rank_0(lambda: dg.save({"model": trainer.model.module.state_dict(), **data.facts}, path))
        _say(f"model: {path}")


def _draw(trainer: Trainer, path: Path, title: str, replaces: bool) -> str:
    """Draw the learning curve, on rank 0, and say where it is; one of an earlier run is kept, or replaced."""
    try:
        if path.exists() and not replaces:
            path.replace(beside(path))
        draw(trainer.history, path, title)
    except (ImportError, OSError) as error:
        return f"not drawn ({error})"
    return str(path)


def _say(text: str) -> None:
    if dist.get_rank() == 0:
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()


class _Reports:
    """What of each epoch is said and written, besides the checkpoint."""

    def __init__(self, options: argparse.Namespace, trainer: Trainer) -> None:
        self.options, self.trainer = options, trainer
        epoch = trainer.epoch
        self.metrics = Metrics(options.metrics, options.resume, epoch) if options.metrics else None
        self.events = Events(options.tensorboard, epoch + 1) if options.tensorboard else None
        self.samples, self.seconds = 0, 0.0

    def add_time(self) -> None:
        """Count what the trainer has just trained."""
        self.samples, self.seconds = self.samples + self.trainer.trained[0], self.seconds + self.trainer.trained[1]

    def add(self, found: dict[str, float], seconds: float) -> None:
        """The metrics of an epoch, which took so long with its validation."""
        task, epoch, lr = self.trainer.task, self.trainer.epoch, float(self.trainer.optimizer.param_groups[0]["lr"])
        if not self.options.quiet:
            train, validation = (
                f"{part} loss {found[f'{part} loss']:.4f} {task.metric} {task.shown(found[f'{part} {task.metric}'])}"
                for part in ("train", "validation")
            )
            _say(f"epoch {epoch}/{self.options.epochs}: {train}, {validation}")
        samples, trained = self.trainer.trained
        rate = samples / trained if trained else math.nan
        if self.metrics is not None:
            line = {
                "epoch": epoch,
                "loss": found["train loss"],
                "metric": found[f"train {task.metric}"],
                "validation_loss": found["validation loss"],
                "validation_metric": found[f"validation {task.metric}"],
                "metric_name": task.metric,
                "seconds": round(seconds, 6),
                "samples/s": round(rate, 3),
                "lr": lr,
                "ranks": dist.get_world_size(),
            }
            self.metrics.add(line)
        if self.events is not None:
            tags = {name.replace(" ", "/", 1).replace(" ", "_"): value for name, value in found.items()}
            self.events.add(tags | {"lr": lr, "samples_per_second": rate}, epoch)

    def close(self) -> None:
        """Write what is left."""
        if self.events is not None:
            self.events.close()

    def table(self) -> str:
        """What the run came to."""
        trainer, size, batch = self.trainer, dist.get_world_size(), self.options.batch_size
        rate = f", {self.samples / self.seconds:.0f} samples/s" if self.seconds else ""
        last = {
            "trained": f"{trainer.epoch} epochs of {trainer.shares.samples} samples{rate}",
            "on": f"{size} rank{'s' * (size > 1)} ({dist.get_backend()}), batch {batch}, {self.options.device}",
        }
        return summary(trainer.history, trainer.task.metric, trainer.task.shown, last)


# ----------------------------------------------------------------------------------------------------- the training


def _epochs(trainer: Trainer, options: argparse.Namespace, asked: Asked, reports: _Reports) -> int:
    """Train until all epochs are done (0), or the run is asked to end (the code to end with)."""
    total, path = len(trainer.shares), options.checkpoint_dir / FILE
    shown = not options.quiet and (at_a_terminal() if options.progress is None else options.progress)
    with progress(total * options.epochs, total * trainer.epoch + trainer.batch, shown) as bar:
        while trainer.epoch < options.epochs:
            bar.set_description(f"epoch {trainer.epoch + 1}/{options.epochs}")
            started = time.perf_counter()
            found = trainer.run_epoch(bar, asked)
            reports.add_time()
            if found:
                reports.add(found, time.perf_counter() - started)
                if not math.isfinite(found["train loss"]):  # the same number on all ranks, so all stop here
                    raise Refused(
                        f"the training loss became {found['train loss']} in epoch {trainer.epoch}; try a smaller --lr"
                    )
            _save(trainer)
            if asked.code and trainer.epoch < options.epochs:
                where = f"epoch {trainer.epoch + 1}, after {trainer.batch} of {total} batches"
                _say(f"asked to end in {where}; checkpoint: {path}. The same command with --resume goes on")
                return asked.code
    return 0


def _train(options: argparse.Namespace, asked: Asked) -> int:
    folder: Path = options.checkpoint_dir
    if options.plot is not None:
        need_matplotlib(options.plot)
    if options.tensorboard is not None:
        Events.need_writer(options.tensorboard)
    trainer, data = _trainer(options)
    _prepare_folder(folder, "--checkpoint-dir")
    for option, path in (("--save", options.save), ("--plot", options.plot)):
        if path is not None:
            _prepare_folder(path.parent, f"{option} in")
            if from_rank_0(path.is_dir):
                raise Refused(f"{option} {path}: is a folder, where a file is to be written")
    if options.resume:
        _resume(trainer, folder)
    reports = _Reports(options, trainer)
    size, parameters = dist.get_world_size(), sum(p.numel() for p in trainer.model.parameters())
    if data.note:
        _say(data.note)
    _say(
        f"{options.model} ({parameters} parameters) on {options.name} with {options.optimizer} and {options.loss}: "
        f"{size} rank{'s' * (size > 1)} ({dist.get_backend()}), batch {options.batch_size}, {options.device}"
    )
    started = time.perf_counter()
    try:
        code = _epochs(trainer, options, asked, reports)
    finally:
        reports.close()
    if code:
        _save_model(trainer, data, options.save)
        return code
    _say(f"trained to epoch {trainer.epoch} in {time.perf_counter() - started:.1f} s")
    _say(reports.table())
    curves = ""
    if dist.get_rank() == 0:
        title = f"{options.model} on {options.name}, {size} ranks"
        curves = _draw(trainer, options.plot or folder / CURVES, title, options.resume)
    _say(f"checkpoint: {folder / FILE}")
    _save_model(trainer, data, options.save)
    _say(f"learning curve: {curves}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as ``arguments`` say; 0, or 2 where they cannot be, which rank 0 alone explains.

    SIGINT, SIGTERM and SIGUSR1 (of batch systems, before the time is up) save a checkpoint and end the run on all
    ranks, in the middle of an epoch too, with the code 130, 143 or 75.
    """
    with Asked() as asked:
        return _main(arguments, asked)


def _main(arguments: Sequence[str] | None, asked: Asked) -> int:
    dist.init_process_group()
    code = 0
    try:
        code = _train(parsed(arguments, sys.argv[1:], (__doc__ or "").partition("\n")[0]), asked)
    except (Refused, NonFiniteError) as refusal:  # decided from what all ranks know, so all come here together
        code = 2
        if dist.get_rank() == 0:
            more = "; try a smaller --lr" if isinstance(refusal, NonFiniteError) else ""
            print(f"train.py: error: {refusal}{more}", file=sys.stderr, flush=True)
    except SystemExit as leaving:  # --help
        code = leaving.code if isinstance(leaving.code, int) else 1
        if code and dist.get_rank() == 0:
            print(leaving, file=sys.stderr, flush=True)
    dist.destroy_process_group()
    return code


if __name__ == "__main__":
    sys.exit(main())
