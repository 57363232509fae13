"""Loss of sequences of labels that are not aligned with the steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distgrad import hookimpl
from distgrad.autograd import Tensor
from distgrad.nn.functional import ctc_loss
from distgrad.nn.modules.loss import Loss


def _steps(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """Logarithms of probabilities of ``n`` steps of three sequences, labels and lengths, for the conformance kit."""
    scores = rng.standard_normal((n, 3, 4))
    logs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    return logs, rng.integers(1, 4, (3, 2)), np.array([n, n, n - 1]), np.array([2, 1, 2])


class CTCLoss(Loss):
    """-log of the probability of all paths that give the target (Graves et al. 2006, doi:10.1145/1143844.1143891).

    ``loss(log_probs, targets, input_lengths, target_lengths)``: see :func:`distgrad.nn.functional.ctc_loss`.

    Args:
        blank: the class that stands for none.
        zero_infinity: 0 where a target is too long for its steps.

    >>> logs = torch.zeros(2, 1, 2).log_softmax(2)
    >>> nn.CTCLoss()(logs, torch.tensor([[1]]), [2], [1])
    tensor(0.2877)
    """

    targets = "others"
    conformance = dict(
        inputs=_steps,
        skip={
            "gradient": "as PyTorch's it is that before log_softmax, not with respect to the logarithms",
            "second_derivative": "it has none, as in PyTorch",
            "reductions": "its first dimension is that of steps, not of samples",
            "devices": "it copies three arrays of the labels' places from the host in each call",
            "shares": "its first dimension is that of steps, not of samples",
        },
    )

    def __init__(
        self,
        blank: int = 0,
        reduction: str = "mean",
        zero_infinity: bool = False,
    ) -> None:
        super().__init__(reduction=reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(
        self,
        log_probs: Tensor,
        targets: Tensor,
        input_lengths: Tensor | Sequence[int],
        target_lengths: Tensor | Sequence[int],
    ) -> Tensor:
        return ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )


@hookimpl
def distgrad_losses() -> dict[str, type]:
    return {"ctc": CTCLoss}
