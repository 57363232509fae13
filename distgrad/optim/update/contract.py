"""What an optimizer's class declares, looked over when one is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["refuse_names", "refuse_unknown"]


def refuse_names(cls: Any, defaults: Mapping[str, Any], state: Iterable[str]) -> None:
    """TypeError for a name that stands for two things."""
    state = tuple(state)
    for name in (*state, *cls.numbers, *cls.common, *cls.sums):
        if name in ("step", cls.counter):
            raise TypeError(
                f"{cls.__name__} declares {name!r}, which is the number of steps that each parameter has had (the "
                f"keyword step of update(), state[p][{name!r}]): take another name"
            )
    seen: set[str] = set()
    for kind, names in (("numbers", cls.numbers), ("common", cls.common), ("sums", cls.sums)):
        for name in names:
            if name in defaults or name in seen or (kind == "numbers" and name in state):
                other = "a hyperparameter" if name in defaults else "another of its names"
                raise TypeError(f"{cls.__name__} declares {name!r} in {kind}, which is {other} too: take another name")
            seen.add(name)
    if bool(cls.sums) != hasattr(cls, "measure") or bool(cls.sums) != hasattr(cls, "conclude"):
        raise TypeError(
            f"{cls.__name__}: sums, measure() and conclude() go together; there is "
            + (", ".join(n for n in ("sums", "measure", "conclude") if getattr(cls, n, None)) or "none of them")
        )
    if cls.common and not cls.sums:
        raise TypeError(f"{cls.__name__}: common numbers are changed by conclude(), which it does not have")


def refuse_unknown(cls: Any, defaults: Mapping[str, Any], given: Iterable[str], made: Iterable[str]) -> None:
    """TypeError for a keyword-only parameter that nobody gives."""
    given = set(given)
    late = given | set(defaults)
    early = cls.advance is not None  # what it returns is for update() and measure()
    wanted = [
        *(made if made else ()),
        *cls._advance_reads,
        *(() if early else cls._measure_reads),
        *(name for name in cls._conclude_reads if name not in cls.sums),
        *(() if early or cls.sums else cls._reads),
    ]
    own = {"step", *cls.numbers}  # of each parameter: what all have in common is made without them
    unknown = [n for n in dict.fromkeys(wanted) if n not in late]
    unknown += [n for n in cls._conclude_reads if n in own] + [n for n in made if n in given]
    if unknown:
        raise TypeError(
            f"{cls.__name__} asks for {', '.join(unknown)}; there are its hyperparameters "
            f"({', '.join(defaults)}), {', '.join(sorted(given))}, and for update() what advance() returns"
        )
