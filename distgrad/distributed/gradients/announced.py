"""What forward passes announce of the backward pass to come: whether it is reduced, and of how many samples it is.

As in PyTorch, a forward pass whose gradients are to be reduced holds for one backward pass, the next one: whatever
backward passes come behind it before another such forward pass add to this rank's gradients alone.
"""

from __future__ import annotations

__all__ = ["Announced", "UNKNOWN", "refuse_unknown"]

UNKNOWN = -2  # samples: this rank cannot tell


class Announced:
    """Of one rank.

    Args:
        by_samples: whether samples count.

    Attributes:
        expecting: whether the next backward pass is reduced.
        always: whether every one is, whatever forward passes say.
    """

    def __init__(self, by_samples: bool) -> None:
        self.by_samples = by_samples
        self.expecting = self.always = False
        self._told: int | None = None  # by the user, for the next backward pass that is reduced
        self._added = 0  # of the backward passes since the last one that was reduced
        self._now: int | None = None  # of the training forward passes since the last backward pass; None: there is none
        self._of_eval = 0

    def forward(self, sync: bool, samples: int, training: bool) -> None:
        """A forward pass that records gradients; ``samples`` may be :data:`UNKNOWN`."""
        if sync:
            self.expecting = True
        if not self.by_samples:
            return
        if not training:  # an evaluation that forgot no_grad() must not count as training
            self._of_eval = samples
        elif self._now is None or self._now == samples:  # a cell is called several times for one batch
            self._now = samples
        else:
            self._now = UNKNOWN

    def reduce_all(self, on: bool) -> None:
        """Have every backward pass reduced from now on, or only those that a forward pass says so of."""
        self.always = self.expecting = on

    def tell(self, samples: int) -> None:
        """The user says of how many samples the next backward pass that is reduced is."""
        self._told = samples

    def backward(self) -> None:
        """A backward pass that is not reduced."""
        if self._now is not None:
            self._added = UNKNOWN if UNKNOWN in (self._now, self._added) else self._added + self._now
            self._now = None

    def weight(self) -> int:
        """Of how many samples the backward pass under way is, with those before it that were not reduced."""
        if self._told is not None:
            return self._told
        if UNKNOWN in (self._now, self._added):
            return UNKNOWN
        return self._added + (self._now or 0) or self._of_eval

    def reduced(self) -> None:
        """A backward pass was reduced."""
        self.expecting = self.always
        if self.by_samples:
            self._told, self._added, self._now = None, 0, None


def refuse_unknown(rank: int, samples: list[int]) -> None:
    """RuntimeError, on all ranks alike, where one does not know its number of samples."""
    if UNKNOWN not in samples:
        return
    unsure = ", ".join(str(r) for r, n in enumerate(samples) if n == UNKNOWN)
    raise RuntimeError(
        f"rank {rank}: weighting='samples' needs the number of samples of each backward(), which rank(s) {unsure} "
        "cannot tell: the forward pass was given no tensor, but a dict, tuple or list of them, or several were made "
        "with tensors of different lengths. Say it: model(inputs, batch_size=n), or model.samples(n) before "
        "backward(); or use weighting='ranks', the mean over ranks"
    )
