"""Hooks around steps and state dicts."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

import distgrad
from distgrad import optim
from distgrad.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from tests.optim import every
from tests.optim.every import make

TWO = ((2, 3), (3,))


def parameters(t: Any) -> list[Any]:
    return every.parameters(t, shapes=TWO)


def step(optimizer: Any, params: list[Any]) -> None:
    every.steps(optimizer, params, 1)


def test_hooks_around_steps_and_state_dicts() -> None:
    params = parameters(distgrad)
    optimizer = optim.SGD(params, lr=0.1)
    calls: list[str] = []
    handles = [
        optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append("pre")),
        optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append("post")),
        optimizer.register_state_dict_pre_hook(lambda o: calls.append("save")),
        optimizer.register_state_dict_post_hook(lambda o, d: {**d, "more": 1}),
        optimizer.register_load_state_dict_pre_hook(lambda o, d: calls.append("load")),
        optimizer.register_load_state_dict_post_hook(lambda o: calls.append("loaded")),
    ]
    step(optimizer, params)
    saved = optimizer.state_dict()
    assert saved["more"] == 1
    optimizer.load_state_dict(saved)
    assert calls == ["pre", "post", "save", "load", "loaded"]
    for h in handles:
        h.remove()
    step(optimizer, params)
    assert "more" not in optimizer.state_dict()
    assert len(calls) == 5


def around(t: Any, pre: Any, post: Any) -> tuple[list[Any], Any, Any]:
    """What hooks see and do, in order."""
    seen: list[Any] = []
    params = parameters(t)
    optimizer = make(t, "SGD", params)

    def note(word: str) -> Any:
        def hook(*given: Any) -> None:
            same = len(given) > 1 and isinstance(given[1], tuple) and given[1][0] is given[0]
            seen.append((word, same, len(given[1]) if same else None))

        return hook

    def replace(o: Any, args: Any, kwargs: Any) -> Any:
        return (o, lambda: 7.0), {}

    handles = [
        pre(note("every pre")),
        post(note("every post")),
        optimizer.register_step_pre_hook(note("pre")),
        optimizer.register_step_pre_hook(replace),
        optimizer.register_step_pre_hook(note("pre after")),
        optimizer.register_step_post_hook(note("post")),
    ]
    result = optimizer.step()
    for word in ("state_dict_pre", "state_dict_post", "load_state_dict_pre", "load_state_dict_post"):
        register = getattr(optimizer, f"register_{word}_hook")
        register(note(word))
        register(note(f"{word} first"), prepend=True)
    optimizer.load_state_dict(optimizer.state_dict())
    for h in handles:
        h.remove()
    optimizer.step(lambda: 3.0)
    return seen, result, optimizer.step(closure=lambda: 4.0)


def test_hooks_replace_arguments_and_stand_in_order() -> None:
    seen, result, last = around(distgrad, register_optimizer_step_pre_hook, register_optimizer_step_post_hook)
    assert (result, last) == (7.0, 4.0)
    assert seen[:5] == [
        ("every pre", True, 1), ("pre", True, 1), ("pre after", True, 2), ("post", True, 2), ("every post", True, 2),
    ]  # fmt: skip
    assert [word for word, *_ in seen[5:]] == [
        "state_dict_pre first", "state_dict_pre", "state_dict_post first", "state_dict_post",
        "load_state_dict_pre first", "load_state_dict_pre", "load_state_dict_post first", "load_state_dict_post",
    ]  # fmt: skip


@pytest.mark.torch
def test_hooks_are_called_as_pytorch_calls_them() -> None:
    torch = pytest.importorskip("torch")
    theirs = importlib.import_module(f"{torch.__name__}.optim.optimizer")
    assert around(distgrad, register_optimizer_step_pre_hook, register_optimizer_step_post_hook) == around(
        torch, theirs.register_optimizer_step_pre_hook, theirs.register_optimizer_step_post_hook
    )


def test_a_hook_that_returns_something_else_is_an_error() -> None:
    params = parameters(distgrad)
    optimizer = optim.SGD(params, lr=0.1)
    optimizer.register_step_pre_hook(lambda *a: 3)
    with pytest.raises(RuntimeError, match=r"None or a pair \(args, kwargs\), but .* returned 3"):
        optimizer.step()


def test_a_step_that_calls_its_parents_runs_hooks_once() -> None:
    class Mine(optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    params = parameters(distgrad)
    optimizer = Mine(params, lr=0.1)
    calls = []
    optimizer.register_step_post_hook(lambda *a: calls.append(1))
    step(optimizer, params)
    assert calls == [1]
