"""What a gradient rule saves is declared with it; here each declaration is held to what the rule's code reads."""

from __future__ import annotations

import dis
from collections.abc import Callable
from typing import Any

import pytest

import distgrad
from distgrad.autograd import primitive
from distgrad.autograd.primitive import REGISTRY, Primitive
from distgrad.autograd.recording import code_of, parameters_of

WITH_RULES = [p for p in REGISTRY.values() if p.rules and p.forward.__module__.startswith("distgrad.")]


def names_read(rule: Callable[..., Any]) -> set[str]:
    """The parameters that ``rule`` reads, from its bytecode; of a decorated one what it decorates reads."""
    code = code_of(rule)
    read = set(code.co_cellvars)  # read by an inner function
    for step in dis.get_instructions(code):
        if step.opname.startswith("LOAD_FAST"):
            read.update(step.argval if isinstance(step.argval, tuple) else (step.argval,))
    return read


def found(prim: Primitive, rule: Callable[..., Any] | None) -> set[str]:
    """What ``rule`` reads of the result and of the inputs with rules, by the names that the declaration uses."""
    if rule is None:
        return set()
    read = names_read(rule)
    if prim.variadic:
        return read & {"ans", prim.variadic}
    own = parameters_of(rule)  # the gradient, the result, and the inputs, which a rule may name as it likes
    names = dict(zip(own[2:], prim.inputs[: len(prim.rules)], strict=False))
    return {name for parameter, name in names.items() if parameter in read} | ({"ans"} if own[1] in read else set())


@pytest.mark.parametrize("prim", WITH_RULES, ids=lambda p: p.name)
def test_a_rule_reads_what_it_declares_and_nothing_else(prim: Primitive) -> None:
    assert [set(names) for names in prim.saves] == [found(prim, rule) for rule in prim.rules]


def cube(*, saves: Any) -> Any:
    def forward(xp: Any, x: Any, scale: Any) -> Any:
        return scale * x**3

    made = primitive()(forward)
    try:
        made.defvjp(lambda g, ans, x, scale: scale * 3 * g * x**2, lambda g, ans, x, scale: g * x**3, saves=saves)
    finally:
        del REGISTRY["forward"]
    return made


@pytest.mark.parametrize(
    ("saves", "wanted", "kept"),
    [
        (("x scale", "x"), (True, True), (True, True, False)),
        (("x scale", "x"), (False, True), (True, False, False)),
        (("x scale", "x"), (True, False), (True, True, False)),
        ("x scale", (False, True), (True, True, False)),
        (None, (True, True), (True, True, True)),  # not declared: everything is kept
        (None, (False, True), (True, True, True)),
    ],
)
def test_what_is_declared_is_what_a_node_keeps(saves: Any, wanted: tuple[bool, ...], kept: tuple[bool, ...]) -> None:
    x, scale = (distgrad.tensor([2.0, 3.0], requires_grad=w) for w in wanted)
    out = cube(saves=saves)(x, scale)
    node = out.grad_fn
    assert (node.args[0] is x, node.args[1] is scale, node.ans is not None) == kept
    out.sum().backward()
    for leaf, gradient in ((x, [24.0, 81.0]), (scale, [8.0, 27.0])):
        assert (leaf.grad is None) == (not leaf.requires_grad)
        assert leaf.grad is None or leaf.grad.tolist() == gradient


@pytest.mark.parametrize(
    ("saves", "message"),
    [
        ("y", "forward: saves names 'y', but may name ans, x, scale"),
        (("x",), "forward: saves has 1 entries for 2 rules"),
    ],
)
def test_a_wrong_declaration_is_refused_where_it_is_made(saves: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cube(saves=saves)
