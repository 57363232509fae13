"""Lion against its own formula, written out in NumPy, and on a bowl."""

from __future__ import annotations

import numpy as np

import distgrad
from distgrad import optim


def test_lion_is_found_by_name() -> None:
    assert optim.get("lion") is optim.Lion
    assert "Lion" in dir(optim)


def test_two_steps_follow_the_paper() -> None:
    lr, (b1, b2), decay = 0.1, (0.9, 0.99), 0.01
    p = distgrad.tensor([1.0, -2.0, 0.5], dtype=distgrad.float64, requires_grad=True)
    optimizer = optim.Lion([p], lr=lr, betas=(b1, b2), weight_decay=decay)
    expected, momentum = np.array([1.0, -2.0, 0.5]), np.zeros(3)
    for _ in range(2):
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()
        gradient = 2 * expected
        direction = np.sign(b1 * momentum + (1 - b1) * gradient)
        expected = expected - lr * (direction + decay * expected)
        momentum = b2 * momentum + (1 - b2) * gradient
    np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-12)


def test_lion_descends_a_bowl() -> None:
    p = distgrad.tensor([3.0, -4.0], requires_grad=True)
    optimizer = optim.Lion([p])
    for i in range(1000):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - i / 1000)  # its steps are as long as lr: without decay it circles
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()
    assert float((p * p).sum().item()) < 1e-3
