"""The paths at which PyTorch has its layers, what is beside them there, and two more initializations."""

from __future__ import annotations

import importlib
from collections import OrderedDict

import pytest

import distgrad
from distgrad import nn

FILES = [
    "activation",
    "adaptive",
    "batchnorm",
    "channelshuffle",
    "container",
    "conv",
    "distance",
    "dropout",
    "flatten",
    "fold",
    "instancenorm",
    "linear",
    "loss",
    "normalization",
    "padding",
    "pixelshuffle",
    "pooling",
    "rnn",
    "sparse",
    "transformer",
    "upsampling",
]


def test_layers_are_at_their_paths() -> None:
    container = importlib.import_module("distgrad.nn.modules.container")
    assert container.Sequential is nn.Sequential
    assert importlib.import_module("distgrad.nn.modules.activation").GLU is nn.GLU
    assert importlib.import_module("distgrad.nn.modules.loss").MSELoss is nn.MSELoss
    assert importlib.import_module("distgrad.nn.modules.batchnorm").SyncBatchNorm is nn.SyncBatchNorm
    with pytest.raises(AttributeError, match="has no attribute 'Conv9d'"):
        _ = container.Conv9d


@pytest.mark.torch
@pytest.mark.parametrize("file", FILES)
def test_layers_are_at_pytorchs_paths(file: str) -> None:
    pytest.importorskip("torch")
    theirs = importlib.import_module(f"torch.nn.modules.{file}")
    ours = importlib.import_module(f"distgrad.nn.modules.{file}")
    for name in set(theirs.__all__) & set(nn.__all__):
        assert getattr(ours, name) is getattr(nn, name), name


def test_tuples_and_prefixes() -> None:
    utils = importlib.import_module("distgrad.nn.modules.utils")
    assert (utils._pair(3), utils._triple([1, 2, 3]), utils._single((4,))) == ((3, 3), (1, 2, 3), (4,))
    assert utils._reverse_repeat_tuple((1, 2), 2) == (2, 2, 1, 1)
    state = nn.Sequential(OrderedDict(module=nn.Linear(1, 1))).state_dict()
    utils.consume_prefix_in_state_dict_if_present(state, "module.")
    assert list(state) == ["weight", "bias"]
    nn.Linear(1, 1).load_state_dict(state)


@pytest.mark.parametrize(("shape", "groups"), [((3, 4, 3), 1), ((4, 2, 2, 3), 2), ((2, 3, 1, 2, 3), 1)])
def test_a_convolution_passes_its_channels_on(shape: tuple[int, ...], groups: int) -> None:
    w = nn.init.dirac_(distgrad.empty(*shape), groups)
    middle = tuple(n // 2 for n in shape[2:])
    ones = {
        (g * (shape[0] // groups) + i, i, *middle)
        for g in range(groups)
        for i in range(min(shape[0] // groups, shape[1]))
    }
    assert {tuple(i) for i in w.nonzero().tolist()} == ones
    assert w.sum().item() == len(ones)


@pytest.mark.torch
@pytest.mark.parametrize(("shape", "groups"), [((3, 4, 3), 1), ((4, 2, 2, 3), 2), ((2, 3, 1, 2, 3), 1)])
def test_dirac_is_pytorchs(shape: tuple[int, ...], groups: int) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.init.dirac_(torch.empty(*shape), groups)
    assert nn.init.dirac_(distgrad.empty(*shape), groups).tolist() == theirs.tolist()


def test_columns_have_so_many_zeros() -> None:
    distgrad.manual_seed(0)
    w = nn.init.sparse_(distgrad.empty(1000, 3), 0.25, std=2.0)
    assert (w == 0).sum(0).tolist() == [250] * 3
    assert w[w != 0].std().item() == pytest.approx(2.0, rel=0.1)
    for call in (
        lambda: nn.init.sparse_(distgrad.empty(3), 0.5),
        lambda: nn.init.dirac_(distgrad.empty(2, 2)),
        lambda: nn.init.dirac_(distgrad.empty(3, 2, 2), 2),
    ):
        with pytest.raises(ValueError, match=r"supported|divisible"):
            call()
