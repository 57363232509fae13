"""Train a classifier: ``mpirun -n N python launch/train.py --dataset digits --model mlp …``.

Each rank works on its share of every batch; gradients are averaged over MPI.  Without ``mpirun`` it is one rank.
Data sets, models, optimizers and losses are named; whatever is installed as a distgrad plugin can be named too.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

import distgrad as dg
from distgrad import backend, distributed as dist, nn, registry
from distgrad.distributed.gradients.nonfinite import NonFiniteError
from train_data import DATASETS
from train_loop import CURVES, FILE, Asked, Refused, Trainer, beside, draw, on_rank_0
from train_models import MODELS

# What stands behind a model that ends in plain numbers, by what a loss says that it takes.
LAST_LAYER: dict[str, Callable[[], nn.Module]] = {
    "probabilities": nn.Sigmoid,
    "log_probabilities": lambda: nn.LogSoftmax(dim=1),
}
LOSS_OPTIONS = {"KLDivLoss": {"reduction": "batchmean"}}  # the trainer wants means over samples
# It is meant for the whole data at once: with batches, few steps on each, along a line that is searched.
OPTIMIZER_OPTIONS: dict[str, dict[str, Any]] = {
    "LBFGS": {"max_iter": 4, "history_size": 10, "line_search_fn": "strong_wolfe"},
}
# Losses that compare pairs or triplets of vectors, or need variances: a model's outputs and targets are not enough.
OF_MORE = {
    "CosineEmbeddingLoss", "GaussianNLLLoss", "HingeEmbeddingLoss", "MarginRankingLoss", "TripletMarginLoss",
}  # fmt: skip


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refused(message)

    def print_help(self, file: Any = None) -> None:
        if dist.get_rank() == 0:
            super().print_help(file)


def _number(kind: type, least: float, exclusive: bool = False, below: float = math.inf) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value < below or (exclusive and value == least):
            what = "an integer" if kind is int else "a number"
            bound = f"above {least:g}" if exclusive else f"of at least {least:g}"
            bound += f" and below {below}" if below < math.inf else ""
            raise argparse.ArgumentTypeError(f"{text!r} is not {what} {bound}")
        return value

    return parse


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="train.py", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    add = parser.add_argument
    add("--dataset", default="digits", metavar="NAME", help=f"one of: {', '.join(sorted(DATASETS))}")
    add("--model", default="mlp", metavar="NAME", help=f"one of: {', '.join(sorted(MODELS))}")
    add("--optimizer", default="adam", metavar="NAME", help="any that `python -m distgrad plugins` lists")
    add("--loss", default="cross_entropy", metavar="NAME", help="any that `python -m distgrad plugins` lists")
    add("--epochs", type=_number(int, 1), default=20, metavar="N", help="in all, those before a resume included")
    add("--batch-size", type=_number(int, 1), default=64, metavar="N", help="over all ranks together")
    add("--lr", type=_number(float, 0, exclusive=True), metavar="X", help="learning rate; default the optimizer's own")
    seed = _number(int, 0, below=2**64)
    add("--seed", type=seed, default=0, metavar="N", help="of parameters, order of samples, dropout")
    add("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: each rank takes the GPU of its local rank")
    add("--checkpoint-dir", type=Path, metavar="DIR", help="default runs/DATASET-MODEL-OPTIMIZER")
    add("--resume", action="store_true", help="go on from the checkpoint in the checkpoint directory")
    add("--no-progress", action="store_true", help="no progress bar")
    return parser


def _named(kind: str, table: dict[str, Any], name: str) -> Any:
    if name not in table:
        raise Refused(f"unknown {kind} {name!r}; known: {', '.join(sorted(table))}")
    return table[name]


def _plugin(kind: str, name: str) -> type:
    try:
        return registry.get(kind, name)
    except registry.PluginError as error:
        raise Refused(str(error)) from None


def _on_any_rank(condition: bool) -> bool:
    """Whether the condition holds on some rank; the same answer on all."""
    found = dg.tensor([int(condition)])
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return bool(found.item())


def _device(name: str) -> backend.device:
    if name == "cpu":
        return backend.CPU
    problem, device = "", backend.CPU
    try:
        device = backend.resolve(name)  # the GPU of this rank
    except RuntimeError as error:
        problem = str(error)
    if _on_any_rank(bool(problem)):
        raise Refused(f"--device {name}: {problem or 'another rank has no GPU'}; --device cpu works everywhere")
    return device


def _trainer(options: argparse.Namespace) -> Trainer:
    make_data = _named("data set", DATASETS, options.dataset)
    make_model = _named("model", MODELS, options.model)
    make_optimizer, make_loss = _plugin("optimizer", options.optimizer), _plugin("loss", options.loss)
    if make_loss.__name__ in OF_MORE or getattr(make_loss, "targets", "") == "others":
        raise Refused(f"--loss {options.loss} needs more than a model's outputs and class targets, all that there is")
    if getattr(make_optimizer, "gradients", "dense") == "sparse":
        raise Refused(f"--optimizer {options.optimizer} takes sparse gradients alone, and these models' are dense")
    size = dist.get_world_size()
    if options.batch_size < size:
        raise Refused(f"--batch-size {options.batch_size} gives some of the {size} ranks no sample; at least {size}")
    if options.resume and _on_any_rank(not (options.checkpoint_dir / FILE).is_file()):
        raise Refused(f"--resume: there is no {options.checkpoint_dir / FILE}")
    device = _device(options.device)
    data = make_data()
    if options.batch_size > len(data.train[0]):
        raise Refused(f"--batch-size {options.batch_size} is more than the {len(data.train[0])} samples to train on")
    dg.manual_seed(options.seed)
    model = make_model(data.shape, data.classes)
    if (inputs := getattr(make_loss, "inputs", "outputs")) in LAST_LAYER:
        model = nn.Sequential(model, LAST_LAYER[inputs]())
    model = model.to(device)
    chosen = OPTIMIZER_OPTIONS.get(make_optimizer.__name__, {}) | ({} if options.lr is None else {"lr": options.lr})
    try:
        optimizer = make_optimizer(model.parameters(), **chosen)
        loss = make_loss(**LOSS_OPTIONS.get(make_loss.__name__, {}))
    except (TypeError, ValueError) as error:
        raise Refused(str(error)) from None
    common = ("dataset", "model", "optimizer", "loss", "batch_size", "lr", "seed")
    trainer = Trainer(
        model,
        optimizer,
        loss,
        tuple(dg.tensor(a).to(device) for a in data.train),
        tuple(dg.tensor(a).to(device) for a in data.validation),
        options.batch_size,
        options.seed,
        options.checkpoint_dir,
        {name: getattr(options, name) for name in common},
    )
    trainer.try_loss()
    return trainer


def _prepare_folder(folder: Path) -> None:
    """Make the folder on rank 0, and see whether it can be written to."""

    def make() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass

    try:
        on_rank_0(make)
    except Refused as refusal:
        raise Refused(f"--checkpoint-dir {folder}: {refusal}") from None


def _resume(trainer: Trainer, folder: Path) -> None:
    problem = ""
    try:
        trainer.resume()
    except Exception as error:  # whatever a file that others have written makes of it
        problem = str(error) if isinstance(error, (ValueError, RuntimeError, OSError)) else repr(error)
    if _on_any_rank(bool(problem)):
        raise Refused(f"--resume: {problem or f'another rank cannot go on from {folder / FILE}'}")


def _save(trainer: Trainer) -> None:
    kept = trainer.save()
    if kept is not None:
        _say(f"the checkpoint that an earlier run left is kept as {kept} (--resume would have gone on with it)")


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


def _train(options: argparse.Namespace, asked: Asked) -> int:
    if options.checkpoint_dir is None:
        options.checkpoint_dir = Path("runs", f"{options.dataset}-{options.model}-{options.optimizer}")
    folder: Path = options.checkpoint_dir
    trainer = _trainer(options)
    _prepare_folder(folder)
    if options.resume:
        _resume(trainer, folder)
    size, parameters = dist.get_world_size(), sum(p.numel() for p in trainer.model.parameters())
    _say(
        f"{options.model} ({parameters} parameters) on {options.dataset} with {options.optimizer} and {options.loss}: "
        f"{size} rank{'s' * (size > 1)} ({dist.get_backend()}), batch {options.batch_size}, {options.device}"
    )
    started = time.perf_counter()
    while trainer.epoch < options.epochs:
        quiet = options.no_progress or dist.get_rank() != 0
        title = f"epoch {trainer.epoch + 1}/{options.epochs}"
        total, done = len(trainer.shares), trainer.batch
        with tqdm(total=total, initial=done, desc=title, unit="batch", leave=False, disable=quiet) as bar:
            found = trainer.run_epoch(bar, asked)
        if found:
            _say(
                f"{title}: train loss {found['train loss']:.4f} accuracy {found['train accuracy']:.2%}, "
                f"validation loss {found['validation loss']:.4f} accuracy {found['validation accuracy']:.2%}"
            )
            if not math.isfinite(found["train loss"]):  # the same number on all ranks, so all stop here
                raise Refused(
                    f"the training loss became {found['train loss']} in epoch {trainer.epoch}; try a smaller --lr"
                )
        _save(trainer)
        if asked.code and trainer.epoch < options.epochs:
            where = f"epoch {trainer.epoch + 1}, after {trainer.batch} of {total} batches"
            _say(f"asked to end in {where}; checkpoint: {folder / FILE}. The same command with --resume goes on")
            return asked.code
    _say(f"trained to epoch {trainer.epoch} in {time.perf_counter() - started:.1f} s")
    curves = ""
    if dist.get_rank() == 0:
        title = f"{options.model} on {options.dataset}, {size} ranks"
        curves = _draw(trainer, folder / CURVES, title, options.resume)
    _say(f"checkpoint: {folder / FILE}")
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
        code = _train(_parser().parse_args(arguments), asked)
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
