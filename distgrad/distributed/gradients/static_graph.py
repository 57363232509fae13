"""``static_graph=True``: every backward that reduces uses the parameters that the first one used, or is an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from distgrad.autograd import Tensor

__all__ = ["StaticGraph"]


class StaticGraph:
    """Watches which parameters get a gradient, also in backward passes inside ``no_sync()``.

    Gradients that were there before tell nothing: a loop may keep them from one step to the next.

    Args:
        rank: this one, for errors.
        params: what is watched.
        names: the parameters', for errors.
    """

    def __init__(self, rank: int, params: Sequence[Tensor], names: Sequence[str]) -> None:
        self.rank, self.names = rank, list(names)
        self._used = np.zeros(len(params), np.bool_)
        self._first: np.ndarray | None = None
        self._handles = [p.register_post_accumulate_grad_hook(self._mark(k)) for k, p in enumerate(params)]

    def leave(self) -> None:
        """Watch no longer."""
        for handle in self._handles:
            handle.remove()

    def _mark(self, position: int) -> Callable[[Tensor], None]:
        def used(_: Tensor) -> None:
            self._used[position] = True

        return used

    def check(self) -> None:
        """A backward that reduces has ended.  RuntimeError where it used other parameters than the first."""
        used, self._used = self._used, np.zeros_like(self._used)
        if self._first is None:
            self._first = used
            return
        changed = np.flatnonzero(self._first != used)
        if not changed.size:
            return
        first = int(changed[0])
        now, then = ("used", "not used") if used[first] else ("not used", "used")
        more = f" (and {changed.size - 1} more)" if changed.size > 1 else ""
        raise RuntimeError(
            f"rank {self.rank}: static_graph=True, but the training graph has changed in this iteration: parameter "
            f"'{self.names[first]}'{more} was {now} in this backward and was {then} in the first"
        )
