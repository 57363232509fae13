"""A device made of NumPy, by which code for CuPy is tested where there is none."""

from __future__ import annotations

from distgrad.testing.fake_device.accelerator import NUMBERS, StrictAccelerator, device_double

__all__ = [
    "NUMBERS",
    "StrictAccelerator",
    "device_double",
]
