"""What ranks do alone, or each in its own way, with one weight of 1 and inputs of rank + 1.

As a program, ``alone.py BACKENDS`` on each rank.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # as a program by mpirun

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.distributed.process_groups.default_group import get_group
from distgrad.nn.parallel import DistributedDataParallel

Scenario = tuple[Callable[[], Any], Callable[[int, int], Any]]  # what a rank has; what it should have: (rank, ranks)


def one(**options: Any) -> Any:
    """A wrapped layer with one weight of 1."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    return DistributedDataParallel(layer, **options)


def x() -> Any:
    return dg.tensor([[dist.get_rank() + 1.0]])


def weight(model: Any) -> float:
    return float(model.module.weight.item())


def gradient(model: Any) -> float:
    return float(model.module.weight.grad.item())


def step(model: Any, optimizer: Any) -> None:
    optimizer.zero_grad()
    model(x()).sum().backward()
    optimizer.step()


def mean(ranks: int) -> float:
    """Of the inputs."""
    return (ranks + 1) / 2


# --- which backward passes are reduced ------------------------------------------------------------------------------


def a_bare_backward_behind() -> float:
    model = one()
    model(x()).sum().backward()
    if dist.get_rank() == 0:
        model.module(x()).sum().backward()
    return gradient(model)


def a_rank_that_validates_between_steps() -> float:
    model = one()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    for _ in range(2):
        step(model, optimizer)
        if dist.get_rank() == 0:
            model.module(x()).sum().backward()
    return weight(model)


def one_output_twice() -> tuple[float, float]:
    model = one()
    y = model(x()).sum()
    y.backward(retain_graph=True)
    first = gradient(model)
    y.backward()
    return first, gradient(model)


def mixed_with_no_sync() -> float:
    model = one()
    a = model(x())
    with model.no_sync():
        b = model(x())
    (a + b).sum().backward()
    return gradient(model)


def backward_inside_no_sync() -> float:
    model = one()
    y = model(x()).sum()
    with model.no_sync():
        y.backward()
    return gradient(model)


def a_hook_registered_later() -> float:
    model = one()

    def by_rank(p: Any) -> None:
        p.grad.mul_(dist.get_rank() + 2)

    model.module.weight.register_post_accumulate_grad_hook(by_rank)
    model(x()).sum().backward()
    return gradient(model)


# --- steps with gradients of one's own --------------------------------------------------------------------------------


def local_steps_then_the_mean() -> list[float]:
    model = one()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    with model.no_sync():
        model(x()).sum().backward()
    optimizer.step()
    found = [weight(model)]
    w = model.module.weight.data
    dist.all_reduce(w)
    w /= dist.get_world_size()
    found.append(weight(model))
    step(model, optimizer)
    return [*found, weight(model)]


def one_rank_steps() -> list[float]:
    model = one()
    optimizer = optim.SGD(model.parameters(), lr=1.0, momentum=0.5)
    step(model, optimizer)
    optimizer.zero_grad()
    if dist.get_rank() == 0:
        model.module(x()).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    found = []
    for _ in range(2):
        step(model, optimizer)
        found.append(weight(model))
    return found


def one_rank_stepped(rank: int, ranks: int) -> list[float]:
    w, v = 1.0, mean(ranks)
    w -= v
    if rank == 0:
        v = 0.5 * v + 1
        w -= v
    found = []
    for _ in range(2):
        v = 0.5 * v + mean(ranks)
        w -= v
        found.append(w)
    return found


def one_rank_steps_while_the_others_wait() -> list[float]:
    return one_rank_makes_the_common_step(waits=True)


def one_rank_makes_the_common_step(waits: bool = False) -> list[float]:
    """As where only a rank whose loss is small enough steps."""
    model = one()
    optimizer = optim.SGD(model.parameters(), lr=1.0, momentum=0.5)
    step(model, optimizer)
    optimizer.zero_grad()
    model(x()).sum().backward()
    if dist.get_rank() == 0:
        optimizer.step()
    if waits:
        dist.barrier()
    found = []
    for _ in range(2):
        step(model, optimizer)
        found.append(weight(model))
    return found


def one_rank_made_it(rank: int, ranks: int) -> list[float]:
    w, v = 1.0 - mean(ranks), mean(ranks)
    found = []
    for _ in range(3 if rank == 0 else 2):
        v = 0.5 * v + mean(ranks)
        w -= v
        found.append(w)
    return found[-2:]


class Adds(nn.Module):
    """To a buffer what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(dg.ones(1, 1))
        self.register_buffer("seen", dg.zeros(1, 1))

    def forward(self, given: Any) -> Any:
        self.seen.add_(given)  # type: ignore[operator, union-attr]
        return given @ self.weight


def buffers_of_passes() -> list[float]:
    """Rank 0's are everybody's before a forward pass behind one that synchronises, not behind one inside no_sync."""
    model = DistributedDataParallel(Adds())
    found = []
    for local in (False, True, False, False):
        with model.no_sync() if local else contextlib.nullcontext():
            model(x()).sum().backward()
        found.append(float(model.module.seen.item()))  # type: ignore[operator, union-attr]
    return found


def a_forward_pass_that_fails_on_one_rank() -> float:
    model = one()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    step(model, optimizer)
    if dist.get_rank() == 0:
        with pytest.raises(RuntimeError):
            model(dg.ones(1, 7))
        model.module(x()).sum().backward()
    step(model, optimizer)
    return weight(model)


def a_copy_of_the_wrapper() -> tuple[float, float]:
    model = one()
    double = copy.deepcopy(model)
    step(double, optim.SGD(double.parameters(), lr=1.0))
    return weight(model), weight(double)


def wrapped_again() -> list[float]:
    """With a gradient there, then two wrappers in turn, then again and again."""
    model = one()
    optimizer = optim.SGD(model.parameters(), lr=1.0, momentum=0.5)
    model(x()).sum().backward()
    models = [model, DistributedDataParallel(model.module)]
    found = [gradient(model)]
    optimizer.step()
    for k in range(4):
        step(models[k % 2], optimizer)
        found.append(weight(model))
    before = open_files()
    for _ in range(8):
        models = [DistributedDataParallel(model.module)]
        model = models[0]
        step(model, optimizer)
        found.append(weight(model))
    gc.collect()
    return [*found, float(open_files() <= before + 8)]  # of the two last wrappers, at most


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) // (dist.get_world_size() if get_group().comm.per_thread else 1)


def wrapped(rank: int, ranks: int) -> list[float]:
    w, v, found = 1.0, 0.0, [mean(ranks)]
    for _ in range(13):
        v = 0.5 * v + mean(ranks)
        w -= v
        found.append(w)
    return [found[0], *found[2:], 1.0]


def joined_with_other_states() -> float:
    """Ranks that run out have another momentum than those that go on; no step may be a mixture of them."""
    model = one()
    optimizer = optim.SGD(model.parameters(), lr=1.0, momentum=0.5)
    with model.join():
        for _ in range(1 + dist.get_rank()):
            step(model, optimizer)
    optimizer.zero_grad()
    model(x()).sum().backward()
    before = weight(model)
    optimizer.step()
    return before - weight(model)


def joined(rank: int, ranks: int) -> float:
    momentum = 0.0
    for left in range(1 + rank):  # of those that have run out nothing is added
        momentum = 0.5 * momentum + sum(r + 1 for r in range(left, ranks)) / ranks
    return 0.5 * momentum + mean(ranks)


def gradients_averaged_by_hand() -> tuple[float, bool]:
    model = one()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    model(x()).sum().backward()
    model.module.weight.grad = model.module.weight.grad * 2
    optimizer.step()
    shares = bool(model._gradients.shares_memory)
    return weight(model), shares or not get_group().comm.shares_memory  # what all ranks change alike is no reason to go


def gradients_changed_by_rank() -> float:
    model = one()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    model(x()).sum().backward()
    model.module.weight.grad.mul_(dist.get_rank() + 1)
    optimizer.step()
    return weight(model)


def a_gradient_dropped_on_one_rank() -> float:
    model = one()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    model(x()).sum().backward()
    if dist.get_rank() == 1:
        model.module.weight.grad = None
    optimizer.step()
    return weight(model)


def parameters_changed_by_rank() -> float:
    model = one()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    with dg.no_grad():
        model.module.weight.add_(10.0 * dist.get_rank())
    step(model, optimizer)
    return weight(model)


# --- weights ----------------------------------------------------------------------------------------------------------


class Nested(nn.Module):
    """Takes its input in a dict, a tuple, or as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(dg.ones(1, 1))

    def forward(self, given: Any) -> Any:
        inner = given["x"] if isinstance(given, dict) else given[0] if isinstance(given, tuple) else given
        return inner @ self.weight


def share() -> Any:
    """One sample of 1 on rank 0, three of r + 1 on rank r."""
    rank = dist.get_rank()
    return dg.full((3 if rank else 1, 1), rank + 1.0)


def calls() -> int:
    """A cell that is called once on one rank, and three times or more on another."""
    return dist.get_rank()


def of_mean_losses() -> list[float]:
    found = []
    given: list[Callable[[Any], Any]] = [
        lambda model: model(share()),
        lambda model: model({"x": share()}, batch_size=len(share())),
        lambda model: (model.samples(len(share())), model((share(),)))[1],
        lambda model: sum((model(share()) for _ in range(2 * calls())), model(share())) / (2 * calls() + 1),
    ]
    for forward in given:
        model = DistributedDataParallel(Nested(), weighting="samples")
        forward(model).mean().backward()
        found.append(gradient(model))
    model = DistributedDataParallel(Nested())
    model({"x": share()}).mean().backward()
    return [*found, gradient(model)]


def means(rank: int, ranks: int) -> list[float]:
    by_samples = (1 + sum(3 * (r + 1) for r in range(1, ranks))) / (1 + 3 * (ranks - 1))
    return [by_samples] * 4 + [mean(ranks)]


def samples_that_nobody_told() -> str:
    model = DistributedDataParallel(Nested(), weighting="samples")
    with pytest.raises(RuntimeError, match="cannot tell") as caught:  # noqa: PT012 - in shared memory where it is used
        model((share(),)).mean().backward()
        gradient(model)
    return str(caught.value).split(":")[0]


# --- changes ----------------------------------------------------------------------------------------------------------


def changes_after_wrapping() -> list[str]:
    def unfreeze(net: Any) -> None:
        net[0].weight.requires_grad_(True)

    def replace(net: Any) -> None:
        net[1] = nn.Linear(1, 1, bias=False)

    def convert(net: Any) -> None:
        net.double()

    def add(net: Any) -> None:
        net.more = nn.Parameter(dg.ones(1))

    found = []
    for change in (unfreeze, replace, convert, add):
        net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
        net[0].weight.requires_grad_(False)
        model = DistributedDataParallel(net)
        model(x()).sum().backward()
        change(net)
        with pytest.raises(RuntimeError, match="after the model was wrapped") as caught:
            model(x().to(net[1].weight.dtype))
        found.append(str(caught.value).split("'")[1])
    return found


def a_state_loaded_on_one_rank() -> str:
    model = one()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step(model, optimizer)
    saved = optimizer.state_dict()
    optimizer.load_state_dict(saved)  # on all: no error
    step(model, optimizer)
    if not get_group().comm.shares_memory:
        return "seen where memory is shared"
    if dist.get_rank() == 0:
        optimizer.load_state_dict(saved)
    with pytest.raises(RuntimeError, match="loaded state|another optimizer"):
        step(model, optimizer)
    return "seen where memory is shared"


def many_optimizers_and_groups() -> int:
    model = DistributedDataParallel(nn.Sequential(*[nn.Linear(3, 3) for _ in range(4)]))
    for _ in range(140):
        optimizer = optim.Adam(model.parameters(), lr=1e-3)
        model(x().expand(1, 3)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    model = DistributedDataParallel(nn.Sequential(*[nn.Linear(3, 3) for _ in range(80)]))
    groups = optim.Adam([{"params": [p]} for p in model.parameters()], lr=1e-3)
    model(x().expand(1, 3)).sum().backward()
    groups.step()
    return len(groups.state_dict()["state"])


def working_on_when_the_group_has_ended() -> tuple[float, float, float]:
    group = dist.new_group(list(range(dist.get_world_size())))
    group.comm.shares_memory = get_group().comm.shares_memory
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    model = DistributedDataParallel(layer, process_group=group)
    optimizer = optim.SGD(model.parameters(), lr=1.0, momentum=0.5)
    step(model, optimizer)
    dist.destroy_process_group(group)
    buffer = float(optimizer.state_dict()["state"][0]["momentum_buffer"].sum())
    before = weight(model)
    step(model, optimizer)  # alone
    return buffer, before, weight(model)


def worked_on(rank: int, ranks: int) -> tuple[float, float, float]:
    m = mean(ranks)
    return m, 1 - m, 1 - m - (0.5 * m + rank + 1)


SCENARIOS: list[Scenario] = [
    (a_bare_backward_behind, lambda rank, ranks: mean(ranks) + (rank == 0)),
    (a_rank_that_validates_between_steps, lambda rank, ranks: 1 - 2 * mean(ranks)),
    (one_output_twice, lambda rank, ranks: (mean(ranks), mean(ranks) + rank + 1)),
    (mixed_with_no_sync, lambda rank, ranks: 2 * mean(ranks)),
    (backward_inside_no_sync, lambda rank, ranks: mean(ranks)),
    (a_hook_registered_later, lambda rank, ranks: sum((r + 1) * (r + 2) for r in range(ranks)) / ranks),
    (local_steps_then_the_mean, lambda rank, ranks: [-float(rank), 1 - mean(ranks), 1 - 2 * mean(ranks)]),
    (one_rank_steps, one_rank_stepped),
    (one_rank_makes_the_common_step, one_rank_made_it),
    (one_rank_steps_while_the_others_wait, one_rank_made_it),
    (buffers_of_passes, lambda rank, ranks: [rank + 1.0, rank + 2.0, 2 * rank + 3.0, rank + 4.0]),
    (a_forward_pass_that_fails_on_one_rank, lambda rank, ranks: 1 - 2 * mean(ranks)),
    (a_copy_of_the_wrapper, lambda rank, ranks: (1.0, 1 - mean(ranks))),
    (joined_with_other_states, joined),
    (wrapped_again, wrapped),
    (gradients_averaged_by_hand, lambda rank, ranks: (1 - 2 * mean(ranks), True)),
    (gradients_changed_by_rank, lambda rank, ranks: 1 - (rank + 1) * mean(ranks)),
    (a_gradient_dropped_on_one_rank, lambda rank, ranks: 1.0 if rank == 1 else 1 - mean(ranks)),
    (parameters_changed_by_rank, lambda rank, ranks: 1 + 10 * rank - mean(ranks)),
    (of_mean_losses, means),
    (samples_that_nobody_told, lambda rank, ranks: f"rank {rank}"),
    (changes_after_wrapping, lambda rank, ranks: ["0.weight", "1.weight", "1.weight", "more"]),
    (a_state_loaded_on_one_rank, lambda rank, ranks: "seen where memory is shared"),
    (many_optimizers_and_groups, lambda rank, ranks: 160),
    (working_on_when_the_group_has_ended, worked_on),
]


def forked_children() -> None:
    """A child sees parameters as they were when it was forked, and is refused what would reach other ranks."""
    model = one()
    optimizer = optim.SGD(model.parameters(), lr=0.25)
    step(model, optimizer)
    context = multiprocessing.get_context("fork")
    told, goes = context.Queue(), context.Event()

    def child() -> None:
        try:
            goes.wait(60)
            seen = model.module(dg.ones(1, 1)).item()
            with pytest.raises(RuntimeError, match="forked from a rank"):
                model(dg.ones(1, 1))
            if get_group().comm.shares_memory:
                with pytest.raises(RuntimeError, match="forked from a rank"):
                    model.module(dg.ones(1, 1)).sum().backward()
            told.put(seen)
        except BaseException as error:
            told.put(repr(error))

    then = weight(model)
    process = context.Process(target=child)
    if dist.get_rank() == 0:
        process.start()
    for _ in range(3):
        step(model, optimizer)
    if dist.get_rank() == 0:
        goes.set()
        assert told.get(timeout=60) == then != weight(model)
        process.join(60)
    dist.barrier()


def compare(found: Any, wanted: Any) -> None:
    """Numbers to their rounding, texts exactly."""
    texts = isinstance(wanted, str) or (isinstance(wanted, list) and isinstance(wanted[0], str))
    assert found == (wanted if texts else pytest.approx(wanted))


if __name__ == "__main__":
    for backend in sys.argv[1].split(","):
        dist.init_process_group(backend)
        rank, ranks = dist.get_rank(), dist.get_world_size()
        for scenario, expected in SCENARIOS:
            compare(scenario(), expected(rank, ranks))
        forked_children()
        dist.destroy_process_group()
        sys.stdout.write(f"{backend} as-pytorch\n")
        sys.stdout.flush()
