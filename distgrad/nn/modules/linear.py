"""Linear maps."""

from __future__ import annotations

import math
from typing import Any

from ..._arguments import sizes_of
from ...autograd import Tensor
from ...ops import creation
from ...ops.nn import linear as of_arrays
from ...ops.nn.bilinear import bilinear
from .. import init
from ..base.module import Module
from ..parameter import Parameter
from ._elsewhere import elsewhere


class Identity(Module):
    """Its input, whatever arguments it is made with.

    >>> nn.Identity()(torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Linear(Module):
    """``input @ weight.T + bias``: input (*, in_features), output (*, out_features).

    Weight and bias start uniform on ±1/sqrt(in_features).

    Args:
        in_features, out_features: sizes of the last dimension of input and output.
        bias: whether there is one.
        device, dtype: of the parameters; by default the CPU and the default dtype.

    Attributes:
        weight: (out_features, in_features).  bias: (out_features), or None.

    >>> layer = nn.Linear(3, 2)
    >>> layer(torch.ones(5, 3)).shape, layer.weight.shape
    (torch.Size([5, 2]), torch.Size([2, 3]))
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        sizes_of("Linear", in_features=in_features, out_features=out_features)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(creation.empty(out_features, in_features, device=device, dtype=dtype))
        made = Parameter(creation.empty(out_features, device=device, dtype=dtype)) if bias else None
        self.register_parameter("bias", made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # the bound is then 1 / sqrt(in_features)
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        own = self._parameters  # faster than two attributes
        try:
            bias, weight = own["bias"], own["weight"]
        except KeyError:  # computed from others: parametrized, pruned
            bias, weight = self.bias, self.weight
        return of_arrays.unbiased(input, weight) if bias is None else of_arrays.biased(bias, input, weight)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class NonDynamicallyQuantizableLinear(Linear):
    """A :class:`Linear` that :class:`MultiheadAttention` ends with, under the name that PyTorch prints.

    >>> nn.MultiheadAttention(2, 1).out_proj
    NonDynamicallyQuantizableLinear(in_features=2, out_features=2, bias=True)
    """


class Bilinear(Module):
    """x1ᵀ A x2 + b for each output: inputs (*, in1_features) and (*, in2_features), output (*, out_features).

    Weight and bias start uniform on ±1/sqrt(in1_features).

    Args:
        in1_features, in2_features, out_features: sizes of the last dimensions.
        bias: whether there is one.
        device, dtype: of the parameters; by default the CPU and the default dtype.

    Attributes:
        weight: (out_features, in1_features, in2_features).  bias: (out_features), or None.

    Raises:
        ValueError: ``in1_features`` below 1.

    >>> nn.Bilinear(2, 3, 4)(torch.ones(5, 2), torch.ones(5, 3)).shape
    torch.Size([5, 4])
    """

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"in1_features must be > 0, but got {in1_features}")
        sizes_of("Bilinear", in2_features=in2_features, out_features=out_features)
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        made = creation.empty(out_features, in1_features, in2_features, device=device, dtype=dtype)
        self.weight = Parameter(made)
        self.register_parameter(
            "bias", Parameter(creation.empty(out_features, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in1_features)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


_ELSEWHERE = ["LazyLinear"]


def __getattr__(name: str) -> Any:
    return elsewhere(__name__, name, _ELSEWHERE)
