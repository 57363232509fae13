"""Sequences of several lengths: padded to one length, or packed without padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..._arguments import kind_of
from ...autograd import Tensor
from ...ops.creation import tensor
from ...ops.joining import cat
from ..modules.packed_sequence import PackedSequence, inverse

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
    "pad_sequence", "unpack_sequence", "unpad_sequence",
]  # fmt: skip

_UNSORTED = (
    "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
    "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you do not "
    "need ONNX exportability."
)


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes ``permutation`` (N), int64; None of None.

    >>> nn.utils.rnn.invert_permutation(torch.tensor([1, 2, 0]))
    tensor([2, 0, 1])
    """
    return inverse(permutation)


def _counts(lengths: Sequence[int]) -> list[int]:
    """How many of the ``lengths``, the longest first, reach each step."""
    counts, n = [], len(lengths)
    for step in range(lengths[0] if n else 0):
        while lengths[n - 1] <= step:
            n -= 1
        counts.append(n)
    return counts


def _positions(lengths: Sequence[int], n: int) -> list[int]:
    """The rows of a padded (T, ``n``) batch, laid out in one row, that packing keeps, in its order."""
    return [step * n + i for step, count in enumerate(_counts(lengths)) for i in range(count)]


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Sequences padded to one length, without the padding.

    Args:
        input: (T, N, *), or, if ``batch_first``, (N, T, *).
        lengths: of each sequence, N numbers, on the CPU.
        enforce_sorted: whether they must be given from the longest to the shortest; else they are put in that order,
            which :func:`pad_packed_sequence` undoes.

    Raises:
        RuntimeError: lengths that are not as many as sequences, not above 0, not in order or beyond T; nothing to pack.

    >>> nn.utils.rnn.pack_padded_sequence(torch.tensor([[1, 3], [2, 0]]), [2, 1]).data
    tensor([1, 3, 2])
    """
    sizes = tensor(lengths) if not isinstance(lengths, Tensor) else lengths
    if sizes.device.type != "cpu":
        raise RuntimeError(f"'lengths' argument should be a 1D CPU int64 tensor, but got {sizes.ndim}D {sizes.device}")
    if sizes.ndim != 1:
        raise RuntimeError(f"'lengths' argument should be a 1D CPU int64 tensor, but got {sizes.ndim}D cpu Long tensor")
    order = back = None
    given: list[int] = [int(n) for n in sizes.tolist()]
    if not enforce_sorted:
        order = tensor(sorted(range(len(given)), key=lambda i: -given[i]), device=input.device)
        back = inverse(order)
        input = input.index_select(0 if batch_first else 1, order)
        given.sort(reverse=True)
    x = input.transpose(0, 1) if batch_first else input
    if x.numel() == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    steps, n = x.shape[:2]
    if len(given) != n:
        raise RuntimeError(f"Expected `len(lengths)` to be equal to batch_size, but got {len(given)} (batch_size={n})")
    if min(given) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if given != sorted(given, reverse=True):
        raise RuntimeError(_UNSORTED)
    if given[0] > steps:
        raise RuntimeError(f"pack_padded_sequence: a length is {given[0]}, but the input has {steps} steps")
    rows = x.reshape(steps * n, *x.shape[2:])
    kept = rows if given[-1] == steps else rows.index_select(0, tensor(_positions(given, n), device=x.device))
    return PackedSequence(kept, tensor(_counts(given)), order, back)


def _lengths(sequence: PackedSequence) -> list[int]:
    """Of the sequences, in their own order."""
    sizes = sequence.batch_sizes.tolist()
    lengths = [sum(1 for n in sizes if n > i) for i in range(sizes[0])]
    return lengths if sequence.unsorted_indices is None else [lengths[i] for i in sequence.unsorted_indices.tolist()]


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """The sequences of ``sequence`` padded to one length, (T, N, *), and their lengths (N): what undoes
    :func:`pack_padded_sequence`.

    Args:
        batch_first: (N, T, *) instead.
        padding_value: what stands behind the shorter ones.
        total_length: T, by default the greatest length; ValueError below that.

    >>> packed = nn.utils.rnn.pack_sequence([torch.tensor([1, 2]), torch.tensor([3])])
    >>> nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
    (tensor([[1, 2],
            [3, 0]]), tensor([2, 1]))
    """
    sizes = sequence.batch_sizes.tolist()
    steps, n = len(sizes), sizes[0]
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {steps}"
            )
        steps = total_length
    data = sequence.data
    at = [step * n + i for step, count in enumerate(sizes) for i in range(count)]
    rows = data.new_full((steps * n, *data.shape[1:]), padding_value)
    rows = rows.index_copy(0, tensor(at, device=data.device), data)
    padded = rows.view(steps, n, *data.shape[1:])
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(1, sequence.unsorted_indices)
    return padded.transpose(0, 1) if batch_first else padded, tensor(_lengths(sequence))


def pad_sequence(
    sequences: Tensor | Iterable[Tensor], batch_first: bool = False, padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:  # fmt: skip
    """Sequences, each (L, *) with its own L, padded to the longest: (T, N, *), or, if ``batch_first``, (N, T, *).

    Args:
        padding_value: what is put behind the shorter ones, or, with ``padding_side="left"``, before them.

    Raises:
        RuntimeError: no sequences, other sizes than L that differ, another side.  TypeError: what are no tensors.

    >>> nn.utils.rnn.pad_sequence([torch.tensor([1, 2]), torch.tensor([3])], batch_first=True)
    tensor([[1, 2],
            [3, 0]])
    """
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    given = list(sequences.unbind(0) if isinstance(sequences, Tensor) else sequences)
    if not given:
        raise RuntimeError("received an empty list of sequences")
    for i, s in enumerate(given):
        if not isinstance(s, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {kind_of(s)}")
    steps, tail = max(len(s) for s in given), given[0].shape[1:]
    for s in given:
        if s.shape[1:] != tail:
            raise RuntimeError(f"pad_sequence: sizes behind the first must agree: {list(tail)} and {[*s.shape[1:]]}")
    parts: list[Any] = []
    for s in given:
        fill = [s.new_full((steps - len(s), *tail), padding_value)] if len(s) < steps else []
        parts += [s, *fill] if padding_side == "right" else [*fill, s]
    padded = cat(parts).view(len(given), steps, *tail)
    return padded if batch_first else padded.transpose(0, 1).contiguous()


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences (L, *) of a padded batch (T, N, *), or (N, T, *): what undoes :func:`pad_sequence`.

    >>> nn.utils.rnn.unpad_sequence(torch.tensor([[1, 3], [2, 0]]), torch.tensor([2, 1]))
    [tensor([1, 2]), tensor([3])]
    """
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [s[: int(n)] for s, n in zip(rows, lengths.tolist(), strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences, each (L, *) with its own L, as one packed batch; see :func:`pack_padded_sequence`.

    >>> nn.utils.rnn.pack_sequence([torch.tensor([3]), torch.tensor([1, 2])], enforce_sorted=False).data
    tensor([1, 3, 2])
    """
    lengths = [len(s) for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed batch, each (L, *): what undoes :func:`pack_sequence`.

    >>> nn.utils.rnn.unpack_sequence(nn.utils.rnn.pack_sequence([torch.tensor([1, 2]), torch.tensor([3])]))
    [tensor([1, 2]), tensor([3])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
