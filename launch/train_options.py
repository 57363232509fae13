"""What ``train.py`` can be told, on its command line and in a TOML file."""

from __future__ import annotations

import argparse
import difflib
import math
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from distgrad import distributed as dist
from train_data import DATASETS
from train_models import MODELS
from train_ranks import Refused, from_rank_0
from train_table import SCALES

__all__ = ["parsed"]

OF_A_TABLE = ("target", "ignore", "scale", "scale_target", "validation")
PICTURES = (".jpg", ".pdf", ".png", ".svg")


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


def _picture(text: str) -> Path:
    if Path(text).suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in one of {', '.join(PICTURES)}")
    return Path(text)


def _parser(description: str) -> argparse.ArgumentParser:
    parser = _Parser(prog="train.py", description=description, allow_abbrev=False)
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE.toml", help="options, by their names; the command line wins")
    add("--dataset", metavar="NAME", help=f"one of: {', '.join(sorted(DATASETS))}; default digits")
    add("--model", default="mlp", metavar="NAME", help=f"one of: {', '.join(sorted(MODELS))}")
    add("--optimizer", default="adam", metavar="NAME", help="any that `python -m distgrad plugins` lists")
    add("--loss", default="cross_entropy", metavar="NAME", help="any that `python -m distgrad plugins` lists")
    add("--epochs", type=_number(int, 1), default=20, metavar="N", help="in all, those before a resume included")
    batch = "over all ranks together; default 64, or all of a smaller table"
    add("--batch-size", type=_number(int, 1), metavar="N", help=batch)
    add("--lr", type=_number(float, 0, exclusive=True), metavar="X", help="learning rate; default the optimizer's own")
    seed = _number(int, 0, below=2**64)
    add("--seed", type=seed, default=0, metavar="N", help="of parameters, order of samples, dropout, a table's split")
    add("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: each rank takes the GPU of its local rank")
    add("--checkpoint-dir", type=Path, metavar="DIR", help="default runs/DATASET-MODEL-OPTIMIZER")
    add("--resume", action="store_true", help="go on from the checkpoint in the checkpoint directory")
    _add_table(parser)
    _add_reports(parser)
    return parser


def _add_table(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("a table of your own").add_argument
    add("--data", type=Path, metavar="FILE", help="CSV, TSV or NPZ, in place of --dataset; rank 0 reads it")
    add("--target", metavar="COLUMN", help="name or index (from 0; -1 is the last) of the column to learn")
    add("--ignore", metavar="COLUMNS", help="names or indices of columns to leave out, with commas between")
    add("--scale", choices=SCALES, help="of inputs, fitted on the training part alone; default standard")
    add("--scale-target", choices=SCALES, help="of values to learn; losses are then of scaled values; default none")
    share = _number(float, 0, exclusive=True, below=1)
    add("--validation", type=share, metavar="SHARE", help="of rows, not trained on; drawn by --seed; default 0.2")


def _add_reports(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is reported, by rank 0").add_argument
    add("--metrics", type=Path, metavar="FILE", help="a line of JSON for every epoch; a resumed run goes on with it")
    add("--tensorboard", type=Path, metavar="FOLDER", help="event files; needs tensorboardX or tensorboard")
    add("--plot", type=_picture, metavar="FILE.png", help="learning curve; default in the checkpoint directory")
    add("--save", type=Path, metavar="FILE", help="the model alone, with a table's scaling, for distgrad.load")
    bar = "the progress bar; default where the output is a terminal"
    add("--progress", action=argparse.BooleanOptionalAction, default=None, help=bar)
    add("--quiet", action="store_true", help="neither a progress bar nor a line for every epoch")


def _arguments(action: argparse.Action, name: str, value: Any, where: str) -> list[str]:
    """A key of a TOML file and its value as arguments."""
    if isinstance(value, bool) != (action.nargs == 0) or isinstance(value, dict):
        needed = "true or false" if action.nargs == 0 else "a text or a number"
        raise Refused(f"{where} needs {needed}, got {value!r}")
    if isinstance(value, bool):
        other = f"--{name.removeprefix('no-')}" if name.startswith("no-") else f"--no-{name}"
        return [f"--{name}"] if value else [other] if other in action.option_strings else []
    if isinstance(value, list):
        if action.dest != "ignore":
            raise Refused(f"{where} needs one value, got {value!r}")
        value = ",".join(map(str, value))
    return [f"--{name}={value}"]


def _told(parser: argparse.ArgumentParser, path: Path) -> list[str]:
    """A TOML file's keys as arguments."""

    def read() -> str:
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise Refused(f"not UTF-8 text ({error})") from None

    where = f"--config {path}"
    try:
        found = tomllib.loads(from_rank_0(read))
    except (Refused, tomllib.TOMLDecodeError) as error:
        raise Refused(f"{where}: {error}") from None
    options = {flag[2:]: action for action in parser._actions for flag in action.option_strings if flag[:2] == "--"}
    arguments = []
    for key, value in found.items():
        name = key.replace("_", "-")
        if name in ("help", "config") or name not in options:
            near = difflib.get_close_matches(name.lower(), options.keys() - {"help", "config"}, 1, cutoff=0)
            raise Refused(f"{where}: there is no option {key!r}; the nearest is {near[0]!r}")
        arguments += _arguments(options[name], name, value, f"{where}: {key}")
    try:
        parser.parse_args(arguments)
    except Refused as refusal:
        raise Refused(f"{where}: {refusal}") from None
    return arguments


def parsed(arguments: Sequence[str] | None, given: Sequence[str], description: str) -> argparse.Namespace:
    """The options that ``arguments`` (default ``given``, the process's own) and the TOML file they name say.

    Raises:
        Refused: an option is unknown, or is not what it may be.
    """
    parser, own = _parser(description), list(given if arguments is None else arguments)
    options = parser.parse_args(own)
    if options.config is not None:
        options = parser.parse_args([*_told(parser, options.config), *own])
    if options.data is None:
        useless = [name for name in OF_A_TABLE if getattr(options, name) is not None]
        if useless:
            raise Refused(f"--{useless[0].replace('_', '-')} is of a table: it needs --data FILE")
        options.dataset = options.dataset or "digits"
    elif options.dataset is not None:
        raise Refused(f"--dataset {options.dataset} and --data {options.data} are both given")
    options.ignore = tuple(name.strip() for name in options.ignore.split(",")) if options.ignore else ()
    options.scale = options.scale or "standard"
    options.scale_target = options.scale_target or "none"
    options.validation = 0.2 if options.validation is None else options.validation
    options.name = options.dataset or options.data.stem
    if options.checkpoint_dir is None:
        options.checkpoint_dir = Path("runs", f"{options.name}-{options.model}-{options.optimizer}")
    return options
