"""Whether operations are recorded: a flag of each thread, switched by context managers that are also decorators."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])


class _Mode(threading.local):
    enabled = True
    inference = False
    callbacks: list[Callable[[], None]] | None = None  # to run at the end of the backward pass that is running
    observers: tuple[Callable[[Any], None], ...] = ()  # of what is recorded; see observers.py
    pairs: tuple[Any, ...] = ()  # of hooks for saved tensors, the innermost last; see saved_tensors.py


recording = _Mode()


class _Switch:
    """Set the flags of :data:`recording` for a block, or for every call of a function; nests and is re-entrant."""

    enabled: bool
    inference: bool | None = None  # None: as it was

    def __init__(self) -> None:
        self._before: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        self._before.append((recording.enabled, recording.inference))
        recording.enabled = self.enabled
        if self.inference is not None:
            recording.inference = self.inference

    def __exit__(self, *exc: object) -> None:
        recording.enabled, recording.inference = self._before.pop()

    def clone(self) -> _Switch:
        return type(self)()

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function):
            return self._around_generator(function)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.clone():  # its own: the function may run in several threads at once
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]

    def _around_generator(self, function: Any) -> Any:
        """Switched only while the generator runs, not while its caller does."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            resume: Any = functools.partial(next, generator)
            try:
                while True:
                    with self.clone():
                        value = resume()
                    try:
                        given = yield value
                        resume = functools.partial(generator.send, given)
                    except GeneratorExit:
                        raise
                    except BaseException as e:
                        resume = functools.partial(generator.throw, e)
            except StopIteration as end:
                return end.value
            finally:
                with self.clone():
                    generator.close()

        return wrapped


class _BareDecorator(_Switch):
    """A switch that also decorates without parentheses: ``@no_grad``."""

    @overload
    def __new__(cls, function: F) -> F: ...  # type: ignore[misc]  # no instance: it decorates at once
    @overload
    def __new__(cls, function: None = None) -> _BareDecorator: ...
    def __new__(cls, function: Any = None) -> Any:
        self = super().__new__(cls)
        if function is None:
            return self
        cls.__init__(self)
        return self(function)

    def __init__(self, function: Any = None) -> None:
        super().__init__()


class no_grad(_BareDecorator):  # noqa: N801 - PyTorch's name
    """Inside, operations are not recorded and their results do not require grad.

    >>> x = torch.ones(1, requires_grad=True)
    >>> with torch.no_grad():
    ...     y = 2 * x
    ...
    >>> y.requires_grad
    False
    """

    enabled = False


class enable_grad(_BareDecorator):  # noqa: N801
    """Inside, operations are recorded again.

    >>> x = torch.ones(1, requires_grad=True)
    >>> with torch.no_grad(), torch.enable_grad():
    ...     y = 2 * x
    ...
    >>> y.requires_grad
    True
    """

    enabled = True


class inference_mode(_Switch):  # noqa: N801
    """:class:`no_grad` for code that never differentiates; ``inference_mode(False)`` switches back to recording.

    >>> x = torch.ones(1, requires_grad=True)
    >>> with torch.inference_mode():
    ...     y = 2 * x
    ...
    >>> y.requires_grad
    False
    """

    def __new__(cls, mode: Any = True) -> Any:
        self = super().__new__(cls)
        if callable(mode):
            self.__init__()  # type: ignore[misc]
            return self(mode)
        return self

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self.inference = bool(mode)
        self.enabled = not mode

    def clone(self) -> inference_mode:
        return inference_mode(bool(self.inference))


class set_grad_enabled(_Switch):  # noqa: N801
    """Switch recording on or off: at once as a statement, for a block in ``with``, for calls as a decorator.

    >>> x = torch.ones(1, requires_grad=True)
    >>> with torch.set_grad_enabled(False):
    ...     y = 2 * x
    ...
    >>> y.requires_grad
    False
    """

    def __init__(self, mode: bool) -> None:
        super().__init__()
        given: Any = mode
        if given.__class__ is not bool:
            found = type(given).__name__
            raise TypeError(f"set_grad_enabled(): argument 'enabled' (position 1) must be bool, not {found}")
        self.enabled = bool(mode)
        self._outer = recording.enabled
        recording.enabled = self.enabled

    def __enter__(self) -> None:
        self._before.append((self._outer, recording.inference))
        recording.enabled = self.enabled

    def clone(self) -> set_grad_enabled:
        return set_grad_enabled(self.enabled)

    def __call__(self, function: F) -> F:
        recording.enabled = self._outer  # a decorator acts at the calls, not where it stands
        return super().__call__(function)


def is_grad_enabled() -> bool:
    """Whether operations on tensors that require grad are recorded in this thread.

    >>> torch.is_grad_enabled()
    True
    """
    return recording.enabled


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside :class:`inference_mode`.

    >>> torch.is_inference_mode_enabled()
    False
    """
    return recording.inference
