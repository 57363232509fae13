"""distgrad.cuda, the current device, and which GPU is a rank's."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
import train
from distgrad import backend, cuda, random, registry
from distgrad.distributed.launching import device_assignment
from distgrad.testing.fake_device.accelerator import StrictAccelerator
from tests.helpers.ranks import run_ranks
from train_data import DATASETS, Data

Threads: Any = registry.get("communicator", "threads")


def test_the_questions(device: str) -> None:
    assert cuda.is_available()
    assert cuda.device_count() >= 1
    assert cuda.current_device() == 0
    assert isinstance(cuda.get_device_name(), str)
    assert cuda.get_device_name(device)
    cuda.synchronize()
    cuda.synchronize(0)
    cuda.manual_seed_all(3)
    assert dg.initial_seed() == 3


@pytest.mark.parametrize("devices", [0, None], ids=["CuPy without a GPU", "no CuPy"])
def test_without_a_gpu_the_answer_is_no_and_errors_say_what_is_there(
    devices: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_accelerator", None if devices is None else StrictAccelerator(devices))
    monkeypatch.setattr(backend, "_tried", True)
    monkeypatch.setattr(backend, "_count", None)
    assert not cuda.is_available()
    assert cuda.device_count() == 0
    why = "CuPy is not installed" if devices is None else "CuPy sees no GPU"
    for call in (
        cuda.current_device, cuda.get_device_name, cuda.synchronize, lambda: cuda.set_device(0),
        lambda: cuda.device(0).__enter__(), lambda: dg.ones(1).cuda(), lambda: dg.ones(1).to("cuda:0"),
        lambda: dg.zeros(2, device="cuda"), lambda: dg.nn.Linear(1, 1).cuda(),
    ):  # fmt: skip
        said = f"device 'cuda(:0)?' was asked for but {why}.*; the devices here are: cpu"
        with pytest.raises(RuntimeError, match=said):
            call()
    assert dg.ones(1).cpu().tolist() == [1.0]
    backend.synchronize()


def test_set_device_and_device(apart: tuple[str, str]) -> None:
    with cuda.device(1):
        assert cuda.current_device() == 1
        assert str(dg.zeros(1, device="cuda").device) == str(dg.ones(1).cuda().device) == apart[1]
        with cuda.device("cuda:0"):
            assert str(dg.zeros(1).to("cuda").device) == apart[0]
        assert cuda.current_device() == 1
    assert cuda.current_device() == 0
    cuda.set_device(apart[1])
    try:
        assert cuda.current_device() == 1
        cuda.set_device(-1)  # PyTorch's no-op
        assert cuda.current_device() == 1
        seen: list[int] = []
        other = threading.Thread(target=lambda: seen.append(cuda.current_device()))
        other.start()
        other.join()
        assert seen == [0]
    finally:
        cuda.set_device(0)
    with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
        cuda.set_device("cpu")
    with pytest.raises(RuntimeError, match=r"the devices here are: cpu, cuda:0, cuda:1"):
        cuda.set_device(backend.device_count())


@pytest.mark.parametrize("current", [0, 1])
def test_work_follows_its_tensors_whichever_device_is_current(current: int, apart: tuple[str, str]) -> None:
    place = apart[1 - current]
    with cuda.device(current):
        x = dg.arange(6.0, device=place).reshape(2, 3).requires_grad_()
        with cuda.device(1 - current):
            h = x.exp()
        y = (h @ dg.ones(3, 2, device=place) + h[:, :2]).to(f"cuda:{current}")
        (y.sum() * 2 + y.cpu().sum().to(f"cuda:{current}")).backward()
        assert str(x.grad.device) == place
        z = dg.zeros(3, device=place)
        z += 2.0
        z[1:] = 5.0
        z.clamp_(max=4.0).mul_(z)
        assert z.tolist() == [4.0, 16.0, 16.0]
        assert 16.0 in z
        assert z.clone().equal(z)
        assert dg.allclose(z, z + 1e-9)
        assert sorted(z.nonzero().flatten().tolist()) == [0, 1, 2]
        assert {str(t.device) for t in (z.max(0).indices, z.argmin(), z.any(), z * 2, -z)} == {place}
        assert cuda.current_device() == current
    np.testing.assert_allclose(x.grad.tolist(), 3 * np.exp(np.arange(6.0)).reshape(2, 3) * [[3, 3, 2]], rtol=1e-5)


def test_a_process_that_works_on_the_host_alone_asks_no_accelerator(device_double: StrictAccelerator) -> None:
    asked = []
    device_double.device_count = lambda: asked.append(1) or 2  # type: ignore[method-assign, func-returns-value]
    x = dg.ones(3, requires_grad=True)
    (x * x).sum().backward()
    assert asked == []
    assert not backend.several_devices()


# ---------------------------------------------------------------------------------------------- the GPU of a rank


def place_of_cuda() -> str:
    dist.init_process_group("threads")
    try:
        return str(dg.zeros(1, device="cuda").device)
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(("ranks", "devices"), [(2, 2), (3, 3), (2, 5), (1, 2)])
def test_a_rank_takes_the_gpu_of_its_local_rank(ranks: int, devices: int) -> None:
    with backend.accelerator_as(StrictAccelerator(devices)):
        assert Threads.run(ranks, place_of_cuda) == [f"cuda:{i}" for i in range(ranks)]


@pytest.mark.parametrize("kind", [int, "cuda:{}".format, lambda i: dg.device("cuda", i)], ids=["int", "str", "device"])
def test_a_rank_may_choose_its_gpu(kind: Any) -> None:
    def main() -> str:
        wanted = kind(2 - registry.get("communicator", "threads")().rank)
        dist.init_process_group("threads", device_id=wanted)
        return str(dg.zeros(1, device="cuda").device)

    with backend.accelerator_as(StrictAccelerator(3)):
        assert Threads.run(2, main) == ["cuda:2", "cuda:1"]


@pytest.mark.parametrize(
    ("wanted", "error", "said"),
    [("cpu", ValueError, "device_id must be a GPU, such as 'cuda:0', got 'cpu'"), (2, RuntimeError, "cuda:2")],
)
def test_a_gpu_that_is_none_is_refused(wanted: Any, error: type[Exception], said: str) -> None:
    with backend.accelerator_as(StrictAccelerator(2)), pytest.raises(error, match=said):
        Threads.run(1, lambda: dist.init_process_group("threads", device_id=wanted))


def test_more_ranks_than_gpus_are_refused_with_both_counts_and_the_way_out() -> None:
    said = r"3 ranks on this node and 2 GPUs, cuda:0 to cuda:1.* rank \d .* at most 2 ranks .*set_device\("
    with backend.accelerator_as(StrictAccelerator(2)), pytest.raises(RuntimeError, match=said):
        Threads.run(3, place_of_cuda)


def test_ranks_that_use_no_gpu_are_not_refused_for_a_lack_of_gpus() -> None:
    def main() -> float:
        dist.init_process_group("threads")
        t = dg.ones(1)
        dist.all_reduce(t)
        return t.item()

    with backend.accelerator_as(StrictAccelerator(1)):
        assert Threads.run(3, main) == [3.0] * 3


def test_ranks_may_share_a_gpu_on_purpose() -> None:
    def main() -> tuple[str, str]:
        dist.init_process_group("threads")
        cuda.set_device(dist.get_local_rank() % cuda.device_count())
        with cuda.device(0):
            inside = str(dg.zeros(1, device="cuda").device)
        return inside, str(dg.zeros(1, device="cuda").device)

    with backend.accelerator_as(StrictAccelerator(2)):
        assert Threads.run(4, main) == [("cuda:0", f"cuda:{i % 2}") for i in range(4)]


def test_a_block_of_another_device_does_not_unmake_the_claim() -> None:
    def main() -> list[int]:
        dist.init_process_group("threads")
        with cuda.device(0):
            inside = cuda.current_device()
        return [inside, cuda.current_device()]

    with backend.accelerator_as(StrictAccelerator(2)):
        assert Threads.run(2, main) == [[0, 0], [0, 1]]


class FakeRanks:
    """A communicator that knows only what its ranks would answer."""

    per_thread = False

    def __init__(self, rank: int, answers: list[list[Any]]) -> None:
        self.rank, self.size, self.answers = rank, len(answers), answers

    def allgather(self, value: Any) -> list[Any]:
        return [[*answer, *value[len(answer) :]] for answer in self.answers]


@pytest.mark.parametrize(
    ("answers", "claims"),
    [
        ([["a", "0,1"], ["a", "0,1"], ["b", "0,1"], ["b", "0,1"]], [(0, 2), (1, 2), (0, 2), (1, 2)]),
        ([["a", "0"], ["a", "1"]], [(0, 1), (0, 1)]),  # a launcher gave each rank its own, which is cuda:0 to both
        ([["a", None], ["b", None], ["a", None]], [(0, 2), (0, 1), (1, 2)]),
    ],
)
def test_ranks_are_counted_among_those_that_see_the_same_gpus(
    answers: list[list[Any]], claims: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_claim", None)
    for rank, claim in enumerate(claims):
        device_assignment.take_device(FakeRanks(rank, answers))  # type: ignore[arg-type]
        assert backend._claim == claim
    device_assignment.leave_device(FakeRanks(0, answers))  # type: ignore[arg-type]
    assert backend._claim is None


def test_a_workers_thread_takes_the_gpu_of_its_process(
    device_double: StrictAccelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_claim", (1, 2))
    seen: list[str] = []
    worker = threading.Thread(target=lambda: seen.append(str(dg.zeros(1, device="cuda").device)))
    worker.start()
    worker.join()
    assert seen == ["cuda:1"]
    assert device_double.current() == 0


RANKS = """
import sys
import distgrad as dg
import distgrad.distributed as dist
from distgrad import backend
from distgrad.testing.fake_device.accelerator import StrictAccelerator

dist.init_process_group("mpi")
with backend.accelerator_as(StrictAccelerator(int(sys.argv[1]))) as accelerator:
    t = dg.full((3,), dist.get_rank() + 1.0, device="cuda")
    for _ in range(2):
        dist.all_reduce(t)
    t /= 2
    print(f"rank {dist.get_rank()} on {t.device}: {t.tolist()}", flush=True)
dist.destroy_process_group()
"""


@pytest.mark.mpi
@pytest.mark.parametrize("devices", [2, 1])
def test_ranks_under_mpirun_take_a_gpu_each_and_their_arrays_travel_through_the_host(devices: int) -> None:
    root = str(Path(__file__).parents[2])
    done = run_ranks(2, RANKS, str(devices), env={"PYTHONPATH": root})
    if devices == 2:
        done.check(**{f"rank {rank} on cuda:{rank}: [3.0, 3.0, 3.0]": 1 for rank in (0, 1)})
        said = "takes no device pointers: arrays on cuda:0 travel through host memory"
        assert done.stderr.count(said) == 1, done  # F18: once, not on every rank or for every array
    else:  # a rank that cannot go on ends the job, and says why
        assert done.returncode != 0
        assert "]: RuntimeError: 2 ranks on this node and 1 GPU, cuda:0 to cuda:0: there is none for" in done.stderr


# ------------------------------------------------------------------------------------------------ launch/train.py


def blobs() -> Data:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 70)
    x = (rng.normal(size=(70, 3, 1)) * 0.3 + 2 * np.eye(3)[y][:, :, None]).astype(np.float32)
    return Data((x[:50], y[:50]), (x[50:], y[50:]), classes=3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # matplotlib's
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_the_training_program_trains_on_a_device(
    loss: str, device: str, tmp_path: Any, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(DATASETS, "blobs", blobs)
    histories = []
    with random.fork_rng():
        for place in ("cpu", "cuda"):
            options = ["--dataset", "blobs", "--epochs", "2", "--batch-size", "16", "--loss", loss, "--device", place]
            assert train.main([*options, "--no-progress", "--checkpoint-dir", place]) == 0
            assert f"batch 16, {place}" in capsys.readouterr().out
            assert train.main([*options, "--no-progress", "--checkpoint-dir", place, "--resume", "--epochs", "3"]) == 0
            saved = dg.load(f"{place}/{train.FILE}")
            assert {str(t.device) for t in saved["model"].values()} == {"cpu" if place == "cpu" else device}
            histories.append(saved["history"])
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-4, atol=1e-5, err_msg=name)
