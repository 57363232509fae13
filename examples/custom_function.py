"""A function with a gradient of one's own: rounding, whose gradient is passed straight through.

    python examples/custom_function.py
    mpirun -n 2 python examples/custom_function.py

Output:
    rounded: [1.0, -2.0, 3.0]
    gradient: [2.0, -4.0, 6.0]
    x³ by hand, checked: True
"""

from __future__ import annotations

from typing import Any

import distgrad as torch
import distgrad.distributed as dist
from distgrad.autograd import Function, gradcheck


class Round(Function):
    """Rounds; the gradient takes it for the identity (Bengio et al. 2013, arXiv:1308.3432)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return g


class Cube(Function):
    """x³, with what backward needs saved by hand."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g


dist.init_process_group()
x = torch.tensor([1.2, -1.7, 2.9], requires_grad=True)
rounded = Round.apply(x)
(rounded**2).sum().backward()
checked = gradcheck(Cube.apply, torch.tensor([0.5, -1.5], dtype=torch.float64, requires_grad=True))
if dist.get_rank() == 0:
    print("rounded:", rounded.tolist())
    print("gradient:", x.grad.tolist())
    print("x³ by hand, checked:", checked)
dist.destroy_process_group()
