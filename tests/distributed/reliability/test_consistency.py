"""Ranks whose models differ are told so when they wrap them (docs/reliability.md, F5)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad.distributed as dist
from distgrad import from_numpy, registry
from distgrad.distributed.process_groups.default_group import get_group
from distgrad.distributed.reliability.model_agreement import check_same_model
from distgrad.nn import Linear
from distgrad.nn.parallel import DistributedDataParallel
from tests.helpers.ranks import run_ranks

Threads: Any = registry.get("communicator", "threads")
Entry = tuple[str, Any]


def entry(name: str, *shape: int, dtype: Any = np.float32, frozen: bool = False) -> Entry:
    t = from_numpy(np.zeros(shape, dtype))
    if not frozen:
        t.requires_grad_()
    return name, t


def compare(size: int, odd: int, usual: list[Entry], other: list[Entry], buffers: bool = False) -> list[str]:
    """What each of ``size`` ranks is told where rank ``odd`` has the model ``other``."""

    def main() -> str:
        dist.init_process_group("threads")
        mine = other if dist.get_rank() == odd else usual
        try:
            check_same_model(get_group().comm, [] if buffers else mine, mine if buffers else [])
        except RuntimeError as error:
            return str(error)
        return ""

    answers: list[str] = Threads.run(size, main)
    return answers


USUAL = [entry("fc1.weight", 3, 4), entry("fc1.bias", 3)]


def test_equal_models_pass() -> None:
    assert compare(3, 1, USUAL, list(USUAL)) == ["", "", ""]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([USUAL[1], USUAL[0]], "entry 0: parameter 'fc1.weight' with shape (3, 4) and dtype float32 on ranks 0, 2; "
         "parameter 'fc1.bias' with shape (3,) and dtype float32 on rank 1"),
        ([USUAL[0], entry("fc1.bias", 4)], "entry 1: parameter 'fc1.bias' with shape (3,) and dtype float32 on "
         "ranks 0, 2; parameter 'fc1.bias' with shape (4,) and dtype float32 on rank 1"),
        ([USUAL[0], entry("fc1.bias", 3, dtype=np.float64)], "and dtype float64 on rank 1"),
        ([USUAL[0], entry("fc1.beta", 3)], "parameter 'fc1.beta' with shape (3,) and dtype float32 on rank 1"),
        ([USUAL[0], entry("fc1.bias", 3, frozen=True)], "dtype float32, requires_grad=False on rank 1"),
        ([USUAL[0]], "absent on rank 1"),
        ([*USUAL, entry("fc2.weight", 1)], "entry 2: absent on ranks 0, 2; parameter 'fc2.weight'"),
    ],
    ids=["order", "shape", "dtype", "name", "frozen", "fewer", "more"],
)  # fmt: skip
def test_a_difference_is_named_with_its_ranks_on_all_of_them(other: list[Entry], expected: str) -> None:
    answers = compare(3, 1, USUAL, other)
    for rank, answer in enumerate(answers):
        assert answer.startswith(f"rank {rank}: the ranks' models differ at ")
        assert expected in answer


@pytest.mark.parametrize(
    "option", [{"weighting": "samples"}, {"check_finite": None}, {"static_graph": True}, {"broadcast_buffers": False},
               {"bucket_cap_mb": 1}],
    ids=lambda option: next(iter(option)),
)  # fmt: skip
def test_a_model_that_is_wrapped_otherwise_on_one_rank_is_refused_on_all(option: dict[str, Any]) -> None:
    def main() -> str:
        dist.init_process_group("threads")
        with pytest.raises(RuntimeError, match="models differ at entry .: option") as caught:
            DistributedDataParallel(Linear(2, 1), **(option if dist.get_rank() == 1 else {}))
        return str(caught.value)

    assert all("on rank 0; option" in answer for answer in Threads.run(2, main))


def test_buffers_are_compared() -> None:
    assert "buffer 'mean' with shape (2,)" in compare(2, 0, [entry("mean", 1)], [entry("mean", 2)], buffers=True)[1]


MISTAKES = {
    "order": ("nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))", "nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3))"),
    "bytes": ("nn.Linear(2, 3, dtype=dg.float16)", "nn.Linear(2, 3, dtype=dg.bfloat16)"),
    "count": ("nn.Linear(2, 3)", "nn.Linear(2, 3, bias=False)"),
}


@pytest.mark.mpi
@pytest.mark.parametrize("backend", ["mpi", "shared"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_job_ends_and_says_what_differs(mistake: str, backend: str) -> None:
    """What would else be summed silently: another order, elements of as many bytes, fewer parameters."""
    usual, other = MISTAKES[mistake]
    program = f"""
import distgrad as dg, distgrad.distributed as dist
from distgrad import nn
dist.init_process_group("{backend}")
model = nn.parallel.DistributedDataParallel({usual} if dist.get_rank() != 1 else {other})
print("wrapped")
"""
    job = run_ranks(3, program)
    assert job.returncode != 0
    assert "wrapped" not in job.stdout
    expected = {
        "order": "parameter '0.weight' with shape (2, 3) and dtype float32 on rank 1",
        "bytes": "parameter 'weight' with shape (3, 2) and dtype bfloat16 on rank 1",
        "count": "absent on rank 1",
    }
    assert "the ranks' models differ at entry" in job.stderr
    assert expected[mistake] in job.stderr
