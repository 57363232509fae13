"""The training program, in one process and on ranks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import distgrad as dg
import train
import train_loop
from distgrad import distributed as dist, nn, random, registry
from tests.helpers.ranks import COMPILED, run_ranks
from train_data import DATASETS, Data
from train_models import MODELS

SCRIPT = Path(train.__file__)
PNG = b"\x89PNG\r\n\x1a\n"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:(sklearn|matplotlib|dateutil|pyparsing).*")


def blobs() -> Data:
    """Three clouds of points at the corners of a triangle, for tests that are not about digits."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 70)
    x = (rng.normal(size=(70, 3, 1)) * 0.3 + 2 * np.eye(3)[y][:, :, None]).astype(np.float32)
    return Data((x[:50], y[:50]), (x[50:], y[50:]), classes=3)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Runs lie in a folder of the test's own, and leave the default generator alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(DATASETS, "blobs", blobs)
    with random.fork_rng():
        yield


def run(*arguments: str) -> int:
    return train.main(["--no-progress", *arguments])


def small(*arguments: str) -> int:
    return run("--dataset", "blobs", "--model", "linear", "--batch-size", "16", *arguments)


@pytest.fixture
def _undrawn(monkeypatch):
    """Curves, which others look at, take as long as a training so short."""
    monkeypatch.setattr(train, "draw", lambda history, path, title: None)


def accuracies(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"validation loss .* accuracy ([\d.]+)%", text)]


def test_it_learns_and_says_where_its_files_lie(capsys):
    assert run("--epochs", "6", "--lr", "0.002") == 0
    out = capsys.readouterr().out
    assert "mlp (" in out
    assert "1 rank (serial), batch 64, cpu" in out
    assert len(accuracies(out)) == 6
    assert accuracies(out)[-1] > 90
    folder = Path("runs", "digits-mlp-adam")
    assert f"checkpoint: {folder / train.FILE}" in out
    assert f"learning curve: {folder / train.CURVES}" in out
    assert (folder / train.CURVES).read_bytes().startswith(PNG)
    saved = dg.load(folder / train.FILE)
    assert (saved["epoch"], saved["options"]["lr"]) == (6, 0.002)
    assert [len(values) for values in saved["history"].values()] == [6] * 4
    assert saved["model"]["1.weight"].shape == (512, 64)


LOSSES = [n for n in sorted(registry.names("loss")) if registry.get("loss", n).targets != "others"]
REFUSED = ("muon", "sparse_adam")  # matrices alone; sparse gradients alone
OPTIMIZERS = [n for n in sorted(registry.names("optimizer")) if n not in REFUSED]


@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_model_trains_with_every_loss(model, loss, capsys):
    arguments = ["--dataset", "blobs", "--model", model, "--batch-size", "16", "--loss", loss, "--lr", "0.01"]
    assert run(*arguments, "--epochs", "15") == 0
    assert accuracies(capsys.readouterr().out)[-1] >= 75


@pytest.mark.slow  # all of them together
@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_trains(optimizer, capsys):
    lr = {"adadelta": "5", "lars": "10"}.get(optimizer, "0.05")  # their steps have a size of their own
    assert small("--optimizer", optimizer, "--epochs", "15", "--lr", lr) == 0
    assert accuracies(capsys.readouterr().out)[-1] >= 75


@pytest.mark.slow  # all of them together
@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_run_ends_with_the_same_bits(optimizer):
    common = ["--dataset", "blobs", "--batch-size", "16", "--optimizer", optimizer, "--lr", "0.01"]  # mlp has dropout
    assert run(*common, "--epochs", "4", "--checkpoint-dir", "whole") == 0
    assert run(*common, "--epochs", "2", "--checkpoint-dir", "halves") == 0
    assert Path("whole", train.FILE).read_bytes() != Path("halves", train.FILE).read_bytes()
    random.manual_seed(999)
    assert run(*common, "--epochs", "4", "--checkpoint-dir", "halves", "--resume") == 0
    assert Path("whole", train.FILE).read_bytes() == Path("halves", train.FILE).read_bytes()


def test_a_finished_run_resumes_into_nothing(capsys):
    assert small("--epochs", "2") == 0
    before = Path("runs", "blobs-linear-adam", train.FILE).read_bytes()
    assert small("--epochs", "1", "--resume") == 0
    assert "trained to epoch 2" in capsys.readouterr().out
    assert Path("runs", "blobs-linear-adam", train.FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "digit"], "unknown data set 'digit'; known: blobs, digits"),
        (["--model", "cnn"], "unknown model 'cnn'; known: linear, mlp"),
        (["--optimizer", "rmsprp"], "unknown optimizer 'rmsprp'; did you mean 'rmsprop'?"),
        (["--loss", "cross_entrpy"], "unknown loss 'cross_entrpy'; did you mean 'cross_entropy'?"),
        (["--loss", "triplet_margin"], "--loss triplet_margin needs more than a model's outputs and class targets"),
        (["--optimizer", "muon"], "Muon only supports 2D parameters"),
        (["--optimizer", "sparse_adam"], "--optimizer sparse_adam takes sparse gradients alone"),
        (["--epochs", "0"], "--epochs: '0' is not an integer of at least 1"),
        (["--epochs", "2.5"], "--epochs: '2.5' is not an integer of at least 1"),
        (["--batch-size", "-3"], "--batch-size: '-3' is not an integer of at least 1"),
        (["--batch-size", "5000"], "--batch-size 5000 is more than the 1437 samples to train on"),
        (["--lr", "0"], "--lr: '0' is not a number above 0"),
        (["--lr", "nan"], "--lr: 'nan' is not a number above 0"),
        (["--lr", "fast"], "--lr: 'fast' is not a number above 0"),
        (["--seed", str(10**26)], "is not an integer of at least 0 and below 18446744073709551616"),
        (["--epochs", "9" * 5000], "is not an integer of at least 1"),
        (["--lr", "1e999"], "--lr: '1e999' is not a number above 0"),
        (["--seed", "-1"], "--seed: '-1' is not an integer of at least 0"),
        (["--device", "tpu"], "--device: invalid choice: 'tpu'"),
        (["--resume"], "--resume: there is no runs/digits-mlp-adam/checkpoint.safetensors"),
        (["--epoch", "3"], "unrecognized arguments: --epoch 3"),
    ],
)
def test_what_cannot_be_is_refused_with_what_could(arguments, message, capsys):
    assert run(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("train.py: error: ")
    assert message in said.err
    assert not dist.is_initialized()
    assert not Path("runs").exists()


@pytest.mark.skipif(dg.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(capsys):
    assert run("--device", "cuda") == 2
    said = capsys.readouterr().err
    assert "--device cuda: device 'cuda' was asked for but CuPy" in said
    assert "the devices here are: cpu; --device cpu works everywhere" in said


def test_a_run_is_not_resumed_with_other_options(capsys):
    assert small("--epochs", "1") == 0
    assert small("--epochs", "2", "--resume", "--seed", "3") == 2
    assert "checkpoint.safetensors was made with seed 0, not 3" in capsys.readouterr().err


def damaged(content: bytearray) -> bytes:
    content[-1] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(damaged(bytearray(path.read_bytes()))), "damaged: its SHA-256"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cannot load"),
        (lambda path: path.write_bytes(b""), "cannot load"),
        (lambda path: path.write_bytes(b"PK\x03\x04 a pickle of PyTorch's"), "cannot load"),
        (lambda path: dg.save({"weight": dg.ones(3)}, path), "is no checkpoint of this program: it has no options"),
        (lambda path: dg.save([1, 2], path), "is no checkpoint of this program: it has no options"),
        (lambda path: dg.save(dg.load(path) | {"epoch": "three"}, path), "epoch is a str"),
        (lambda path: dg.save(dg.load(path) | {"model": {}}, path), "Missing key(s) in state_dict"),
        (lambda path: dg.save(dg.load(path) | {"optimizer": {}}, path), "error: --resume: "),
        (lambda path: dg.save(dg.load(path) | {"history": {}}, path), "train loss"),
        (lambda path: dg.save(dg.load(path) | {"rng": [3]}, path), "error: --resume: "),
    ],
    ids=["bit", "cut off", "empty", "pickle", "tensor", "list", "epoch", "model", "optimizer", "history", "rng"],
)
def test_a_damaged_or_foreign_checkpoint_is_not_resumed(spoil, message, capsys):
    assert small("--epochs", "1") == 0
    path = Path("runs", "blobs-linear-adam", train.FILE)
    spoil(path)
    before = path.read_bytes()
    capsys.readouterr()
    assert small("--epochs", "2", "--resume") == 2
    said = capsys.readouterr()
    assert said.err.startswith("train.py: error: --resume: ")
    assert message in said.err
    assert "Traceback" not in said.err
    assert path.read_bytes() == before


def test_a_second_run_keeps_the_first_ones_files(capsys):
    folder = Path("runs", "blobs-linear-adam")
    saved = []
    for seed in ("1", "2", "3"):
        assert small("--epochs", "2", "--seed", seed) == 0
        saved.append((folder / train.FILE).read_bytes())
        drawn = (folder / train.CURVES).read_bytes()
    assert len(set(saved)) == 3
    assert (folder / "checkpoint-1.safetensors").read_bytes() == saved[0]
    assert (folder / "checkpoint-2.safetensors").read_bytes() == saved[1]
    assert (folder / "learning-curve-2.png").exists()
    assert f"is kept as {folder / 'checkpoint-2.safetensors'} (--resume would" in capsys.readouterr().out
    assert small("--epochs", "4", "--seed", "3", "--resume") == 0
    assert "is kept" not in capsys.readouterr().out
    assert len(list(folder.iterdir())) == 6
    assert (folder / train.CURVES).read_bytes() != drawn


def test_files_that_cannot_be_written_are_an_error(capsys, monkeypatch):
    Path("file").write_text("mine", encoding="utf-8")
    assert small("--checkpoint-dir", "file") == 2
    assert "train.py: error: --checkpoint-dir file: " in capsys.readouterr().err
    assert small("--checkpoint-dir", "file/below") == 2
    assert Path("file").read_text(encoding="utf-8") == "mine"

    def full(state, path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(train_loop.dg, "save", full)
    capsys.readouterr()
    assert small("--epochs", "1") == 2
    assert "No space left on device" in capsys.readouterr().err


def test_without_matplotlib_only_the_curve_is_missing(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert small("--epochs", "1") == 0
    assert "learning curve: not drawn (" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_run_that_is_asked_to_end_saves_and_goes_on_with_the_same_bits(number, capsys, monkeypatch):
    common = ["--dataset", "blobs", "--batch-size", "8", "--lr", "0.01", "--epochs", "3"]  # mlp has dropout
    assert run(*common, "--checkpoint-dir", "whole") == 0
    add, batches = train_loop.Sums.add, []

    def ask(self, *given):
        add(self, *given)
        batches.append(self)
        if len(batches) == 11:  # the third of the second epoch; an epoch trains 7 and validates 1
            os.kill(os.getpid(), number)

    monkeypatch.setattr(train_loop.Sums, "add", ask)
    before = signal.getsignal(number)
    capsys.readouterr()
    assert run(*common, "--checkpoint-dir", "halves") == {2: 130, 15: 143, 10: 75}[number]
    path = Path("halves", train.FILE)
    assert f"asked to end in epoch 2, after 3 of 7 batches; checkpoint: {path}. The same" in capsys.readouterr().out
    assert signal.getsignal(number) == before
    monkeypatch.setattr(train_loop.Sums, "add", add)
    random.manual_seed(999)
    assert run(*common, "--checkpoint-dir", "halves", "--resume") == 0
    assert path.read_bytes() == Path("whole", train.FILE).read_bytes()


def test_a_step_too_long_for_any_number_is_an_error(capsys):
    assert small("--optimizer", "lbfgs", "--lr", "1e30", "--epochs", "9") == 2
    said = capsys.readouterr().err
    assert "train.py: error: " in said
    assert "try a smaller --lr" in said


class OfClasses(nn.Module):
    targets = "classes"

    def forward(self, input, target):
        assert target.dtype == dg.int64
        return nn.functional.cross_entropy(input, target)


class Unstated(OfClasses):
    targets = "one_hot"


class Inherited(nn.CrossEntropyLoss):
    pass


class Whole(nn.Module):
    def forward(self, input, target):
        return (input - target) ** 2


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (OfClasses, ""),
        (Inherited, ""),
        (Unstated, "the loss Unstated was called with outputs (2, 3) and one-hot vectors: it raised AssertionError"),
        (Whole, "it gave shape (2, 3), where a mean over samples, one number, is needed"),
    ],
)
def test_a_strangers_loss_says_what_it_takes(loss, message, capsys, monkeypatch):
    plain = registry.get
    monkeypatch.setattr(train.registry, "get", lambda kind, name: loss if name == "theirs" else plain(kind, name))
    assert small("--loss", "theirs", "--epochs", "1") == (2 if message else 0)
    said = capsys.readouterr().err
    assert message in said
    assert not message or "targets = 'classes'" in said


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_checkpoint(capsys):
    assert small("--epochs", "1", "--optimizer", "sgd", "--lr", "0.01") == 0
    path = Path("runs", "blobs-linear-sgd", train.FILE)
    before = path.read_bytes()
    assert small("--epochs", "9", "--optimizer", "sgd", "--lr", "1e38", "--loss", "mse") == 2
    assert re.search(r"the training loss became (nan|inf) in epoch \d; try a smaller --lr", capsys.readouterr().err)
    assert path.read_bytes() == before


def test_help_lists_what_is_there(capsys):
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert "one of: blobs, digits" in out
    assert "one of: linear, mlp" in out


# ---------------------------------------------------------------------------------------------------------- on ranks


@pytest.mark.mpi
def test_two_ranks_learn_the_digits_and_resume_with_the_same_bits(tmp_path):
    def on_two(*arguments):
        done = run_ranks(2, SCRIPT, "--no-progress", "--lr", "0.001", *arguments, env=COMPILED)
        assert done.returncode == 0, done.stderr
        return done.stdout

    out = on_two("--epochs", "4", "--checkpoint-dir", str(tmp_path / "whole"))
    assert "2 ranks (shared)" in out
    assert len(accuracies(out)) == 4  # rank 0 alone speaks
    assert accuracies(out)[-1] > 90
    on_two("--epochs", "2", "--checkpoint-dir", str(tmp_path / "halves"))
    out = on_two("--epochs", "4", "--checkpoint-dir", str(tmp_path / "halves"), "--resume")
    assert len(accuracies(out)) == 2
    whole, halves = (tmp_path / name / train.FILE for name in ("whole", "halves"))
    assert whole.read_bytes() == halves.read_bytes()
    assert (tmp_path / "halves" / train.CURVES).read_bytes().startswith(PNG)
    saved = dg.load(whole)
    assert len(saved["rng"]) == 2
    assert saved["rng"][0].tolist() != saved["rng"][1].tolist()  # each rank drops out units of its own


@pytest.mark.mpi
def test_the_number_of_ranks_does_not_change_the_result(tmp_path):
    histories = []
    for ranks in (1, 2, 3):
        folder = tmp_path / str(ranks)
        arguments = ("--model", "linear", "--epochs", "3", "--checkpoint-dir", str(folder), "--no-progress")
        assert run_ranks(ranks, SCRIPT, *arguments).returncode == 0
        histories.append(dg.load(folder / train.FILE)["history"])
    for history in histories[1:]:
        for name, values in history.items():
            np.testing.assert_allclose(values, histories[0][name], rtol=1e-4, err_msg=name)


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--optimizer", "rmsprp"], "unknown optimizer 'rmsprp'; did you mean 'rmsprop'?"),
        (["--lr", "x"], "'x' is not a number above 0"),
        (["--batch-size", "1"], "--batch-size 1 gives some of the 2 ranks no sample; at least 2"),
        (["--resume", "--checkpoint-dir", "nowhere"], "there is no nowhere/checkpoint.safetensors"),
    ],
)
def test_ranks_refuse_together_and_rank_0_alone_speaks(arguments, message):
    done = run_ranks(2, SCRIPT, *arguments)
    assert done.returncode == 2
    assert (done.stdout + done.stderr).count("train.py: error: ") == 1
    assert message in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_it_runs_as_a_script_without_mpirun(tmp_path):
    command = [sys.executable, str(SCRIPT), "--model", "linear", "--epochs", "1", "--no-progress"]
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMI"))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 rank (serial)" in done.stdout
