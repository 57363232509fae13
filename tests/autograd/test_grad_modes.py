"""Whether operations are recorded: context managers, decorators, generators, threads."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import distgrad


def recorded() -> bool:
    return (distgrad.ones(1, requires_grad=True) * 2).requires_grad


@pytest.mark.parametrize("mode", [distgrad.no_grad, distgrad.inference_mode, lambda: distgrad.set_grad_enabled(False)])
def test_as_context_manager_and_decorator(mode: Any) -> None:
    with mode():
        assert not recorded()
        assert not distgrad.is_grad_enabled()
        with distgrad.enable_grad():
            assert recorded()
        assert not recorded()
    assert recorded()
    assert mode()(recorded)() is False
    assert recorded()


def test_decorators_without_parentheses() -> None:
    assert distgrad.no_grad(recorded)() is False
    assert distgrad.inference_mode(recorded)() is False
    with distgrad.no_grad():
        assert distgrad.enable_grad(recorded)() is True
    assert recorded.__name__ == distgrad.no_grad(recorded).__name__


def test_an_exception_restores_the_mode() -> None:
    with pytest.raises(ValueError, match="inside"), distgrad.no_grad():
        raise ValueError("inside")
    assert distgrad.is_grad_enabled()


def test_one_object_can_be_entered_twice_and_nested() -> None:
    mode = distgrad.no_grad()
    for _ in range(2):
        with mode, mode:
            assert not recorded()
    assert recorded()


def test_set_grad_enabled_as_statement() -> None:
    distgrad.set_grad_enabled(False)
    try:
        assert not recorded()
    finally:
        distgrad.set_grad_enabled(True)
    assert recorded()


def test_set_grad_enabled_as_decorator_does_not_act_where_it_stands() -> None:
    function = distgrad.set_grad_enabled(False)(recorded)
    assert distgrad.is_grad_enabled()
    assert function() is False


def test_a_decorated_generator_switches_only_while_it_runs() -> None:
    @distgrad.no_grad()
    def modes() -> Any:
        got = yield recorded()
        assert got == "sent"
        yield recorded()

    generator = modes()
    assert next(generator) is False
    assert recorded()
    assert generator.send("sent") is False
    assert recorded()


def test_inference_mode_and_its_off_switch() -> None:
    with distgrad.inference_mode():
        assert distgrad.is_inference_mode_enabled()
        with distgrad.inference_mode(False):
            assert recorded()
    assert not distgrad.is_inference_mode_enabled()


def test_each_thread_has_its_own_mode() -> None:
    seen = []
    with distgrad.no_grad():
        thread = threading.Thread(target=lambda: seen.append(recorded()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_leaves_are_made_as_usual_without_recording() -> None:
    with distgrad.no_grad():
        x = distgrad.ones(2, requires_grad=True)
        y = x * 2
    assert (x.requires_grad, x.is_leaf) == (True, True)
    assert (y.requires_grad, y.is_leaf, y.grad_fn) == (False, True, None)
