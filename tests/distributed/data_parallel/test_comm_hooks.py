"""Communication hooks: what they send, that training converges, and PyTorch's rules for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import nn, optim
from distgrad.autograd import Tensor
from distgrad.distributed.algorithms.ddp_comm_hooks import default_hooks
from distgrad.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, powerSGD_hook
from distgrad.distributed.algorithms.ddp_comm_hooks.topk_hook import TopKState, topk_hook
from distgrad.distributed.communication.futures import Future
from distgrad.distributed.gradients.grad_bucket import GradBucket
from distgrad.nn.parallel import DistributedDataParallel
from distgrad.storage import place
from tests.distributed.helpers.compression import HOOKS, IN, OUT, Regression, losses
from tests.distributed.helpers.ranks_as_threads import WAYS, counting, on_ranks
from tests.helpers.crew import run_together

WEIGHTS, BIASES = IN * OUT, OUT
# Elements of 4 bytes that a step sends, behind the first two.
BYTES = {
    "all-reduce": 4 * (WEIGHTS + BIASES),
    "float16": 2 * (WEIGHTS + BIASES),
    "bfloat16": 2 * (WEIGHTS + BIASES),
    "wrapped": 2 * (WEIGHTS + BIASES),
    "powerSGD": 4 * (2 * (IN + OUT) + BIASES),
    "top-k": 8 * 104,  # 5 % of 2080
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("hook", HOOKS)
def test_training_converges(hook: str, way: str) -> None:
    results = on_ranks(2, lambda: losses(hook, 150), way)
    for first, last in results:
        assert last < first / 100


@pytest.mark.mpi
@pytest.mark.parametrize(("backend", "size"), [("mpi", 2), ("shared", 3)])
def test_training_converges_over_mpi(backend: str, size: int) -> None:
    job = run_together(size, Path(__file__).parents[1] / "helpers" / "compression.py", backend)
    job.check(converged=size * len(HOOKS))


@pytest.mark.parametrize("hook", HOOKS)
def test_bytes_sent(hook: str) -> None:
    """Beside the buckets, a step sends one byte a parameter (whether it was used)."""

    def main() -> int:
        training = Regression(hook, 0.02)
        for _ in range(3):
            training.step()
        with counting() as count:
            training.step()
        return count.bytes - 2

    assert on_ranks(3, main) == [BYTES[hook]] * 3


@pytest.mark.parametrize("hook", ["float16", "bfloat16", "wrapped"])
def test_sixteen_bits_give_the_mean_to_their_precision(hook: str) -> None:
    def main() -> tuple[np.ndarray, np.ndarray]:
        found = []
        for name in (None, hook):
            training = Regression(name, 0.0)
            training.step()
            assert training.bare.weight.grad is not None
            found.append(training.bare.weight.grad.numpy().copy())
        return found[0], found[1]

    for exact, rounded in on_ranks(2, main):
        assert exact.tobytes() != rounded.tobytes()
        np.testing.assert_allclose(rounded, exact, atol=0.02 * np.abs(exact).max())


def test_power_sgd_of_full_rank_is_the_mean() -> None:
    def main() -> float:
        training = Regression(None, 0.02)
        full = PowerSGDState(None, OUT, start_powerSGD_iter=2, min_compression_rate=0)
        training.model.register_comm_hook(full, powerSGD_hook)
        for _ in range(3):
            training.step()
        assert full.compression_stats()[1:] == (WEIGHTS + BIASES, BIASES + OUT * OUT + IN * OUT)
        gradient, error = training.bare.weight.grad, full.error_dict[0]
        assert gradient is not None
        return float(np.abs(sum_of_errors(error)).max() / np.abs(gradient.numpy()).max())

    def sum_of_errors(error: np.ndarray) -> np.ndarray:
        total = error.copy()
        dist.all_reduce(Tensor._wrap(total, None))
        return total

    assert all(e < 1e-5 for e in on_ranks(2, main))


@pytest.mark.parametrize("hook", ["powerSGD", "top-k"])
def test_error_feedback_loses_nothing(hook: str) -> None:
    """What was applied and what is remembered, over all ranks, add up to the gradients."""

    def main() -> float:
        training = Regression(None, 0.0)
        state: Any = TopKState(ratio=0.05) if hook == "top-k" else PowerSGDState(None, 2, start_powerSGD_iter=2)
        training.model.register_comm_hook(state, topk_hook if hook == "top-k" else powerSGD_hook)
        wanted = applied = np.zeros(0)
        for i in range(6):
            training.step()  # lr is 0: the gradients are always the same
            assert training.bare.weight.grad is not None
            got = training.bare.weight.grad.numpy().astype(float)
            if i == 0:
                wanted = got.copy()  # uncompressed
            if i == 1:
                applied = np.zeros_like(got)
            if i >= 1:
                applied += got
        storage, k = place(training.bare.weight)
        lo, hi = storage.ranges[k]
        kept = state.error_dict[0][lo:hi].reshape(wanted.shape).astype(float)
        dist.all_reduce(Tensor._wrap(kept, None))
        return float(np.abs(5 * wanted - applied - kept / dist.get_world_size()).max() / np.abs(wanted).max())

    assert all(e < 1e-4 for e in on_ranks(2, main))


def test_a_hook_in_pytorchs_words() -> None:
    def doubling(state: list[int], bucket: GradBucket) -> Future[Tensor]:
        state.append(bucket.index())
        future: Future[Tensor] = Future()
        future.set_result(bucket.buffer() * 2)
        return future.then(lambda f: f.value() + 1)

    def main() -> list[Any]:
        model = nn.Linear(2, 1)
        wrapped = DistributedDataParallel(model)
        seen: list[int] = []
        wrapped.register_comm_hook(seen, doubling)
        wrapped(dg.ones(3, 2)).sum().backward()
        return [model.weight.grad.tolist(), model.bias.grad.tolist(), seen]  # type: ignore[union-attr]

    assert on_ranks(1, main) == [[[[7.0, 7.0]], [7.0], [0]]]
    assert on_ranks(2, main) == [[[[7.0, 7.0]], [7.0], [0]]] * 2


def test_a_hook_as_scripts_write_it() -> None:
    def main() -> list[float]:
        def hook(state: None, bucket: GradBucket) -> Any:
            work = dist.all_reduce(bucket.buffer().div_(dist.get_world_size()), async_op=True)
            assert work is not None
            return work.get_future().then(lambda future: future.value()[0])

        model = nn.Linear(1, 1, bias=False)
        wrapped = DistributedDataParallel(model)
        wrapped.register_comm_hook(None, hook)
        wrapped(dg.full((1, 1), 1.0 + dist.get_rank())).sum().backward()
        return model.weight.grad.tolist()[0]  # type: ignore[union-attr, no-any-return]

    assert on_ranks(3, main) == [[2.0]] * 3


def test_a_bucket_shows_its_parts() -> None:
    def main() -> None:
        model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
        wrapped = DistributedDataParallel(model, bucket_cap_mb=1e-9)
        indices, lasts, sizes = [], [], []

        def hook(state: None, bucket: GradBucket) -> Future[Tensor]:
            indices.append(bucket.index())
            lasts.append(bucket.is_last())
            sizes.append([tuple(p.shape) for p in bucket.parameters()])
            for p, g in zip(bucket.parameters(), bucket.gradients(), strict=True):
                assert g.shape == p.shape
            assert bucket.buffer().ndim == 1
            return default_hooks.allreduce_hook(None, bucket)

        wrapped.register_comm_hook(None, hook)
        wrapped(dg.ones(1, 3)).sum().backward()
        assert indices == [0, 1, 2, 3]
        assert lasts == [False, False, False, True]
        assert sorted(map(str, sizes)) == ["[(2, 2)]", "[(2, 3)]", "[(2,)]", "[(2,)]"]

    on_ranks(2, main)


def test_a_registered_hook_mid_way_keeps_optimizer_state_and_values() -> None:
    """From shared memory to messages after some steps: the same bits as messages from the start."""

    def main() -> bytes:
        model = nn.Linear(6, 5)
        with dg.no_grad():
            for p in model.parameters():
                p.copy_(dg.tensor(np.random.default_rng(p.ndim).standard_normal(p.shape)))
        wrapped = DistributedDataParallel(model)
        optimizer = optim.Adam(wrapped.parameters())
        for step in range(5):
            if step == 3:
                wrapped.register_comm_hook(None, default_hooks.allreduce_hook)
            optimizer.zero_grad()
            wrapped(dg.full((2, 6), 1.0 + dist.get_rank())).square().sum().backward()
            optimizer.step()
        return model.weight.detach().numpy().tobytes() + model.bias.detach().numpy().tobytes()

    results = {bits for way in ("messages", "shared") for bits in on_ranks(3, main, way)}
    assert len(results) == 1


def test_bad_hooks_are_refused() -> None:
    def main() -> None:
        wrapped = DistributedDataParallel(nn.Linear(2, 1))
        with pytest.raises(TypeError, match="Communication hook must be callable"):
            wrapped.register_comm_hook(None, 3)  # type: ignore[arg-type]
        wrapped.register_comm_hook(None, lambda state, bucket: 3)  # type: ignore[arg-type, return-value]
        with pytest.raises(RuntimeError, match="can only be called once"):
            wrapped.register_comm_hook(None, default_hooks.allreduce_hook)
        with pytest.raises(TypeError, match=r"rank 0: a communication hook must return a Future.*returned int"):
            wrapped(dg.ones(1, 2)).sum().backward()

    on_ranks(1, main)


def test_a_hook_that_brings_too_little_is_refused() -> None:
    def main() -> None:
        wrapped = DistributedDataParallel(nn.Linear(2, 1))

        def short(state: None, bucket: GradBucket) -> Future[Tensor]:
            future: Future[Tensor] = Future()
            future.set_result(dg.ones(1))
            return future

        wrapped.register_comm_hook(None, short)
        with pytest.raises(TypeError, match="elements, but short brought a tensor of 1"):
            wrapped(dg.ones(1, 2)).sum().backward()

    on_ranks(1, main)


def test_bad_states_are_refused() -> None:
    with pytest.raises(ValueError, match="start_powerSGD_iter must be greater than 1, got 1"):
        PowerSGDState(None, start_powerSGD_iter=1)
    with pytest.raises(ValueError, match="matrix_approximation_rank must be at least 1, got 0"):
        PowerSGDState(None, 0)
    with pytest.raises(ValueError, match="ratio must be greater than 0 and at most 1, got 2"):
        TopKState(ratio=2)
    with pytest.raises(ValueError, match="start_iter must be at least 1, got 0"):
        TopKState(start_iter=0)


def test_futures() -> None:
    future: Future[int] = Future()
    with pytest.raises(RuntimeError, match="has no value yet"):
        future.value()
    with pytest.raises(RuntimeError, match="nothing brings"):
        future.wait()
    later = future.then(lambda f: f.value() + 1)
    future.set_result(3)
    assert not later.done()
    assert later.wait() == 4
    assert later.done()
    with pytest.raises(RuntimeError, match="has its value already"):
        future.set_result(4)
