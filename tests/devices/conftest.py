"""Devices: one suite, over every array library and device that there is.

``pytest tests/devices`` runs it on the strict double of CuPy (``distgrad.testing.fake_device.accelerator``), which
needs no GPU and refuses what CuPy refuses.  ``pytest -m gpu`` runs the very same tests on CuPy where it is installed
(``pip install 'distgrad[cuda12]'`` or ``[cuda13]``) and sees a GPU, else skips each and says so; what needs two GPUs
skips where there is one.

A test asks for ``device`` (one device, the current one) or ``apart`` (two, of which the second is not the current one).
What only a double can show, such as how often something is copied, asks for ``device_double``.
"""

from __future__ import annotations

import pytest

from distgrad import backend

LIBRARIES = ["double", pytest.param("cupy", marks=pytest.mark.gpu)]


@pytest.fixture(params=LIBRARIES)
def device(request: pytest.FixtureRequest) -> str:
    """The name of the device to work on."""
    if request.param == "double":
        request.getfixturevalue("device_double")
    return "cuda:0"


@pytest.fixture(params=LIBRARIES)
def apart(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The names of the current device and of another."""
    if request.param == "double":
        request.getfixturevalue("device_double")
    elif backend.device_count() < 2:
        pytest.skip(f"needs two GPUs, there is {backend.device_count()}")
    return "cuda:0", "cuda:1"
