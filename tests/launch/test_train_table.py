"""``train.py --data``: a user's own table, what is read of it, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import train
from distgrad import nn, random, registry
from train_ranks import Refused
from train_table import Wanted, read, table

PRICES = "area,rooms,price\n" + "".join(f"{a},{r},{3 * a + 10 * r + 0.5}\n" for a in range(20, 40) for r in (1, 2))
KINDS = "x,y,kind\n" + "".join(f"{k + i / 100},{-k},{'abc'[k]}\n" for i in range(20) for k in range(3))
MSE, CE, BCE = (registry.get("loss", name) for name in ("mse", "cross_entropy", "bce"))


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "draw", lambda history, path, title: None)
    with random.fork_rng():
        yield


def run(*arguments: str) -> int:
    return train.main(["--no-progress", "--lr", "0.01", *arguments])


def write(text: str, name: str = "table.csv") -> Path:
    Path(name).write_text(text, encoding="utf-8", newline="")
    return Path(name)


def history(name: str = "table-linear-adam") -> dict[str, list[float]]:
    return dg.load(Path("runs", name, train.FILE))["history"]


# ------------------------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize(
    "text",
    [
        "a,b,y\n1,2,3\n4,5.5,-6e1\n",
        "\ufeffa;b;y\r\n1;2;3\r\n\r\n4;5.5;-60\r\n",
        'a\tb\ty\n" 1"\t2\t3\n4\t"5.5"\t-60.0\n',
    ],
    ids=["plain", "byte order mark, semicolons, CRLF, blank line", "tabs, quotes"],
)
def test_columns_are_read(text):
    found, target = read(Wanted(write(text), "y"))
    assert target == "y"
    assert {name: column.tolist() for name, column in found.items()} == {"a": [1, 4], "b": [2, 5.5], "y": [3, -60]}


def test_a_header_is_one_without_numbers_or_that_counts():
    assert list(read(Wanted(write("1,2,a\n3,4,b\n"), "-1"))[0]["0"]) == [1, 3]  # no header: every line is data
    assert list(read(Wanted(write("0,1,2\n3,4,5\n6,7,8\n"), "2"))[0]["0"]) == [3, 6]  # as pandas numbers columns
    assert list(read(Wanted(write("x,y\nTrue,1\nfalse,2\n"), "y"))[0]["x"]) == [1, 0]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "the file is empty"),
        ("a,y\n", {}, "there are no rows below the header"),
        ("a,y\n1,2\n3\n", {}, "line 3 has 1 cells, the first line 2"),
        ("a,y\n1,2\nred,3\n", {}, "column 'a', line 3: 'red' is text, where a number is needed, while line 2 holds"),
        ("a,y\n1,2\n,3\n", {}, "column 'a', line 3: the value is missing ('')"),
        ("a,y\n1,2\nNaN,3\n", {}, "column 'a', line 3: the value is missing ('NaN')"),
        ("a,y\n1,2\n3,NA\n", {}, "column 'y', line 3: the value is missing ('NA')"),
        ("a,y\n1,2\n1e999,3\n", {}, "column 'a', row 1 (counted from 0): inf is not finite"),
        ("a,y\n1,2\n1_0,3\n", {}, "'1_0' is text"),
        ("a,y\n1,2\n3,b\n", {}, "column 'y', line 3: 'b' is text, where a number is needed, while line 2 holds"),
        ("a,2019,y\n1,2,3\n", {"target": "2"}, "its first line holds numbers, so it was not taken for a header"),
        ("a,a,y\n1,2,3\n", {}, "two columns are named 'a'"),
        (",a,y\n0,2,3\n", {}, "column 0 has no name (pandas writes its index so); --ignore 0 leaves it out"),
        ("y\n1\n2\n", {}, "there is no column beside the target 'y'"),
        ("a,y\n1,2\n", {"ignore": ("y",)}, "--ignore leaves out the target 'y'"),
        ("a,y\n1,2\n", {"ignore": ("b",)}, "--ignore of table.csv: there is no column 'b'"),
        ("price,area\n1,2\n", {"target": "prize"}, "no column 'prize'; did you mean 'price'? Columns: price, area"),
        ("a,y\n1,2\n", {"target": "2"}, "there is no column '2'"),
        ("a,y\n1,2\n", {"target": None}, "--data table.csv needs --target COLUMN; columns: a, y"),
        ('a,y\n1,"2\n', {}, "unexpected end of data"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(text, options, message):
    with pytest.raises(Refused) as caught:
        read(Wanted(write(text), **{"target": "y"} | options))
    assert message in str(caught.value)


def test_columns_are_left_out_by_name_or_index():
    path = write(",name,a,y\n0,Ann,2,3\n1,Bob,4,5\n")
    assert list(read(Wanted(path, "y", ("0", "name")))[0]) == ["a", "y"]


def npz(**arrays: Any) -> Path:
    np.savez("table.npz", **arrays)
    return Path("table.npz")


def test_arrays_of_an_npz_file_are_columns_or_blocks():
    images, y = np.arange(6 * 3 * 4, dtype=np.uint8).reshape(6, 3, 4), np.arange(6) % 2
    data = table(Wanted(npz(x=images, y=y), "y", scale="none"), CE, "cross_entropy")
    assert data.shape == (3, 4)  # a single block keeps its shape
    data = table(Wanted(npz(x=images, a=y / 2, y=y), "1"), MSE, "mse")
    assert data.shape == (13,)  # x and y beside each other
    found = table(Wanted(npz(x=images, y=np.ones((6, 5))), "y"), MSE, "mse")
    assert found.outputs == 5


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones(3), "y": np.ones(4)}, "columns are of unequal lengths: x 3, y 4"),
        ({"x": np.array(["a", "b"]), "y": np.ones(2)}, "array 'x' is of <U1, where numbers are needed"),
        ({"x": np.ones(2) * 1j, "y": np.ones(2)}, "array 'x' is of complex128"),
        ({"x": np.array([1, np.nan]), "y": np.ones(2)}, "column 'x', row 1 (counted from 0): nan is not finite"),
        ({"x": np.array([1, None]), "y": np.ones(2)}, "not an NPZ file of numbers (Object arrays"),
        ({"x": np.array(1.0), "y": np.ones(2)}, "array 'x' is one number, not a column"),
    ],
)
def test_arrays_that_are_no_columns_are_refused(arrays, message):
    with pytest.raises(Refused) as caught:
        read(Wanted(npz(**arrays), "y"))
    assert message in str(caught.value)


def test_files_that_are_no_tables_are_refused(capsys):
    write("no archive", "table.npz")
    Path("latin.csv").write_bytes("größe,y\n1,2\n".encode("latin-1"))
    write("{}", "table.json")
    for name, message in (
        ("table.npz", "not an NPZ file of numbers"),
        ("latin.csv", "not UTF-8 text"),
        ("table.json", "a .csv, .tsv or .npz file is needed"),
        ("none.csv", "No such file or directory: 'none.csv'"),
    ):
        assert run("--data", name, "--target", "y") == 2
        said = capsys.readouterr().err
        assert said.startswith("train.py: error: ")
        assert message in said


# ---------------------------------------------------------------------------------------- targets, split and scaling


@pytest.mark.parametrize(
    ("column", "loss", "message"),
    [
        ("0.5 1.5 2.5 0.5", "cross_entropy", "holds 0.5, which is no class; --loss cross_entropy learns classes"),
        ("0.5 0.25 0 1", "bce", "holds 0.5, which is no class"),
        ("1 1 1 1", "cross_entropy", "holds one class only, 1: there is nothing to learn"),
        ("a a a a", "bce_with_logits", "holds one class only, a"),
        ("7 8 9 10", "cross_entropy", "holds a class of its own in each row"),
        ("a b a b", "mse", "holds text ('a'), where --loss mse needs numbers"),
        ("1 2 -3 4", "poisson_nll", "holds -3; --loss poisson_nll takes 0 to inf"),
        ("0 0 0 1", "cross_entropy", "all rows of the training part are of class 0; try another --seed"),
        ("1e39 0 1 2", "mse", "holds numbers that float32 does not"),
        ("0 1 0 1", "triplet_margin", "--loss triplet_margin needs more than a model's outputs and class targets"),
    ],
)
def test_a_target_that_the_loss_does_not_take_is_refused(column, loss, message, capsys):
    write("x,y\n" + "".join(f"{i},{v}\n" for i, v in enumerate(column.split())))
    codes = [run("--data", "table.csv", "--target", "y", "--loss", loss, "--seed", str(seed)) for seed in range(1)]
    if "training part" in message:  # until the seed holds out the one row
        codes += [run("--data", "table.csv", "--target", "y", "--loss", loss, "--seed", str(s)) for s in range(1, 12)]
    assert 2 in codes
    assert message in capsys.readouterr().err
    assert not Path("runs").exists() or "training part" in message


@pytest.mark.parametrize("scale", ["standard", "minmax", "none"])
def test_scaling_is_fitted_on_the_training_part_alone(scale):
    rng = np.random.default_rng(0)
    x, y = rng.normal(5, 3, (50, 2)), rng.normal(size=50)
    x[:, 1] = 0.1  # constant: it becomes 0, not a division by 0 or by the last bit of a mean
    data = table(Wanted(npz(x=x, y=y), "y", scale=scale, seed=3), MSE, "mse")
    (train_x, train_y), (held_x, held_y) = data.train, data.validation
    rows = {float(np.float32(v)): i for i, v in enumerate(y)}
    its = np.array([rows[float(v)] for v in train_y[:, 0]])
    held = np.array([rows[float(v)] for v in held_y[:, 0]])
    assert sorted([*its, *held]) == list(range(50))
    assert len(held) == 10
    part = x[its, 0]
    shift, width = {"standard": (part.mean(), part.std()), "minmax": (part.min(), np.ptp(part)), "none": (0, 1)}[scale]
    np.testing.assert_allclose(train_x[:, 0], (part - shift) / width, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(held_x[:, 0], (x[held, 0] - shift) / width, rtol=1e-5, atol=1e-6)
    assert set(train_x[:, 1]) == {np.float32(0.1) if scale == "none" else 0}
    assert train_x.dtype == train_y.dtype == np.float32


def test_the_split_is_drawn_by_the_seed():
    path = npz(x=np.arange(20.0), y=np.arange(20.0))
    held = [table(Wanted(path, "y", seed=s, validation=v), MSE, "mse").validation[1][:, 0] for s, v in
            [(0, 0.25), (0, 0.25), (1, 0.25), (0, 0.001), (0, 0.999)]]
    assert held[0].tolist() == held[1].tolist() != held[2].tolist()
    assert [len(h) for h in held] == [5, 5, 5, 1, 19]


# ----------------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("loss", ["mse", "l1", "huber"])
def test_values_are_learned(loss, capsys):
    write(PRICES)
    options = ["--data", "table.csv", "--target", "price", "--loss", loss, "--scale-target", "standard"]
    assert run(*options, "--model", "linear", "--lr", "0.05", "--epochs", "80", "--save", "kept/model.safetensors") == 0
    out = capsys.readouterr().out
    assert "table.csv: 32 rows to train on and 8 to validate, 2 inputs (area, rooms), target price (values)" in out
    assert "batch 32" in out  # all there is
    assert history()["validation mean absolute error"][-1] < 0.2
    kept = dg.load("kept/model.safetensors")
    assert (kept["columns"], kept["target"], kept["classes"]) == (["area", "rooms"], "price", [])
    x = (np.array([[30.0, 2.0]]) - kept["shift"].numpy()) / kept["width"].numpy()
    weight, bias = (kept["model"][name].numpy() for name in ("1.weight", "1.bias"))
    price = (x @ weight.T + bias) * kept["target_width"].numpy() + kept["target_shift"].numpy()
    assert price.item() == pytest.approx(110.5, abs=5)


@pytest.mark.parametrize("loss", ["bce", "bce_with_logits", "soft_margin", "cross_entropy", "nll", "kl_div"])
@pytest.mark.parametrize("text", [KINDS, KINDS.replace(",c", ",a")], ids=["three classes", "two classes"])
def test_classes_are_learned(loss, text, capsys):
    write(text)
    assert run("--data", "table.csv", "--target", "kind", "--loss", loss, "--model", "mlp", "--epochs", "20") == 0
    assert history("table-mlp-adam")["validation accuracy"][-1] > 0.9
    assert f"target kind (classes {'a, b, c' if text == KINDS else 'a, b'})" in capsys.readouterr().out


def test_one_output_tells_two_classes_and_the_loss_is_that_of_pytorch():
    """Hand-derived: with weights at 0 every probability is 1/2."""
    write("x,y\n" + "".join(f"{i},{i % 2 + 3}\n" for i in range(20)))
    data = table(Wanted(Path("table.csv"), "y"), BCE, "bce")
    assert (data.classes, data.single, data.outputs) == (2, True, 1)
    task = train.Task(2, True, "one_hot", "probabilities")
    labels = dg.tensor([0, 1, 1])
    p = dg.tensor([[0.2], [0.9], [0.4]])
    expected = -(math.log(0.8) + math.log(0.9) + math.log(0.4)) / 3
    assert task.loss(BCE(), p, labels).item() == pytest.approx(expected, rel=1e-6)
    assert task.score(p, labels) == 2
    signs = train.Task(2, True, "signs")
    assert signs.loss(nn.SoftMarginLoss(), dg.tensor([[0.0]]), dg.tensor([1])).item() == pytest.approx(math.log(2))
    assert signs.score(dg.tensor([[-1.0], [2.0]]), dg.tensor([0, 1])) == 2


def test_a_resumed_run_of_a_table_ends_with_the_same_bits_and_of_another_table_is_refused(capsys):
    write(KINDS)
    common = ["--data", "table.csv", "--target", "kind", "--batch-size", "16"]
    assert run(*common, "--epochs", "4", "--checkpoint-dir", "whole") == 0
    assert run(*common, "--epochs", "2", "--checkpoint-dir", "halves") == 0
    assert run(*common, "--epochs", "4", "--checkpoint-dir", "halves", "--resume") == 0
    assert Path("whole", train.FILE).read_bytes() == Path("halves", train.FILE).read_bytes()
    capsys.readouterr()
    assert run(*common, "--epochs", "5", "--checkpoint-dir", "halves", "--resume", "--validation", "0.3") == 2
    assert "was made with validation 0.2, not 0.3" in capsys.readouterr().err
    write(KINDS + "1,2,a\n")
    assert run(*common, "--epochs", "5", "--checkpoint-dir", "halves", "--resume") == 2
    assert "was made with contents " in capsys.readouterr().err


# -------------------------------------------------------------------------------------------------- a stranger's loss


class Theirs(nn.Module):
    """States nothing: any outputs, any numbers of their shape."""

    def forward(self, input, target):
        assert input.shape == target.shape
        return (input - target).abs().mean()


class Focal(nn.Module):
    targets, inputs, target_range = "one_hot", "probabilities", (0.0, 1.0)

    def __init__(self, reduction="none"):
        super().__init__()
        self.reduction = reduction

    sample_mean = {"reduction": "mean"}

    def forward(self, input, target):
        assert ((input >= 0) & (input <= 1)).all().item()
        right = input * target + (1 - input) * (1 - target)
        found = -((1 - right) ** 2) * (right + 1e-6).log()
        return found.mean() if self.reduction == "mean" else found


class Ordinal(nn.Module):
    targets = "classes"

    def forward(self, input, target):
        return nn.functional.cross_entropy(input, target) * 2


@pytest.mark.parametrize(
    ("loss", "metric"), [(Theirs, "mean absolute error"), (Focal, "accuracy"), (Ordinal, "accuracy")]
)
def test_a_strangers_loss_trains_by_what_it_says_of_itself(loss, metric, monkeypatch):
    plain = registry.get
    monkeypatch.setattr(train.registry, "get", lambda kind, name: loss if name == "theirs" else plain(kind, name))
    write(PRICES if loss is Theirs else KINDS)
    target = ["--scale-target", "minmax"] if loss is Theirs else []
    options = ["--data", "table.csv", "--target", "-1", "--loss", "theirs", "--epochs", "30", "--metrics", "m.jsonl"]
    assert run(*options, *target) == 0
    first, *_, last = [json.loads(line) for line in Path("m.jsonl").read_text(encoding="utf-8").splitlines()]
    assert last["metric_name"] == metric
    assert last["validation_metric"] > 0.9 if metric == "accuracy" else last["validation_metric"] < 0.2
    assert last["loss"] < first["loss"]
