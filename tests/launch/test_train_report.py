"""What ``train.py`` shows and writes: metrics, event files, picture, table, options from a file; and on ranks."""

from __future__ import annotations

import functools
import json
import os
import pty
import re
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

import distgrad as dg
import environment
import train
import train_report
from distgrad import random
from tests.helpers.ranks import HANG, job_environment, own_folder, run_ranks

SCRIPT = Path(train.__file__)
TABLE = "x,y,kind\n" + "".join(f"{k + i / 100},{-k},{'abc'[k]}\n" for i in range(20) for k in range(3))
OPTIONS = ["--data", "table.csv", "--target", "kind", "--model", "linear", "--batch-size", "16", "--lr", "0.01"]
KEYS = [
    "epoch", "loss", "metric", "validation_loss", "validation_metric", "metric_name", "seconds", "samples/s", "lr",
    "ranks",
]  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:(matplotlib|dateutil|pyparsing).*")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text(TABLE, encoding="utf-8")
    with random.fork_rng():
        yield


@pytest.fixture
def _undrawn(monkeypatch):
    monkeypatch.setattr(train, "draw", lambda history, path, title: None)


def run(*arguments: str) -> int:
    return train.main([*OPTIONS, *arguments])


def lines(path: str = "m.jsonl") -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


# ------------------------------------------------------------------------------------------------------ progress bar


@pytest.mark.usefixtures("_undrawn")
def test_the_progress_bar_counts_batches(capsys, monkeypatch):
    arguments = [*OPTIONS, "--epochs", "2"]
    monkeypatch.setattr(train_report, "tqdm", functools.partial(train_report.tqdm, mininterval=0, miniters=1))
    assert train.main([*arguments, "--progress"]) == 0
    said = capsys.readouterr().err
    assert "epoch 1/2:   0%" in said  # one bar for the whole run, of 2 x 3 batches
    assert re.search(r"epoch 2/2: +67%.* 4/6 \[\d+:\d+<\d+:\d+, +[\d.]+batch/s, loss \d\.\d{4}\]", said), said
    for quiet in ([], ["--no-progress"], ["--quiet"], ["--quiet", "--progress"]):  # the output is no terminal
        assert train.main([*arguments, *quiet]) == 0
        caught = capsys.readouterr()
        assert caught.err == ""
        assert ("epoch 1/2" in caught.out) == ("--quiet" not in quiet)
    monkeypatch.setattr(train, "at_a_terminal", lambda: True)
    assert train.main(arguments) == 0
    assert "epoch 1/2:   0%" in capsys.readouterr().err
    assert train.main([*arguments, "--no-progress"]) == 0
    assert capsys.readouterr().err == ""


# ----------------------------------------------------------------------------------------------------------- metrics


@pytest.mark.usefixtures("_undrawn")
def test_metrics_are_a_line_for_every_epoch_and_go_on_where_the_checkpoint_does():
    assert run("--epochs", "3", "--metrics", "m.jsonl") == 0
    found = lines()
    assert [list(line) for line in found] == [KEYS] * 3
    assert [(line["epoch"], line["ranks"], line["lr"], line["metric_name"]) for line in found] == [
        (n, 1, 0.01, "accuracy") for n in (1, 2, 3)
    ]
    assert all(line["seconds"] > 0 and line["samples/s"] > 0 for line in found)
    history = dg.load(Path("runs", "table-linear-adam", train.FILE))["history"]
    assert [line["loss"] for line in found] == history["train loss"]
    assert [line["validation_metric"] for line in found] == history["validation accuracy"]
    with Path("m.jsonl").open("a", encoding="utf-8") as file:  # of a run that was killed before its checkpoint
        file.write(json.dumps(found[-1] | {"epoch": 4, "loss": -1}) + '\n{"epoch": 5, "lo')
    assert run("--epochs", "5", "--metrics", "m.jsonl", "--resume") == 0
    assert [line["epoch"] for line in lines()] == [1, 2, 3, 4, 5]
    assert lines()[:3] == found
    assert lines()[3]["loss"] != -1


@pytest.mark.usefixtures("_undrawn")
def test_metrics_of_an_earlier_run_are_kept_and_other_files_refused(capsys):
    for _ in range(2):
        assert run("--epochs", "1", "--metrics", "logs/m.jsonl") == 0
    assert len(lines("logs/m.jsonl")) == len(lines("logs/m-1.jsonl")) == 1
    Path("mine.txt").write_text("my notes\nof today\n", encoding="utf-8")
    capsys.readouterr()
    assert run("--epochs", "2", "--metrics", "mine.txt", "--resume") == 2
    assert "--metrics mine.txt: line 1 is no line of metrics: 'my notes'" in capsys.readouterr().err
    assert Path("mine.txt").read_text(encoding="utf-8") == "my notes\nof today\n"
    assert run("--epochs", "1", "--metrics", "logs") == 2
    assert "--metrics logs: is no file" in capsys.readouterr().err
    assert run("--epochs", "1", "--save", "logs") == 2
    assert "--save logs: is a folder, where a file is to be written" in capsys.readouterr().err


def test_a_loss_that_is_no_number_is_null_in_the_metrics():
    values = ["--target", "x", "--ignore", "kind", "--loss", "mse", "--optimizer", "sgd", "--lr", "1e38"]
    assert run("--epochs", "9", "--metrics", "m.jsonl", *values) == 2
    assert lines()[-1]["loss"] is None


# ------------------------------------------------------------------------------------------------------- TensorBoard


class Recorder:
    """tensorboardX's writer, as far as it is used."""

    made: list[Recorder] = []

    def __init__(self, folder, purge_step):
        self.folder, self.purge_step, self.scalars, self.closed = folder, purge_step, [], False
        Recorder.made.append(self)

    def add_scalar(self, tag, value, step):
        self.scalars.append((tag, value, step))

    def flush(self):
        pass

    def close(self):
        self.closed = True


@pytest.mark.usefixtures("_undrawn")
def test_event_files_are_written_by_the_writer_that_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=Recorder))
    Recorder.made.clear()
    assert run("--epochs", "2", "--tensorboard", "events") == 0
    assert run("--epochs", "3", "--tensorboard", "events", "--resume") == 0
    first, second = Recorder.made
    assert (first.folder, first.purge_step, second.purge_step) == ("events", 1, 3)
    tags = ["train/loss", "train/accuracy", "validation/loss", "validation/accuracy", "lr", "samples_per_second"]
    assert [(tag, step) for tag, _, step in first.scalars] == [(tag, step) for step in (1, 2) for tag in tags]
    assert {step for _, _, step in second.scalars} == {3}
    assert first.closed
    assert second.closed


def test_what_is_not_installed_is_named_before_anything_is_trained(monkeypatch, capsys):
    for name in ("tensorboardX", "tensorboard", "tensorboard.summary.writer.event_file_writer", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    assert run("--tensorboard", "events") == 2
    assert "--tensorboard events: needs a writer: pip install tensorboardX (or tensor" in capsys.readouterr().err
    assert run("--plot", "curve.png") == 2
    said = capsys.readouterr()
    assert "--plot curve.png: needs matplotlib: pip install 'distgrad[demo]'" in said.err
    assert said.out == ""
    assert [path.name for path in Path().iterdir()] == ["table.csv"]


# ------------------------------------------------------------------------------------------------- picture and table


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_curve_is_drawn_where_it_is_asked_for(suffix, capsys):
    assert run("--epochs", "2", "--plot", f"pictures/curve.{suffix}", "--quiet") == 0
    drawn = Path("pictures", f"curve.{suffix}")
    assert drawn.read_bytes().startswith(b"\x89PNG" if suffix == "png" else b"<?xml")
    out = capsys.readouterr().out
    assert f"learning curve: {drawn}" in out
    assert "epoch 1/2" not in out
    assert not Path("runs", "table-linear-adam", train.CURVES).exists()


def test_the_table_at_the_end_has_the_last_and_the_best_epoch():
    history = {
        "train loss": [2.0, 1.0, 0.5],
        "train accuracy": [0.25, 0.5, 0.75],
        "validation loss": [2.5, 1.25, 1.5],
        "validation accuracy": [0.25, 0.625, 0.5],
    }
    found = train_report.summary(history, "accuracy", lambda v: f"{v:.2%}", {"on": "2 ranks"})
    assert [line.split() for line in found.splitlines()] == [
        ["train", "validation", "best,", "epoch", "2"],
        ["loss", "0.5", "1.5", "1.25"],
        ["accuracy", "75.00%", "50.00%", "62.50%"],
        ["on", "2", "ranks"],
    ]
    errors = {name.replace("accuracy", "error"): values for name, values in history.items()}
    assert "best, epoch 1" in train_report.summary(errors, "error", str, {})  # the least error


# ------------------------------------------------------------------------------------------------ options from a file


def configured(text: str, *arguments: str) -> int:
    Path("options.toml").write_text(text, encoding="utf-8")
    return train.main(["--config", "options.toml", *arguments])


IN_TOML = """
data = "table.csv"
target = -1
model = "linear"
batch-size = 16
lr = 1e-2
quiet = true
resume = false
progress = false
ignore = ["y"]
epochs = 3
metrics = "m.jsonl"
"""


@pytest.mark.usefixtures("_undrawn")
def test_options_come_from_a_toml_file_and_the_command_line_wins(capsys):
    assert configured(IN_TOML.replace("batch-size", "batch_size"), "--epochs", "2", "--lr", "0.5") == 0
    assert [(line["epoch"], line["lr"]) for line in lines()] == [(1, 0.5), (2, 0.5)]
    out = capsys.readouterr().out
    assert "1 inputs (x)" in out
    assert "batch 16" in out
    assert configured(IN_TOML + "optimizer = 'sgd'") == 0
    assert [(line["epoch"], line["lr"]) for line in lines()] == [(n, 0.01) for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "--config options.toml: there is no option 'epoch'; the nearest is 'epochs'"),
        ("Batch_Sizes = 3", "there is no option 'Batch_Sizes'; the nearest is 'batch-size'"),
        ("config = 'x.toml'", "there is no option 'config'"),
        ("epochs = 2.5", "--config options.toml: argument --epochs: '2.5' is not an integer of at least 1"),
        ("epochs = true", "epochs needs a text or a number, got True"),
        ("resume = 'yes'", "resume needs true or false, got 'yes'"),
        ("epochs = [3]", "epochs needs one value, got [3]"),
        ("[train]\nepochs = 3", "there is no option 'train'; the nearest is"),
        ("[lr]\nepochs = 3", "lr needs a text or a number, got {'epochs': 3}"),
        ("epochs = ", "--config options.toml: Invalid value"),
        ("target = 'y'", "--target is of a table: it needs --data FILE"),
        ("data = 'table.csv'\ndataset = 'digits'", "--dataset digits and --data table.csv are both given"),
        ("plot = 'curve.txt'", "'curve.txt' does not end in one of .jpg, .pdf, .png, .svg"),
        ("optimizer = '-x'", "unknown optimizer '-x'"),
    ],
)
def test_what_a_toml_file_cannot_say_is_refused(text, message, capsys):
    assert configured(text) == 2
    assert message in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_toml_file_that_is_not_there_is_refused(capsys):
    assert train.main(["--config", "none.toml"]) == 2
    assert "--config none.toml: " in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------- on ranks


@pytest.mark.mpi
def test_two_ranks_split_a_table_alike_and_rank_0_alone_writes(tmp_path):
    """The same losses as one rank's, one table, one line an epoch; an error of rank 0's file is everyone's."""
    options = [*OPTIONS, "--epochs", "3", "--checkpoint-dir", str(tmp_path / "run")]
    done = run_ranks(2, SCRIPT, *options, "--metrics", str(tmp_path / "two.jsonl"), "--quiet")
    assert done.returncode == 0, done
    assert done.stdout.count("best, epoch ") == 1, done
    assert "epoch 1/3" not in done.stdout + done.stderr
    assert train.main([*options, "--metrics", "one.jsonl", "--checkpoint-dir", "alone"]) == 0
    two, one = lines("two.jsonl"), lines("one.jsonl")
    assert [line["ranks"] for line in two] == [2] * 3
    for name in ("loss", "metric", "validation_loss", "validation_metric"):
        assert [line[name] for line in two] == pytest.approx([line[name] for line in one], rel=1e-4), name
    done = run_ranks(2, SCRIPT, *OPTIONS, "--ignore", "y,z")
    assert done.returncode == 2, done
    assert done.stderr.count("train.py: error: --ignore of table.csv: there is no column 'z'") == 1, done


def _ranks_of(pid: int) -> list[int]:
    """The processes below ``pid`` that run the script."""
    below = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    found = [rank for child in below for rank in _ranks_of(child)]
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return [*found, pid] if words[:2] == [sys.executable.encode(), str(SCRIPT).encode()] else found


@pytest.mark.mpi
@pytest.mark.parametrize("asked", ["both ranks", "one rank"])
def test_sigint_saves_and_ends_all_ranks_with_130_at_a_terminal_too(asked, tmp_path):
    """A signal on one rank at any moment ends all; the bar is drawn where mpirun's own stderr is a terminal."""
    options = [*OPTIONS, "--epochs", "1000000", "--checkpoint-dir", str(tmp_path / "run"), "--save", "kept.safetensors"]
    command = [*environment.mpirun(sys.executable), "-n", "2", sys.executable, str(SCRIPT), *options]
    mine, its = pty.openpty()
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": its, "text": True}
    with own_folder(job_environment(2)) as env, subprocess.Popen(
        command, env=env, start_new_session=True, **streams
    ) as job:
        os.close(its)
        said = ""
        while "epoch 2/" not in said:
            line = job.stdout.readline()
            assert line, said
            said += line
        ranks = sorted(_ranks_of(job.pid))
        assert len(ranks) == 2
        for rank in ranks[asked == "one rank" :]:
            os.kill(rank, signal.SIGINT)
        try:
            said += job.communicate(timeout=HANG)[0]
        finally:
            for pid in [*ranks, job.pid] if job.poll() is None else []:
                os.kill(pid, signal.SIGKILL)
    shown = os.read(mine, 100_000).decode(errors="replace")
    os.close(mine)
    assert job.returncode == 130, said + shown
    assert said.count("The same command with --resume goes on") == 1, said + shown
    assert "Traceback" not in said + shown
    assert "epoch 1/1000000:   0%" in shown
    assert "model: kept.safetensors" in said
    assert dg.load("kept.safetensors")["classes"] == ["a", "b", "c"]
    assert dg.load(tmp_path / "run" / train.FILE)["epoch"] >= 1
