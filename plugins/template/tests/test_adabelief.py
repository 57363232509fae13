"""AdaBelief: distgrad's conformance kit, and its own formula, written out in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import optim


@pytest.mark.distgrad("optimizer", "adabelief")  # each check of the kit is a test of its own
def test_conforms(conformance: Any) -> None:
    conformance()


def test_it_is_found_by_name() -> None:
    assert optim.get("adabelief") is optim.AdaBelief
    assert "AdaBelief" in dir(optim)


def test_three_steps_follow_the_paper() -> None:
    lr, (b1, b2), eps, decay = 0.1, (0.9, 0.99), 1e-6, 0.01
    p = distgrad.tensor([1.0, -2.0, 0.5], dtype=distgrad.float64, requires_grad=True)
    optimizer = optim.AdaBelief([p], lr=lr, betas=(b1, b2), eps=eps, weight_decay=decay)
    theta, m, s = np.array([1.0, -2.0, 0.5]), np.zeros(3), np.zeros(3)
    for t in (1, 2, 3):
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()
        g = 2 * theta
        theta = theta - lr * decay * theta
        m = b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * (g - m) ** 2 + eps
        theta = theta - lr * (m / (1 - b1**t)) / (np.sqrt(s / (1 - b2**t)) + eps)
    np.testing.assert_allclose(p.detach().numpy(), theta, rtol=1e-12)
