"""What a loss states of itself, and a reduction that stands in an old argument's place."""

from __future__ import annotations

import math
from typing import Any

import pytest

import distgrad as dg
from distgrad import nn, registry

F: Any = nn.functional
ORDINARY = {"l1", "mse", "smooth_l1", "huber", "poisson_nll", "bce_with_logits"}


@pytest.mark.parametrize("name", sorted(registry.names("loss")))
def test_every_loss_states_what_it_takes(name: str) -> None:
    loss = registry.get("loss", name)
    assert loss.inputs in ("outputs", "probabilities", "log_probabilities")
    assert loss.targets in ("one_hot", "classes", "signs", "others")
    if name in ORDINARY:
        assert (loss.inputs, loss.targets) == ("outputs", "one_hot")
    ranges = {"bce": (0, 1), "bce_with_logits": (0, 1), "kl_div": (0, 1), "poisson_nll": (0, math.inf)}
    assert loss.target_range == ranges.get(name, (-math.inf, math.inf))
    loss(**loss.sample_mean)  # options that it has


class Theirs(nn.MSELoss):
    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)  # type: ignore[arg-type]


@pytest.mark.parametrize("reduction", ["sum", "none", "mean"])
def test_a_reduction_in_the_place_of_size_average_is_an_error(reduction: str) -> None:
    """It would count as True, and so mean the mean."""
    x = dg.ones(2, 2)
    with pytest.raises(TypeError, match=f"size_average must be a bool or None, got '{reduction}'.*reduction="):
        Theirs(reduction)
    with pytest.raises(TypeError, match="size_average must be a bool or None"):
        F.mse_loss(x, x, reduction)
    with pytest.raises(TypeError, match="size_average must be a bool or None"):
        nn.NLLLoss(None, reduction)
    with pytest.raises(TypeError, match="reduce must be a bool or None"):
        nn.L1Loss(None, reduction)
