"""The list of packages, found rather than written down, so that a new sub-package is never left out of a wheel."""

from __future__ import annotations

from setuptools import find_packages, setup

packages = find_packages(include=["distgrad", "distgrad.*"])
for kind in ("optimizers", "losses", "communicators", "pytest"):
    packages += [f"distgrad_{kind}", *(f"distgrad_{kind}.{name}" for name in find_packages(f"plugins/{kind}"))]

setup(packages=packages)
