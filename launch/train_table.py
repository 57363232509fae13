"""A user's own table, CSV or NPZ, as data to train on: columns, target, split and scaling."""

from __future__ import annotations

import csv
import difflib
import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import distgrad as dg
from distgrad.random import Generator
from train_data import Data
from train_ranks import Refused
from train_task import takes_values

__all__ = ["Wanted", "read", "table"]

SCALES = ("standard", "minmax", "none")
MISSING = {"", "na", "n/a", "nan", "null", "?"}
SPLIT = 1  # the counter of the stream that splits, so that it is not the one that orders samples
SHOWN = 20  # columns or classes in a message


@dataclass(frozen=True)
class Wanted:
    """What the options say of a table.

    Attributes:
        path: a CSV or TSV file, or an NPZ file, whose arrays are columns (n,) or blocks of them (n, …).
        target: the name of the column to learn, or its index.
        ignore: names or indices of columns to leave out.
        scale, scale_target: of SCALES; fitted on the training part alone.
        validation: the share of rows that are not trained on.
    """

    path: Path
    target: str | None
    ignore: tuple[str, ...] = ()
    scale: str = "standard"
    scale_target: str = "none"
    validation: float = 0.2
    seed: int = 0


# ---------------------------------------------------------------------------------------------------------- reading


def _listed(names: list[str]) -> str:
    more = f", … ({len(names)} in all)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which Python's float takes


def _find(names: list[str], wanted: str, option: str) -> str:
    """The name of the column that ``wanted`` names, or counts from 0 (-1: the last)."""
    if wanted in names:
        return wanted
    try:
        return names[int(wanted)]
    except (ValueError, IndexError):
        near = difflib.get_close_matches(wanted, names, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise Refused(f"{option}: there is no column {wanted!r}{meant} Columns: {_listed(names)}") from None


def _rows(path: Path) -> tuple[list[str], list[int], list[list[str]], bool]:
    """Names of columns, lines of rows in the file, rows of cells, and whether the first line is a header.

    It is one where none of its cells is a number, or where it counts the columns from 0, as pandas does.
    """
    lines, rows = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=first.count), skipinitialspace=True, strict=True)
            for row in reader:
                if any(cell.strip() for cell in row) or len(row) > 1:
                    lines.append(reader.line_num)
                    rows.append([cell.strip() for cell in row])
    except UnicodeDecodeError as error:
        raise Refused(f"--data {path}: not UTF-8 text ({error})") from None
    except csv.Error as error:
        raise Refused(f"--data {path}: line {reader.line_num}: {error}") from None
    if not rows:
        raise Refused(f"--data {path}: the file is empty")
    width = len(rows[0])
    for line, row in zip(lines, rows, strict=True):
        if len(row) != width:
            raise Refused(f"--data {path}: line {line} has {len(row)} cells, the first line {width}")
    counted = [str(i) for i in range(width)]
    if rows[0] == counted or not any(map(_is_number, rows[0])):
        return rows[0], lines[1:], rows[1:], True
    return counted, lines, rows, False


def _column(where: str, cells: list[str], lines: list[int], is_target: bool) -> np.ndarray:
    """A column as float64, or as text where it is the target and no cell is a number."""
    for cell, line in zip(cells, lines, strict=True):
        if cell.lower() in MISSING:
            raise Refused(f"{where}, line {line}: the value is missing ({cell!r})")
    if all(cell.lower() in ("true", "false") for cell in cells):
        return np.array([float(cell.lower() == "true") for cell in cells])
    number = [_is_number(cell) for cell in cells]
    if all(number):
        return np.array([float(cell) for cell in cells])
    text = number.index(False)
    if is_target and not any(number):
        return np.array(cells)
    mixed = f", while line {lines[number.index(True)]} holds a number" if any(number) else ""
    raise Refused(
        f"{where}, line {lines[text]}: {cells[text]!r} is text, where a number is needed{mixed}; "
        "--ignore COLUMN leaves a column out"
    )


def _read_csv(wanted: Wanted) -> tuple[dict[str, np.ndarray], str]:
    path = wanted.path
    names, lines, rows, has_header = _rows(path)
    twice = sorted({name for name in names if names.count(name) > 1 and name})
    if twice:
        raise Refused(f"--data {path}: two columns are named {twice[0]!r}")
    target, ignored = _chosen(names, wanted)
    if "" in set(names) - ignored:
        raise Refused(
            f"--data {path}: column {names.index('')} has no name (pandas writes its index so); "
            f"--ignore {names.index('')} leaves it out"
        )
    if not rows:
        raise Refused(f"--data {path}: there are no rows below the header")
    found = {}
    for i, name in enumerate(names):
        if name not in ignored:
            where = f"--data {path}: column {name!r}"
            try:
                found[name] = _column(where, [row[i] for row in rows], lines, name == target)
            except Refused as refusal:
                taken = "" if has_header else " (its first line holds numbers, so it was not taken for a header)"
                raise Refused(f"{refusal}{taken}") from None
    return found, target


def _read_npz(wanted: Wanted) -> tuple[dict[str, np.ndarray], str]:
    path, found = wanted.path, {}
    try:
        with np.load(path, allow_pickle=False) as file:
            target, ignored = _chosen(list(file.files), wanted)
            for name in file.files:
                if name not in ignored:
                    found[name] = file[name]
    except (ValueError, zipfile.BadZipFile, zlib.error, AttributeError, EOFError) as error:  # no archive, or of objects
        raise Refused(f"--data {path}: not an NPZ file of numbers ({error})") from None
    for name, array in found.items():
        where = f"--data {path}: array {name!r}"
        if array.ndim == 0:
            raise Refused(f"{where} is one number, not a column")
        if array.dtype.kind not in "biuf" and not (name == target and array.dtype.kind == "U"):
            raise Refused(f"{where} is of {array.dtype}, where numbers are needed; --ignore {name} leaves it out")
        found[name] = array if array.dtype.kind == "U" else array.astype(np.float64)
    return found, target


def _chosen(names: list[str], wanted: Wanted) -> tuple[str, set[str]]:
    """The target's name, and those of the columns to leave out."""
    if wanted.target is None:
        raise Refused(f"--data {wanted.path} needs --target COLUMN; columns: {_listed(names)}")
    target = _find(names, wanted.target, f"--target of {wanted.path}")
    ignored = {_find(names, name, f"--ignore of {wanted.path}") for name in wanted.ignore}
    if target in ignored:
        raise Refused(f"--ignore leaves out the target {target!r}")
    if set(names) == ignored | {target}:
        raise Refused(f"--data {wanted.path}: there is no column beside the target {target!r}")
    return target, ignored


def read(wanted: Wanted) -> tuple[dict[str, np.ndarray], str]:
    """The columns that are wanted, float64 (n, …), or text where it is the target, by name; and the target's name.

    Raises:
        Refused: a column is missing, of text or of another length, or a value is missing or not finite.
        OSError: the file cannot be read.
    """
    path = wanted.path
    if path.suffix.lower() not in (".csv", ".tsv", ".npz"):
        raise Refused(f"--data {path}: a .csv, .tsv or .npz file is needed")
    found, target = (_read_npz if path.suffix.lower() == ".npz" else _read_csv)(wanted)
    lengths = {name: len(column) for name, column in found.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {n}" for name, n in lengths.items())
        raise Refused(f"--data {path}: columns are of unequal lengths: {said}")
    for name, column in found.items():
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            row = int(np.argwhere(~np.isfinite(column))[0][0])
            worst = column[row][~np.isfinite(column[row])].flat[0]
            raise Refused(f"--data {path}: column {name!r}, row {row} (counted from 0): {worst} is not finite")
    return found, target


# ------------------------------------------------------------------------------------------------ targets, scaling


def _classes(values: np.ndarray, where: str, loss: str) -> tuple[np.ndarray, list[str]]:
    """Labels, int64 (n,), 0 to classes - 1 in the order of the column's values, and these as text."""
    if values.ndim > 1 and values[0].size != 1:
        raise Refused(f"{where} has shape {values.shape}, where {loss} needs one class for each row")
    values = values.reshape(len(values))
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        odd = values[values != np.floor(values)][0]
        raise Refused(f"{where} holds {odd:g}, which is no class; {loss} learns classes, --loss mse learns values")
    found, labels = np.unique(values, return_inverse=True)
    names = [str(v) if values.dtype.kind == "U" else f"{v:.0f}" for v in found]
    if len(names) == 1:
        raise Refused(f"{where} holds one class only, {names[0]}: there is nothing to learn")
    if len(names) == len(values) > 2:
        raise Refused(f"{where} holds a class of its own in each row; {loss} learns classes, --loss mse learns values")
    return labels.reshape(-1).astype(np.int64), names


def _values(values: np.ndarray, where: str, loss: str, bounds: tuple[float, float]) -> np.ndarray:
    if values.dtype.kind == "U":
        raise Refused(f"{where} holds text ({str(values.flat[0])!r}), where {loss} needs numbers")
    outside = (values < bounds[0]) | (values > bounds[1])
    if outside.any():
        raise Refused(f"{where} holds {values[outside].flat[0]:g}; {loss} takes {bounds[0]:g} to {bounds[1]:g}")
    return values.reshape(len(values), -1)


def _fit(training: np.ndarray, scale: str) -> tuple[np.ndarray, np.ndarray]:
    """What to subtract and what to divide by, each of the shape of a row; a constant is left at 0."""
    if scale == "none":
        return np.zeros(training.shape[1:]), np.ones(training.shape[1:])
    if scale == "standard":
        shift, width = training.mean(0), training.std(0)
        constant = training.min(0) == training.max(0)  # a mean's last bit would make a width of it
        shift = np.where(constant, training[0], shift)
    else:
        shift, width = training.min(0), np.ptp(training, axis=0)
        constant = width == 0
    return shift, np.where(constant | (width == 0), 1.0, width)


def _split(rows: int, share: float, seed: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the training part and of the validation part, drawn by the seed alone."""
    if rows < 2:
        raise Refused(f"--data {path}: {rows} row{'s' * (rows != 1)} cannot be split into two parts")
    order = Generator.keyed(seed, 0, 0, SPLIT).permutation(rows)
    held = min(max(round(rows * share), 1), rows - 1)
    return order[held:], order[:held]


def _inputs(columns: dict[str, np.ndarray]) -> np.ndarray:
    """(n, …): a single block keeps its shape, columns and blocks are laid side by side."""
    blocks = list(columns.values())
    if len(blocks) == 1:
        return blocks[0] if blocks[0].ndim > 1 else blocks[0][:, None]
    return np.concatenate([b.reshape(len(b), -1) for b in blocks], axis=1)


def _single(array: np.ndarray, what: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        found = array.astype(np.float32)
    if not np.isfinite(found).all():
        raise Refused(f"{what} holds numbers that float32 does not; --scale standard brings them into its range")
    return found


def table(wanted: Wanted, loss: type, loss_name: str) -> Data:
    """The table as data for the loss, which says by its class whether it takes classes or values.

    Raises:
        Refused: as :func:`read`, or the target is not what the loss takes.
        OSError: the file cannot be read.
    """
    columns, target = read(wanted)
    column, path = columns.pop(target), wanted.path
    where, loss_name = f"--data {path}: the target {target!r}", f"--loss {loss_name}"
    x = _inputs(columns)
    names: list[str] = []
    if takes_values(loss):
        y = _values(column, where, loss_name, getattr(loss, "target_range", (-math.inf, math.inf)))
    else:
        y, names = _classes(column, where, loss_name)
    train, held = _split(len(x), wanted.validation, wanted.seed, path)
    facts: dict[str, Any] = {"columns": list(columns), "target": target, "classes": names}
    if names and len(np.unique(y[train])) == 1:
        raise Refused(f"{where}: all rows of the training part are of class {names[y[train[0]]]}; try another --seed")
    if not names:
        shift, width = _fit(y[train], wanted.scale_target)
        y = _single((y - shift) / width, where)
        facts |= {"target_shift": dg.tensor(shift), "target_width": dg.tensor(width)}
    shift, width = _fit(x[train], wanted.scale)
    x = _single((x - shift) / width, f"--data {path}")
    facts |= {"shift": dg.tensor(shift), "width": dg.tensor(width)}
    single = len(names) == 2 and getattr(loss, "targets", "one_hot") != "classes" and _tells_two(loss)
    what = f"classes {_listed(names)}" if names else "values"
    note = (
        f"{path.name}: {len(train)} rows to train on and {len(held)} to validate, "
        f"{math.prod(x.shape[1:])} inputs ({_listed(list(columns))}), target {target} ({what})"
    )
    return Data((x[train], y[train]), (x[held], y[held]), len(names), single, facts, note)


def _tells_two(loss: type) -> bool:
    """Whether one output suffices the loss for two classes; of log-probabilities it takes one for each class."""
    return getattr(loss, "inputs", "outputs") != "log_probabilities"
