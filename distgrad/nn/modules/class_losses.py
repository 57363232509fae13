"""Losses with parameters of their own: they map features to classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ...autograd import Tensor
from ...ops.joining import cat
from ...ops.ranges import arange
from .. import functional as F
from ..base.module import Module
from .containers import ModuleList, Sequential
from .linear import Linear
from .loss import WeightedLoss

__all__ = ["AdaptiveLogSoftmaxWithLoss", "LinearCrossEntropyLoss"]


class _ASMoutput(NamedTuple):
    output: Tensor
    loss: Tensor


class LinearCrossEntropyLoss(WeightedLoss):
    """Cross entropy of the logits that a linear layer of the loss itself gives.

    ``loss(input, target)``: features (N, in_features) or (in_features), and classes (N), () or (N, *out_features), or
    probabilities (N, num_classes, *out_features).

    Args:
        in_features, num_classes: the sizes of the layer.
        out_features: how many sets of classes there are, in several dimensions.
        bias: whether the layer has one.
        device, dtype: of its parameters; by default the CPU and the default dtype.
        reduction, weight, ignore_index, label_smoothing: as of :class:`CrossEntropyLoss`.
        options: taken, and without effect on the values.

    >>> nn.LinearCrossEntropyLoss(3, 4)(torch.ones(2, 3), torch.tensor([0, 3])).shape
    torch.Size([])
    """

    targets = "classes"

    def __init__(
        self, in_features: int, num_classes: int, *, out_features: tuple[int, ...] = (), bias: bool = False,
        device: Any = None, dtype: Any = None, reduction: str = "mean", weight: Tensor | None = None,
        ignore_index: int | None = None, label_smoothing: float = 0.0, options: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(weight, reduction=reduction)
        self.num_classes = num_classes
        self.out_features = tuple(out_features)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.options = options
        self.linear = Linear(in_features, num_classes * math.prod(self.out_features), bias, device, dtype)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        weight, bias = self.linear.weight, self.linear.bias
        if self.out_features:
            weight = weight.view(self.num_classes, *self.out_features, weight.shape[1])
            bias = None if bias is None else bias.view(self.num_classes, *self.out_features)
        return F.linear_cross_entropy(
            input, weight, target, linear_bias=bias, weight=self.weight, reduction=self.reduction,
            ignore_index=self.ignore_index, label_smoothing=self.label_smoothing, options=self.options,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, out_features={self.out_features}, "
            f"bias={self.linear.bias is not None}, reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )


class AdaptiveLogSoftmaxWithLoss(Module):
    """Cross entropy over many classes, of which the rare ones lie in clusters behind the frequent ones (Grave et al.
    2017, arXiv:1609.04309).

    ``loss(input, target)``: features (N, in_features) or (in_features), and classes (N) or (), 0 being the most
    frequent; it gives the named tuple (output, loss): the log-probabilities of the targets, and their negative mean.

    Args:
        in_features, n_classes: how many features and classes.
        cutoffs: where clusters begin: increasing, above 0 and below ``n_classes``.
        div_value: how much smaller the features of each next cluster are.
        head_bias: whether the layer of the frequent classes has a bias.
        device, dtype: of the parameters; by default the CPU and the default dtype.

    Raises:
        ValueError: cutoffs that are none, or leave a cluster without features.
        RuntimeError: input and target that do not fit.

    >>> loss = nn.AdaptiveLogSoftmaxWithLoss(8, 10, [4, 7], div_value=2.0)
    >>> loss(torch.ones(3, 8), torch.tensor([0, 5, 9])).output.shape
    torch.Size([3])
    """

    def __init__(
        self, in_features: int, n_classes: int, cutoffs: Sequence[int], div_value: float = 4.0, head_bias: bool = False,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        given = list(cutoffs)
        if len(given) == 0:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        rising = given == sorted(set(given)) and given[0] > 0 and given[-1] <= n_classes - 1
        if not rising or any(int(c) != c for c in given):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each "
                "value is between 1 and n_classes-1"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*given, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, head_bias, device, dtype)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            size = int(in_features // div_value ** (i + 1))
            classes = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(
                    Linear(in_features, size, False, device, dtype), Linear(size, classes, False, device, dtype)
                )
            )

    def reset_parameters(self) -> None:
        """Draw all layers anew."""
        self.head.reset_parameters()
        for first, second in self.tail:
            first.reset_parameters()
            second.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        n = target_.ndim
        if n == 1:
            if input_.shape[0] != target_.shape[0]:
                raise RuntimeError("Input and target should have the same size in the batch dimension.")
            if input_.ndim != 2:
                raise RuntimeError(
                    f"1D target tensor expects 2D input tensors, but found inputs with size {input_.size()}"
                )
        elif n == 0:
            if input_.ndim != 1:
                raise RuntimeError(
                    f"0D target tensor expects 1D input tensors, but found inputs with size {input_.size()}"
                )
        else:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        input, target = (input_, target_) if n else (input_.unsqueeze(0), target_.unsqueeze(0))
        if target.numel() and not 0 <= int(target.min()) <= int(target.max()) < self.n_classes:
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range [{int(target.min())}, "
                f"{int(target.max())}] were found. "
            )
        output = self._of_targets(input, target)
        output = output if n else output.squeeze(0)
        return _ASMoutput(output, (-output).mean())

    def _of_targets(self, input: Tensor, target: Tensor) -> Tensor:
        """The log-probability of each row's target: only the clusters that are named are computed."""
        places, values = [], []
        head = F.log_softmax(self.head(input), 1)
        for i in range(self.n_clusters + 1):
            low, high = (0, *self.cutoffs)[i : i + 2]
            within_cluster: Any = target >= low
            rows = (within_cluster & (target < high)).nonzero().squeeze(1)
            if rows.numel() == 0:
                continue
            within = target.index_select(0, rows) - low
            own = head.index_select(0, rows)
            if i == 0:
                found = own.gather(1, within.unsqueeze(1))
            else:
                cluster = F.log_softmax(self.tail[i - 1](input.index_select(0, rows)), 1)
                found = cluster.gather(1, within.unsqueeze(1)) + own[:, self.shortlist_size + i - 1].unsqueeze(1)
            places.append(rows)
            values.append(found.squeeze(1))
        if not places:
            return input.new_zeros(0)
        order = cat(places)
        back = order.new_empty(order.shape)
        back[order] = arange(len(order), device=order.device)
        return cat(values).index_select(0, back)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes: (N, in_features) → (N, n_classes)."""
        head = F.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            at = self.shortlist_size + i
            parts.append(F.log_softmax(tail(input), 1) + head[:, at : at + 1])
        return cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The likeliest class of each row: (N, in_features) → (N)."""
        return self.log_prob(input).argmax(1)
