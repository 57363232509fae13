"""The search for anomalies: NaN in gradients, and errors of a backward pass, with the forward call that they are of."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import backend
from .graph import Node, Output
from .observers import observe, stop
from .recording import Wrapped
from .tensor import TENSORS

__all__ = ["detect_anomaly", "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "set_detect_anomaly", "trace_rest"]

_OURS = str(Path(__file__).resolve().parents[1])
_state = {"enabled": False, "check_nan": True}


def is_anomaly_enabled() -> bool:
    """Whether anomalies are searched for.

    >>> torch.is_anomaly_enabled()
    False
    """
    return _state["enabled"]


def is_anomaly_check_nan_enabled() -> bool:
    """Whether, where anomalies are searched for, NaN is one.

    >>> torch.is_anomaly_check_nan_enabled()
    True
    """
    return _state["check_nan"]


def _has_nan(value: Any) -> bool:
    data = value._data if value.__class__ in TENSORS else value
    if not backend.is_array(data) or data.dtype.kind not in "fcV":
        return False
    return bool((data != data).any())


class _Traced(Wrapped):
    """The primitive of a node whose forward call is known, by the lines of its traceback; None: it is not."""

    def __init__(self, primitive: Any, stack: str | None) -> None:
        super().__init__(primitive)
        self._stack = stack

    def _tell(self, node: Node) -> None:
        name = self.primitive.node_name(node)
        if self._stack is None:
            found = "No forward pass information available. Enable detect anomaly during forward pass for more "
            found += "information."
        else:
            found = f"Traceback of forward call that caused the error:\n{self._stack}"
        warnings.warn(f"Error detected in {name}. {found}", stacklevel=6)

    def _watched(self, node: Node, pull: Any) -> Any:
        if not _state["enabled"]:
            return pull()
        try:
            found = pull()
        except Exception:
            self._tell(node)
            raise
        if _state["check_nan"]:
            for i, g in enumerate(found):
                if g is not None and _has_nan(g):
                    self._tell(node)
                    name = self.primitive.node_name(node)
                    raise RuntimeError(f"Function '{name}' returned nan values in its {i}th output.")
        return found

    def pull(self, node: Node, g: Any, wanted: Any, outs: Any = None) -> Any:
        return self._watched(node, lambda: self.primitive.pull(node, g, wanted, outs))

    def pull_tensors(self, node: Node, g: Any, wanted: Any) -> Any:
        return self._watched(node, lambda: self.primitive.pull_tensors(node, g, wanted))


def _trace(node: Node) -> None:
    frames = traceback.extract_stack()
    while len(frames) > 1 and frames[-1].filename.startswith(_OURS):
        frames.pop()
    node.primitive = _Traced(node.primitive, "".join(traceback.format_list(frames)))


def trace_rest(roots: Sequence[Any]) -> None:
    """Have the nodes below ``roots`` that were recorded before the search began take part in it."""
    seen: set[int] = set()
    waiting = [*roots]
    while waiting:
        edge = waiting.pop()
        if edge is None or id(edge) in seen:
            continue
        seen.add(id(edge))
        waiting.extend(edge.edges)
        if edge.__class__ is Output:
            continue
        if edge.__class__ is Node and not isinstance(edge.primitive, _Traced):
            edge.primitive = _Traced(edge.primitive, None)


def _switch(on: bool, check_nan: bool) -> None:
    if on and not _state["enabled"]:
        observe(_trace)
    elif _state["enabled"] and not on:
        stop(_trace)
    _state["enabled"], _state["check_nan"] = on, check_nan


class detect_anomaly:  # noqa: N801 - PyTorch's name
    """Inside, a backward pass that fails shows the forward call that it failed at, and NaN in a gradient is an error.

    What is recorded inside is traced in this thread.  Slow: for finding faults only.

    >>> import warnings
    >>> x = torch.tensor([-1.0], requires_grad=True)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     with torch.autograd.detect_anomaly():
    ...         torch.sqrt(x).backward()
    Traceback (most recent call last):
    RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan
        self._before = (_state["enabled"], _state["check_nan"])
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for "
            "debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self._before = (_state["enabled"], _state["check_nan"])
        _switch(True, self._check_nan)

    def __exit__(self, *exc: object) -> None:
        _switch(*self._before)


class set_detect_anomaly:  # noqa: N801 - PyTorch's name
    """Search for anomalies from now on, or no longer; as a context, until its end.

    >>> with torch.autograd.set_detect_anomaly(False):
    ...     torch.is_anomaly_enabled()
    False
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = (_state["enabled"], _state["check_nan"])
        _switch(mode, check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        _switch(*self._before)
