"""Modules that are lists and dictionaries of parameters."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...autograd import Tensor
from ..base.module import Module
from ..parameter import Parameter
from .containers import pairs


def _as_parameter(value: Any, owner: str) -> Parameter:
    if isinstance(value, Parameter):
        return value
    if not isinstance(value, Tensor):
        raise TypeError(f"{owner} holds parameters and tensors, which become parameters; got {type(value).__name__}")
    return Parameter(value)


def _line(key: Any, parameter: Parameter, kind: Any) -> str:
    size = "x".join(map(str, parameter.shape))
    device = f" ({parameter.device})" if parameter.is_cuda else ""
    return f"  ({key}): Parameter containing: [{kind} of size {size}{device}]"


class ParameterList(Module):
    """A list of parameters that are found; tensors put in become parameters.  TypeError for anything else.

    >>> weights = nn.ParameterList([torch.ones(2), torch.zeros(3)])
    >>> [p.shape[0] for p in weights]
    [2, 3]
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        if values is not None:
            self.extend(values)

    def _name(self, index: Any) -> str:
        i, n = operator.index(index), len(self)
        if not -n <= i < n:
            raise IndexError(f"index {i} is out of range: there are {n} parameters")
        return str(i % n)

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parameters.values())

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self._parameters[self._name(index)]

    def __setitem__(self, index: int, value: Any) -> None:
        self._parameters[self._name(index)] = _as_parameter(value, "ParameterList")

    def append(self, value: Any) -> ParameterList:
        """Add a parameter at the end."""
        self.register_parameter(str(len(self)), _as_parameter(value, "ParameterList"))
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add parameters at the end."""
        if not isinstance(values, Iterable) or isinstance(values, Tensor):
            raise TypeError(f"ParameterList.extend should be called with an iterable, but got {type(values).__name__}")
        for value in list(values):
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Any]) -> ParameterList:
        return self.extend(values)

    def extra_repr(self) -> str:
        return "\n".join(_line(i, p, p.dtype) for i, p in enumerate(self))


class ParameterDict(Module):
    """A dictionary of parameters that are found; tensors put in become parameters.  TypeError for anything else.

    >>> weights = nn.ParameterDict({"scale": torch.ones(1)})
    >>> weights["scale"].requires_grad
    True
    """

    def __init__(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        super().__init__()
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key: str) -> Any:
        return self._parameters[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.register_parameter(key, _as_parameter(value, "ParameterDict"))

    def __delitem__(self, key: str) -> None:
        del self._parameters[key]

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __contains__(self, key: str) -> bool:
        return key in self._parameters

    def keys(self) -> Iterable[str]:
        """The keys."""
        return self._parameters.keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Keys and parameters."""
        return self._parameters.items()

    def values(self) -> Iterable[Any]:
        """The parameters."""
        return self._parameters.values()

    def pop(self, key: str) -> Any:
        """Take a parameter out, and return it."""
        return self._parameters.pop(key)

    def clear(self) -> None:
        """Take all out."""
        self._parameters.clear()

    def update(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add or replace parameters from a mapping or from pairs."""
        for key, value in pairs(parameters, "ParameterDict"):
            self[key] = value

    def extra_repr(self) -> str:
        return "\n".join(_line(k, p, p.type()) for k, p in self.items())


__all__ = ["ParameterDict", "ParameterList"]
