"""Optimizers that know of ranks: the same bits as without them, state shared out, whole when it is saved."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim, registry
from distgrad.distributed.optim import (
    Compression,
    DistributedOptimizer,
    ZeroRedundancyOptimizer,
    broadcast_optimizer_state,
    broadcast_parameters,
)
from distgrad.distributed.process_groups.default_group import get_group
from distgrad.nn.parallel import DistributedDataParallel
from tests.distributed.helpers.ranks_as_threads import (
    AS_PROGRAM,
    AS_TRAINING,
    WAYS,
    backends_and_sizes,
    counting,
    on_ranks,
    over_mpi,
    pretend_nodes,
    set_parameters,
)
from tests.helpers.crew import run_together

ALL = [n for n in registry.names("optimizer") if registry.get("optimizer", n).gradients != "sparse"]
SHARED_OUT = [n for n in ALL if not registry.get("optimizer", n)._own_step]
WIDTH = 48


def network(dtype: Any = dg.float32) -> nn.Sequential:
    layers = [nn.Linear(7, WIDTH, dtype=dtype), nn.Tanh(), nn.Linear(WIDTH, 5, dtype=dtype)]
    model = nn.Sequential(*layers)
    set_parameters(model, 0.3, seed=dist.get_rank())  # wrapping must give all ranks those of rank 0
    return model


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng([5, dist.get_rank()])
    return dg.tensor(rng.standard_normal((4, 7))).float(), dg.tensor(rng.standard_normal((4, 5))).float()


def bits(model: nn.Module) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in model.parameters())


def chosen(name: str, model: nn.Module) -> list[Any]:
    """What optimizer ``name`` can update: Muon only matrices."""
    return [p for p in model.parameters() if p.ndim == 2 or name != "muon"]


def train(make: Callable[[nn.Module], Any], steps: int = 4, before: bool = False) -> tuple[bytes, Any]:
    bare = network()
    optimizer = make(bare) if before else None
    model = DistributedDataParallel(bare)
    optimizer = optimizer or make(bare)
    x, y = data()
    for _ in range(steps):
        optimizer.zero_grad()
        ((model(x) - y) ** 2).mean().backward()
        optimizer.step()
    return bits(bare), optimizer


def zero(name: str) -> Callable[[nn.Module], Any]:
    cls = registry.get("optimizer", name)
    return lambda model: ZeroRedundancyOptimizer(chosen(name, model), cls, lr=0.02)


def plain(name: str) -> Callable[[nn.Module], Any]:
    return lambda model: registry.get("optimizer", name)(chosen(name, model), lr=0.02)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SHARED_OUT)
def test_shared_out_or_not_the_bits_are_the_same(name: str, way: str, before: bool) -> None:
    for size in (2, 3):
        want = on_ranks(size, lambda: train(plain(name), before=before)[0])
        got = on_ranks(size, lambda: train(zero(name), before=before)[0], way)
        assert got == want


def test_a_rank_holds_its_part_of_the_state() -> None:
    def main() -> list[int]:
        _, optimizer = train(zero("adam"))
        segments = [s for several in optimizer.optim._segments for s in several]
        model = sum(p.numel() * 4 for group in optimizer.param_groups for p in group["params"])
        return [sum(a.nbytes for s in segments for a in s.state.values()), model]

    for size in (1, 2, 3, 4):
        held = on_ranks(size, main)
        whole = 2 * held[0][1]  # two moments
        assert sum(h for h, _ in held) <= whole * 1.1  # gaps between parameters
        for h, _ in held:
            assert h == pytest.approx(whole / size, rel=0.1)


def comparable(state_dict: dict[str, Any]) -> Any:
    state = {
        k: {name: np.asarray(v.tolist()).tobytes() for name, v in entry.items()}
        for k, entry in state_dict["state"].items()
    }
    return state, state_dict["param_groups"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["adam", "lamb"])
def test_consolidated_state_is_the_plain_optimizers(name: str, way: str) -> None:
    want = on_ranks(3, lambda: comparable(train(plain(name))[1].state_dict()))

    def main() -> Any:
        _, optimizer = train(zero(name))
        with pytest.raises(RuntimeError, match=rf"rank {dist.get_rank()} has no consolidated optimizer state"):
            optimizer.state_dict()
        optimizer.consolidate_state_dict(to=1)
        if dist.get_rank() == 1:
            return comparable(optimizer.state_dict())
        with pytest.raises(RuntimeError, match="has no consolidated optimizer state"):
            optimizer.state_dict()
        return None

    assert on_ranks(3, main, way) == [None, want[1], None]


def test_state_loads_on_another_number_of_ranks() -> None:
    def save() -> Any:
        _, optimizer = train(zero("adam"))
        optimizer.consolidate_state_dict()
        return optimizer.state_dict() if dist.get_rank() == 0 else None

    saved = on_ranks(3, save)[0]

    def load() -> Any:
        optimizer = zero("adam")(network())
        optimizer.load_state_dict(saved)
        optimizer.consolidate_state_dict(to=1)
        return comparable(optimizer.state_dict()) if dist.get_rank() == 1 else None

    assert on_ranks(2, load)[1] == comparable(saved)


def test_a_step_makes_consolidated_state_old() -> None:
    def main() -> None:
        model = network()
        optimizer = ZeroRedundancyOptimizer(model.parameters(), optim.Adam)
        optimizer.consolidate_state_dict()
        assert optimizer.state_dict()["state"] == {}
        optimizer.step()
        with pytest.raises(RuntimeError, match="after the last step"):
            optimizer.state_dict()

    on_ranks(1, main)


def test_groups_schedulers_and_closures_work_through_it() -> None:
    def main(shared_out: bool) -> bytes:
        bare = network()
        model = DistributedDataParallel(bare)
        groups = [{"params": bare[0].parameters(), "lr": 0.1}, {"params": list(bare[2].parameters())[:1]}]
        args: Any = dict(lr=0.01, momentum=0.9)
        optimizer: Any = (
            ZeroRedundancyOptimizer(groups, optim.SGD, **args) if shared_out else optim.SGD(groups, **args)
        )
        schedule = optim.lr_scheduler.StepLR(optimizer, 2)
        x, y = data()

        def closure() -> Any:
            optimizer.zero_grad()
            loss = ((model(x) - y) ** 2).mean()
            loss.backward()
            return loss

        for step in range(5):
            if step == 2:
                optimizer.add_param_group({"params": list(bare[2].parameters())[1:]})
            assert float(optimizer.step(closure)) > 0
            schedule.step()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.001)
        return bits(bare)

    assert on_ranks(3, lambda: main(True)) == on_ranks(3, lambda: main(False))


def test_users_writes_are_noticed() -> None:
    def main(shared_out: bool) -> bytes:
        bare = network()
        model = DistributedDataParallel(bare)
        optimizer = (zero if shared_out else plain)("adam")(bare)
        x, y = data()
        for _ in range(3):
            optimizer.zero_grad()
            ((model(x) - y) ** 2).mean().backward()
            bare[0].weight.grad = bare[0].weight.grad * 2
            bare[2].bias.grad = None
            bare[2].weight.data = bare[2].weight.data * 0.9
            nn.utils.clip_grad_norm_(bare.parameters(), 0.5)
            optimizer.step()
        return bits(bare)

    assert on_ranks(2, lambda: main(True)) == on_ranks(2, lambda: main(False))


def test_what_cannot_be_shared_out_is_refused() -> None:
    def main() -> None:
        params = [dg.ones(3, requires_grad=True)]
        with pytest.raises(TypeError, match=r"LBFGS has a step\(\) of its own"):
            ZeroRedundancyOptimizer(params, optim.LBFGS)
        with pytest.raises(TypeError, match="optimizer_class must be a subclass"):
            ZeroRedundancyOptimizer(params, optim.Adam(params))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="overlap_with_ddp must be False"):
            ZeroRedundancyOptimizer(params, optim.Adam, overlap_with_ddp=True)
        with pytest.raises(ValueError, match="rank 1 does not exist"):
            ZeroRedundancyOptimizer(params, optim.Adam).consolidate_state_dict(to=1)

    on_ranks(1, main)


# --- DistributedOptimizer -------------------------------------------------------------------------------------------


def horovod(compression: Any = None, steps: int = 4) -> bytes:
    model = network()
    optimizer = DistributedOptimizer(
        optim.Adam(model.parameters(), lr=0.02), model.named_parameters(), compression=compression
    )
    x, y = data()
    for _ in range(steps):
        optimizer.zero_grad()
        ((model(x) - y) ** 2).mean().backward()
        optimizer.step()
    return bits(model)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_wrapped_optimizer_does_what_a_wrapped_model_does(size: int, way: str) -> None:
    assert on_ranks(size, horovod, way) == on_ranks(size, lambda: train(plain("adam"))[0])


def test_compressed_gradients() -> None:
    def main() -> tuple[bytes, int]:
        with counting() as count:
            return horovod(Compression.fp16), count.bytes

    def exact() -> tuple[bytes, int]:
        with counting() as count:
            return horovod(), count.bytes

    (a, few), (b, same) = on_ranks(2, main)
    many = on_ranks(2, exact)[0][1]
    assert a == b
    assert few == same < 0.75 * many


@pytest.mark.parametrize("way", WAYS)
def test_accumulation(way: str) -> None:
    def main() -> list[float]:
        p = dg.ones(1, requires_grad=True)
        optimizer = DistributedOptimizer(optim.SGD([p], lr=1.0))
        with optimizer.no_sync():
            (p * float(1 + dist.get_rank())).sum().backward()
        local = p.grad.item()  # type: ignore[union-attr]
        (p * float(1 + dist.get_rank())).sum().backward()
        optimizer.step()
        return [local, p.item()]

    assert on_ranks(2, main, way) == [[1.0, -2.0], [2.0, -2.0]]


@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_step_of_a_sharded_optimizer_is_one_exchange(size: int) -> None:
    def main() -> tuple[list[int], bool]:
        comm, sizes = get_group().comm, []
        model = nn.Linear(40, 30)
        for p in model.parameters():
            nn.init.constant_(p, 0.5)
        optimizer = ZeroRedundancyOptimizer(model.parameters(), optim.SGD, lr=0.1)
        model(dg.ones(2, 40)).sum().backward()
        before = [p.detach().numpy() - 0.1 * p.grad.numpy() for p in model.parameters()]  # type: ignore[union-attr]
        exchange = comm.Iallgatherv

        def counted(array: np.ndarray, out: Sequence[np.ndarray]) -> Any:
            sizes.append(array.size)
            return exchange(array, out)

        def told(array: np.ndarray, out: np.ndarray) -> None:
            assert array.nbytes == 16  # a number for the gradients, and one for the hyperparameters
            tell(array, out)

        tell = comm.Allgather
        comm.Iallgatherv, comm.Allgather = counted, told  # type: ignore[method-assign]
        for name in ("Ibcast", "Bcast", "Iallreduce"):
            setattr(comm, name, None)  # nothing else is called
        optimizer.step()
        after = [p.detach().numpy() for p in model.parameters()]
        return sizes, all(np.array_equal(a, b) for a, b in zip(after, before, strict=True))

    found = on_ranks(size, main)
    assert all(right and len(sizes) == 1 for sizes, right in found), found
    assert sum(sizes[0] for sizes, _ in found) >= 40 * 30 + 30


def test_state_and_parameters_are_broadcast() -> None:
    def main() -> Any:
        model = network()
        optimizer = optim.AdamW(model.parameters(), lr=0.1 * (1 + dist.get_rank()), betas=(0.8, 0.9))
        if dist.get_rank() == 1:
            for p in model.parameters():
                p.grad = dg.ones(*p.shape)
            optimizer.step()
        broadcast_parameters(model.state_dict(), root_rank=1)
        broadcast_optimizer_state(optimizer, root_rank=1)
        assert optimizer.param_groups[0]["betas"] == (0.8, 0.9)
        assert optimizer.state_dict()["state"], "there was something to broadcast"
        return bits(model), comparable(optimizer.state_dict())

    first, second, third = on_ranks(3, main)
    assert first == second == third


def test_other_parameters_are_refused() -> None:
    def main() -> None:
        shape = 2 + dist.get_rank()
        DistributedOptimizer(optim.SGD([("w", dg.ones(shape, requires_grad=True))], lr=1.0))

    with pytest.raises(RuntimeError, match="the ranks' models differ at entry 0"):
        on_ranks(2, main)


@pytest.mark.mpi
@backends_and_sizes(2, 3)
def test_over_mpi(backend: str, size: int) -> None:
    over_mpi(size, Path(__file__)).check(**{f"equal with {backend}": 2 * size})


@pytest.mark.mpi
@pytest.mark.parametrize("per_node", ["1", "2"])
def test_over_nodes(per_node: str) -> None:
    env = AS_TRAINING if per_node == "2" else AS_PROGRAM
    run_together(4, Path(__file__), "shared", per_node, env=env).check(equal=8)


if __name__ == "__main__":
    pretend_nodes(*sys.argv[2:])
    for backend in sys.argv[1].split(","):
        dist.init_process_group(backend)
        for name in ("adam", "lamb"):
            ours, optimizer = train(zero(name))
            optimizer.consolidate_state_dict(to=1)
            theirs, other = train(plain(name))
            assert ours == theirs, name
            state = other.state_dict()
            assert dist.get_rank() != 1 or comparable(optimizer.state_dict()) == comparable(state)
            dist.barrier()
            sys.stdout.write(f"equal with {backend}\n")
        assert horovod() == train(plain("adam"))[0]
        dist.destroy_process_group()
