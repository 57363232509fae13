"""The types of results that have names: ``torch.return_types.topk`` and its like.

>>> torch.topk(torch.tensor([1.0, 3.0, 2.0]), 2)
torch.return_types.topk(
values=tensor([3., 2.]),
indices=tensor([1, 2]))
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

FIELDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("cummax", "cummin", "kthvalue", "max", "median", "min", "mode", "nanmedian", "sort", "topk"),
        ("values", "indices"),
    ),
    "aminmax": ("min", "max"),
    "linalg_eigh": ("eigenvalues", "eigenvectors"),
    "linalg_qr": ("Q", "R"),
    "linalg_slogdet": ("sign", "logabsdet"),
    "linalg_svd": ("U", "S", "Vh"),
    "qr": ("Q", "R"),
    "slogdet": ("sign", "logabsdet"),
    "svd": ("U", "S", "V"),
}


class Structure(tuple[Any, ...]):
    """A tuple whose elements have names, too; made, as PyTorch's, from a sequence of them."""

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()
    n_fields = n_sequence_fields = 0
    n_unnamed_fields = 0

    def __new__(cls, values: Sequence[Any]) -> Any:
        if not isinstance(values, Iterable):
            raise TypeError("constructor requires a sequence")
        self = super().__new__(cls, values)
        if len(self) != cls.n_fields:
            name = f"torch.return_types.{cls.__name__}"
            raise TypeError(f"{name}() takes a {cls.n_fields}-sequence ({len(self)}-sequence given)")
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (tuple(self),)

    def __repr__(self) -> str:
        parts = ",\n".join(f"{n}={v!r}" for n, v in zip(self.__match_args__, self, strict=True))
        return f"torch.return_types.{type(self).__name__}(\n{parts})"


def structure(name: str, fields: Sequence[str]) -> Any:
    """The type of results called ``name`` whose elements are called ``fields``."""
    names = tuple(fields)
    n = len(names)
    known: dict[str, Any] = {"__slots__": (), "__module__": __name__, "__match_args__": names}
    known.update({"n_fields": n, "n_sequence_fields": n})
    known.update({field: property(itemgetter(i)) for i, field in enumerate(names)})
    return type(name, (Structure,), known)


for _name, _fields in FIELDS.items():
    globals()[_name] = structure(_name, _fields)

__all__ = sorted(FIELDS)
