"""distgrad's pytest plugin: the conformance kit as tests, and a device without a GPU.

A plugin author's whole test of conformance, in which each check is a test of its own::

    @pytest.mark.distgrad("optimizer", "lion", options={"lr": 1e-3})
    def test_conforms(conformance):
        conformance()

A package of its own, so that pytest, which loads it wherever distgrad is installed, imports nothing of distgrad before
a test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

__all__ = ["conformance", "device_double", "pytest_configure", "pytest_generate_tests"]

MARKER = """\
distgrad(kind, plugin, **settings): what the fixture `conformance` checks: kind is "optimizer", "loss" or \
"communicator", plugin a registered name or a class; the settings are those of distgrad.testing.check"""


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each check, for tests that ask for ``conformance``."""
    if "conformance" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("distgrad")
    if marker is None or len(marker.args) != 2:
        raise pytest.UsageError(
            f"{metafunc.definition.nodeid} asks for the fixture conformance, so it needs the marker "
            '@pytest.mark.distgrad(kind, plugin), such as @pytest.mark.distgrad("optimizer", "my_optimizer")'
        )
    from distgrad import testing

    if marker.args[0] not in testing.CHECKS:
        raise pytest.UsageError(
            f"{metafunc.definition.nodeid}: unknown kind of plugin {marker.args[0]!r}; the kinds are: "
            f"{', '.join(testing.CHECKS)}"
        )
    metafunc.parametrize("conformance", list(testing.CHECKS[marker.args[0]]), indirect=True)


@pytest.fixture
def conformance(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Makes one check of the plugin that the marker ``distgrad`` names; fails or skips with the reason."""
    from distgrad import testing

    marker = request.node.get_closest_marker("distgrad")
    kind, plugin = marker.args
    name, settings = request.param, dict(marker.kwargs)

    def make_the_check() -> None:
        result = testing.CHECKS[kind][name].run(testing.subject(kind, plugin, **settings))
        if result.outcome == "skipped":
            pytest.skip(result.why)
        if result.outcome == "failed":
            pytest.fail(f"{plugin} fails the check {name}: {result.why}", pytrace=False)

    return make_the_check


@pytest.fixture
def device_double() -> Iterator[Any]:
    """Inside the test "cuda:0" and "cuda:1" exist and are strict doubles of CuPy's; the value counts transfers."""
    from distgrad.testing.fake_device import accelerator as double

    with double.device_double() as accelerator:
        yield accelerator
