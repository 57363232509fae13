"""What one rank does alone, or each in its own way, means what it means in PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest

import distgrad.distributed as dist
from tests.distributed.helpers import alone
from tests.distributed.helpers.ranks_as_threads import on_ranks, over_mpi


@pytest.mark.slow
@pytest.mark.parametrize("way", ["messages", "shared"])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("scenario", alone.SCENARIOS, ids=lambda scenario: scenario[0].__name__)
def test_on_threads(scenario: alone.Scenario, size: int, way: str) -> None:
    body, expected = scenario
    found = on_ranks(size, body, way)
    for rank, value in enumerate(found):
        alone.compare(value, expected(rank, size))


@pytest.mark.mpi
@pytest.mark.parametrize("size", [2, 3])
def test_over_mpi(size: int) -> None:
    over_mpi(size, Path(alone.__file__), compiled=False).check(**{"mpi as-pytorch": size, "shared as-pytorch": size})


def test_samples_are_counted() -> None:
    def main() -> None:
        model = alone.one(weighting="samples")
        for wrong in (-1, 1.5, True, "3"):
            with pytest.raises(ValueError, match="whole number"):
                model.samples(wrong)
        with pytest.raises(RuntimeError, match="weighting='samples'"):
            alone.one().samples(3)
        assert dist.get_world_size() == 2

    on_ranks(2, main)
