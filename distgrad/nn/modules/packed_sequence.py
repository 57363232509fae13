"""Sequences of several lengths, as one batch without padding."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from ...autograd import Tensor
from ...ops.ranges import arange

__all__ = ["PackedSequence", "inverse"]


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


def inverse(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes ``permutation``; None of None."""
    if permutation is None:
        return None
    found = permutation.new_empty(permutation.shape)
    found[permutation] = arange(len(permutation), device=permutation.device)
    return found


class PackedSequence(_Packed):
    """Sequences of several lengths, made by :func:`distgrad.nn.utils.rnn.pack_padded_sequence` or
    :func:`~distgrad.nn.utils.rnn.pack_sequence`; recurrent layers take and give them.

    Args:
        data: the elements of all sequences (R, *), those of the first time step first.
        batch_sizes: how many sequences reach each time step (T), int64, on the CPU; it never grows.
        sorted_indices: which of the sequences given is the longest, the next, …: (N), int64; None as they are.
        unsorted_indices: where in that order each is; by default worked out from ``sorted_indices``.

    Raises:
        ValueError: ``batch_sizes`` that lie on a device.

    >>> packed = nn.utils.rnn.pack_sequence([torch.tensor([1, 2]), torch.tensor([3])])
    >>> packed.data, packed.batch_sizes
    (tensor([1, 3, 2]), tensor([2, 1]))
    """

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> Self:
        if unsorted_indices is None:
            unsorted_indices = inverse(sorted_indices)
        if batch_sizes is None:  # PyTorch's older form: a pair in place of the two
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be created manually. "
                "They should be instantiated by functions like pack_sequence and pack_padded_sequence in "
                "nn.utils.rnn. https://pytorch.org/docs/stable/nn.html#torch.nn.utils.rnn.pack_sequence"
            )
        assert batch_sizes is not None
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    @property
    def is_cuda(self) -> bool:
        """Whether the data lie on a GPU."""
        return self.data.is_cuda

    def is_pinned(self) -> bool:
        """Whether the data lie in pinned memory."""
        return self.data.is_pinned()

    def pin_memory(self) -> Self:
        """With the data, and all that is with them, in pinned memory."""
        given = (self.data.pin_memory(), self.batch_sizes, self.sorted_indices, self.unsorted_indices)
        return type(self)(*given)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """With the data as of :meth:`Tensor.to`; itself where that changes nothing."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        there = [None if i is None else i.to(data.device) for i in (self.sorted_indices, self.unsorted_indices)]
        return type(self)(data, self.batch_sizes, *there)

    def cuda(self, *args: Any, **kwargs: Any) -> Self:
        """With the data on a GPU."""
        return self.to(*args, **{"device": "cuda", **kwargs}) if not args else self.to(*args, **kwargs)

    def cpu(self, *args: Any, **kwargs: Any) -> Self:
        """With the data on the CPU."""
        return self.to(*args, device="cpu", **kwargs)

    def _as(self, name: str) -> Self:
        return self.to(getattr(self.data, name)().dtype)

    def double(self) -> Self:
        """With the data as float64."""
        return self._as("double")

    def float(self) -> Self:
        """With the data as float32."""
        return self._as("float")

    def half(self) -> Self:
        """With the data as float16."""
        return self._as("half")

    def long(self) -> Self:
        """With the data as int64."""
        return self._as("long")

    def int(self) -> Self:
        """With the data as int32."""
        return self._as("int")

    def short(self) -> Self:
        """With the data as int16."""
        return self._as("short")

    def char(self) -> Self:
        """With the data as int8."""
        return self._as("char")

    def byte(self) -> Self:
        """With the data as uint8."""
        return self._as("byte")
