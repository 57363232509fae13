"""Buckets follow the order in which rank 0's gradients were complete in the first backward; on all ranks alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn
from distgrad.autograd import Tensor
from distgrad.distributed.data_parallel.message_reducer import Reducer
from distgrad.nn.parallel import DistributedDataParallel
from tests.distributed.helpers.ranks_as_threads import WAYS, on_ranks


class Backwards(nn.Module):
    """Layers that are used in the opposite order of that in which they were made; on odd ranks in yet another."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.middle, self.first = (nn.Linear(2, 2, bias=False, dtype=dg.float64) for _ in range(3))
        with dg.no_grad():
            for k, p in enumerate(self.parameters()):
                p.copy_(dg.tensor(np.random.default_rng(k).standard_normal((2, 2))))

    def forward(self, x: Tensor) -> Tensor:
        order = [self.first, self.middle, self.last]
        if dist.get_rank() % 2:
            order = [self.last, self.first, self.middle]
        for layer in order:
            x = layer(x)
        return x


def buckets(model: DistributedDataParallel) -> list[list[str]]:
    names = {id(p): name.split(".")[1] for name, p in model.named_parameters()}
    assert model._gradients is not None
    reducer = model._gradients.reducer
    assert isinstance(reducer, Reducer)
    return [[names[id(p)] for p in bucket.params] for bucket in reducer.buckets]


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_order_is_learned_from_rank_0(size: int) -> None:
    def main() -> tuple[list[Any], np.ndarray, np.ndarray]:
        model = DistributedDataParallel(Backwards(), bucket_cap_mb=1e-9)
        seen, gradients = [buckets(model)], []
        for _ in range(3):
            for p in model.parameters():
                p.grad = None
            model(dg.full((1, 2), 1.0 + dist.get_rank(), dtype=dg.float64)).sum().backward()
            seen.append(buckets(model))
            gradients.append(np.concatenate([p.grad.numpy().reshape(-1) for p in model.parameters()]))  # type: ignore[union-attr]
        assert gradients[0].tobytes() == gradients[1].tobytes() == gradients[2].tobytes()
        return seen, gradients[0], gradients[2]

    for seen, *_ in on_ranks(size, main):
        assert seen[0] == [["first"], ["middle"], ["last"]]  # as they lie in the model, from behind
        assert seen[1] == seen[2] == seen[3] == [["last"], ["middle"], ["first"]]


def test_what_the_first_backward_did_not_use_comes_last() -> None:
    def main() -> list[list[str]]:
        bare = Backwards()
        model = DistributedDataParallel(bare, bucket_cap_mb=1e-9)
        model.module.forward = lambda x: bare.middle(x)  # type: ignore[method-assign]
        model(dg.ones(1, 2, dtype=dg.float64)).sum().backward()
        return buckets(model)

    for found in on_ranks(2, main):
        assert found[0] == ["middle"]
        assert sorted(map(str, found[1:])) == ["['first']", "['last']"]


@pytest.mark.parametrize("way", WAYS)
def test_another_set_of_parameters_is_an_error_in_a_static_graph(way: str) -> None:
    def main() -> None:
        bare = Backwards()
        model = DistributedDataParallel(bare, static_graph=True)
        x = dg.ones(1, 2, dtype=dg.float64)
        for _ in range(2):
            model(x).sum().backward()
        whole = bare.forward
        model.module.forward = lambda x: bare.middle(x)  # type: ignore[method-assign]
        words = r"static_graph=True, but .* parameter 'last.weight' \(and 1 more\) was not used in this backward"
        with pytest.raises(RuntimeError, match=words):  # though it still has the gradient of the last one
            model(x).sum().backward()
        model.module.forward = whole  # type: ignore[method-assign]
        model(x).sum().backward()  # whoever catches the error may go on

    on_ranks(2, main, way)


@pytest.mark.parametrize("way", WAYS)
def test_a_static_graph_is_each_ranks_own_and_counts_what_no_sync_used(way: str) -> None:
    def main() -> str:
        bare, rank = Backwards(), dist.get_rank()
        model = DistributedDataParallel(bare, static_graph=True)
        x = dg.ones(1, 2, dtype=dg.float64)
        parts = [lambda x: bare.first(x), lambda x: bare.last(x)]
        for _ in range(2):
            with model.no_sync():
                model.module.forward = parts[rank]  # type: ignore[method-assign]
                model(x).sum().backward()
            model.module.forward = lambda x: bare.middle(x)  # type: ignore[method-assign]
            model(x).sum().backward()
        if rank == 1:
            model.module.forward = lambda x: bare.middle(bare.last(x)) + bare.first(x)  # type: ignore[method-assign]
        try:
            if rank == 0:
                with model.no_sync():
                    model.module.forward = parts[0]  # type: ignore[method-assign]
                    model(x).sum().backward()
                model.module.forward = lambda x: bare.middle(x)  # type: ignore[method-assign]
            model(x).sum().backward()
        except RuntimeError as error:
            return str(error)
        return ""

    first, second = on_ranks(2, main, way)
    assert first == ""
    assert "parameter 'first.weight' was used in this backward and was not used in the first" in second
