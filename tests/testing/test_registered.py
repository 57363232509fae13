"""Everything that is registered conforms: a new built-in is checked unasked."""

from __future__ import annotations

import pytest

from distgrad import registry
from distgrad.hookspecs import HOOKS
from distgrad.testing import CHECKS, check
from tests.helpers.crew import run_together

BUILT_IN = [(p.kind, p.name) for p in registry.plugins() if p.distribution == "distgrad"]
PROCESSES = {"mpi", "shared"}  # communicators whose ranks mpirun starts

# What may be skipped, and a part of the reason; whatever else is skipped fails.
SKIPPED: dict[str, str | tuple[str, ...]] = {
    "empty_parameter": "it takes",  # matrices, or sparse gradients, only
    "late_start": "evaluates a closure",
    "maximize": ("sparse", "it has no option maximize"),
    "param_groups": "it takes one group only",
    "ranks": "sparse gradients",
    "shared_memory": ("sparse gradients", "cannot share memory here"),
    "strided": "sparse gradients",
    "block_size": "works on whole tensors",
    "tensor_layout": "works on whole tensors",
    "sharding": "works on whole tensors",
    "send_and_recv": "there is 1 rank",
    "messages": "there is 1 rank",
    "agreement": "there is 1 rank",
    "reductions": "takes no reduction",
}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [plugin for plugin in BUILT_IN if plugin[1] not in PROCESSES])
def test_a_built_in_conforms(kind: str, name: str) -> None:
    report = check(kind, name)
    assert report.ok, str(report)
    declared = getattr(registry.get(kind, name), "conformance", {}).get("skip", {})
    for result in report.results:
        if result.outcome == "skipped" and result.check not in declared:
            known = SKIPPED.get(result.check, "no reason known")
            assert any(reason in result.why for reason in ([known] if isinstance(known, str) else known)), str(report)
    assert sum(r.outcome == "passed" for r in report.results) >= len(report.results) / 2, str(report)


@pytest.mark.mpi
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_a_communicator_of_processes_conforms_on_every_rank(name: str, size: int) -> None:
    program = f"""
import sys
from distgrad.cli import main
sys.exit(main(["plugins", "check", "{name}", "--kind", "communicator"]))
"""
    job = run_together(size, program)
    skipped = 3 if size == 1 else 0  # those of two ranks
    job.check(**{f"{len(CHECKS['communicator']) - skipped} passed, 0 failed, {skipped} skipped": size})


def test_each_kind_has_its_checks_and_each_says_what_it_asserts() -> None:
    assert set(CHECKS) == set(HOOKS)
    for kind, checks in CHECKS.items():
        assert len(checks) >= 10, kind
        for one in checks.values():
            assert one.asserts, one
            assert len(one.asserts) <= 110, one
