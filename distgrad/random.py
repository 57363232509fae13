"""Random numbers: counter-based, with PyTorch's face.

The source is Philox 4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): the numbers are a pure
function of a 128-bit key and a 256-bit counter.  That makes a stream for each (seed, step, sample or shard) free, which
is how results stay the same on any number of ranks: see :meth:`Generator.keyed`.  Numbers are always drawn on the host,
in NumPy, and copied to where they are wanted, so every device sees the same bits.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import backend, dtypes

if TYPE_CHECKING:
    from numpy.random import Generator as NumPyGenerator

__all__ = [
    "Generator", "default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "own_generator",
    "seed", "set_rng_state",
]  # fmt: skip

Shape = int | Sequence[int]

_DEFAULT_SEED = 67280421310721  # what a new torch.Generator starts from
_STATE_WORDS = 15  # version, seed, 4 counter, 2 key, 4 buffer, buffer position, has spare 32 bits, the spare 32 bits
_STATE_VERSION = 1
_SIGNIFICAND = {dtypes.float16: 11, dtypes.bfloat16: 8}  # bits, the implied one included


class Generator:
    """A stream of random numbers.

    Args:
        device: where the numbers are wanted; they are drawn on the host whatever it is.

    The samplers return NumPy arrays of the given shape and dtype.  What a seed gives is the same on every machine with
    the same NumPy version; it is not what PyTorch's generators give.

    >>> generator = torch.Generator().manual_seed(3)
    >>> a = torch.rand(2, generator=generator)
    >>> a.equal(torch.rand(2, generator=torch.Generator().manual_seed(3)))
    True
    """

    __slots__ = ("_counters", "_seed", "_source", "device")

    def __init__(self, device: str | backend.device = "cpu") -> None:
        self.device = backend.resolve(device)
        self._start(_DEFAULT_SEED)

    def _start(self, seed: int, counters: tuple[int, ...] = ()) -> None:
        self._seed, self._counters = seed, counters
        self._source: NumPyGenerator | None = None  # made at the first draw: numpy.random takes long to import

    def _draw(self) -> NumPyGenerator:
        if self._source is None:
            from numpy.random import Generator, Philox

            # The number of counters is in the key: a plain stream and a keyed one never meet.
            key = np.array([self._seed, len(self._counters)], np.uint64)
            counter = np.zeros(4, np.uint64)
            counter[1 : 1 + len(self._counters)] = self._counters
            self._source = Generator(Philox(key=key, counter=counter))
        return self._source

    @classmethod
    def keyed(cls, seed: int, *counters: int) -> Generator:
        """The stream of its own that ``(seed, *counters)`` names, e.g. ``Generator.keyed(seed, step, sample)``.

        Args:
            seed: as for :meth:`manual_seed`.
            counters: one to three integers in [0, 2**64).  Streams with different counters share no number until one of
                them has given 2**66 64-bit words.
        """
        if not 1 <= len(counters) <= 3:
            raise ValueError(f"Generator.keyed() takes a seed and one to three counters, got {len(counters)} counters")
        for counter in counters:
            if isinstance(counter, bool) or not hasattr(counter, "__index__") or not 0 <= int(counter) < 2**64:
                raise ValueError(f"a counter must be an integer in [0, 2**64), got {counter!r}")
        self = cls()
        self._start(_checked_seed(seed), tuple(int(counter) for counter in counters))
        return self

    # ------------------------------------------------------------------------------------------- seed and state

    def manual_seed(self, seed: int) -> Generator:
        """Start anew from ``seed``, an integer in [-2**63, 2**64); a negative one counts from 2**64 down."""
        self._start(_checked_seed(seed))
        return self

    def seed(self) -> int:
        """Start anew from a seed taken from the system, and return it."""
        self._start(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """The seed last started from."""
        return self._seed

    def get_state(self) -> np.ndarray:
        """All of the state, as a uint8 array of 120 bytes."""
        state: dict[str, Any] = self._draw().bit_generator.state  # type: ignore[assignment]
        words = [
            _STATE_VERSION, self._seed, *state["state"]["counter"], *state["state"]["key"], *state["buffer"],
            state["buffer_pos"], state["has_uint32"], state["uinteger"],
        ]  # fmt: skip
        return np.array(words, np.dtype("<u8")).view(np.uint8)

    def set_state(self, new_state: np.ndarray) -> Generator:
        """Go on from a state that :meth:`get_state` returned."""
        if not isinstance(new_state, np.ndarray) or new_state.dtype != np.uint8:
            found = getattr(new_state, "dtype", type(new_state).__name__)
            raise TypeError(f"RNG state must be a torch.ByteTensor, got {found}")
        if new_state.shape != (_STATE_WORDS * 8,):
            raise RuntimeError(
                f"Expected a Generator state of size {_STATE_WORDS * 8} but found the input RNG state size to be "
                f"{new_state.size}"
            )
        words = np.ascontiguousarray(new_state).view("<u8").astype(np.uint64)
        version, seed, position, has_spare, spare = (int(words[i]) for i in (0, 1, 12, 13, 14))
        if version != _STATE_VERSION or position > 4 or has_spare > 1 or spare >= 2**32:
            raise RuntimeError(f"the RNG state is damaged or of another version than {_STATE_VERSION}")
        self._start(seed)
        self._draw().bit_generator.state = {
            "bit_generator": "Philox",
            "state": {"counter": words[2:6], "key": words[6:8]},
            "buffer": words[8:12],
            "buffer_pos": position,
            "has_uint32": has_spare,
            "uinteger": spare,
        }
        return self

    def clone_state(self) -> Generator:
        """A generator that goes on as this one would, by itself."""
        return Generator(self.device).set_state(self.get_state())

    # ------------------------------------------------------------------------------------------------- samplers

    def uniform(self, shape: Shape, dtype: dtypes.dtype, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Uniform on [low, high); both parts of a complex number are."""
        _floating(dtype, "uniform")
        if not low <= high:
            raise RuntimeError(f"uniform expects to return a [from, to) range, but found from={low} > to={high}")
        if not math.isfinite(high - low):
            raise RuntimeError(f"uniform expects a finite range, but found from={low}, to={high}")
        if dtype.is_complex:
            return self._pair(shape, dtype, lambda part: self.uniform(shape, part, low, high))
        if dtype in _SIGNIFICAND:  # as many bits as are exact: rounding a finer number up could give `high`
            bits = _SIGNIFICAND[dtype]
            x = self._draw().integers(0, 1 << bits, shape, np.uint16).astype(np.float32)
            x *= 2.0**-bits
        else:
            x = self._draw().random(shape, dtype.np)
        if (low, high) == (0.0, 1.0):
            return np.asarray(x, dtype.np)
        x = np.asarray(x)
        x *= high - low
        x += low
        x = x.astype(dtype.np, copy=False)
        top, bottom = dtype.np.type(high), dtype.np.type(low)
        if float(top) >= high:
            top = np.nextafter(top, bottom)
        np.minimum(x, max(top, bottom), out=x)  # the sum can round up to `high`
        return x

    def normal(self, shape: Shape, dtype: dtypes.dtype, mean: float = 0.0, std: float = 1.0) -> np.ndarray:
        """Normal; of a complex number the two parts are independent and share the variance."""
        _floating(dtype, "normal")
        if not std >= 0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
        if dtype.is_complex:
            x = self._pair(shape, dtype, lambda part: self.normal(shape, part, 0.0, std * math.sqrt(0.5)))
            x += mean
            return x
        x = np.asarray(self._draw().standard_normal(shape, np.float64 if dtype is dtypes.float64 else np.float32))
        if std != 1:
            x *= std
        if mean != 0:
            x += mean
        return x.astype(dtype.np, copy=False)

    def exponential(self, shape: Shape, dtype: dtypes.dtype, lambd: float = 1.0) -> np.ndarray:
        """Exponential with rate ``lambd``, so of mean 1 / lambd."""
        _floating(dtype, "exponential", complex_too=False)
        if not lambd > 0:
            raise RuntimeError(f"exponential expects lambda > 0.0, but found lambda={lambd}")
        wide = np.float64 if dtype is dtypes.float64 else np.float32
        x = np.asarray(self._draw().standard_exponential(shape, wide))
        if lambd != 1:
            np.divide(x, lambd, out=x)
        return x.astype(dtype.np, copy=False)

    def integers(self, low: int, high: int, shape: Shape, dtype: dtypes.dtype = dtypes.int64) -> np.ndarray:
        """Integers, uniform on [low, high), in any dtype that holds them."""
        if dtype.is_complex:
            raise NotImplementedError(f"random integers are not implemented for {dtype!r}")
        if not low < high:
            raise RuntimeError(f"random integers expect 'from' to be less than 'to', but got from={low} >= to={high}")
        least, most = _held(dtype)
        for name, bound in (("from", low), ("to - 1", high - 1)):
            if not least <= bound <= most:
                raise RuntimeError(f"{name} = {bound} is out of bounds for {dtype!r}, which holds [{least}, {most}]")
        drawn = dtype.np if dtype.category == 1 else np.dtype(np.int64)
        return np.asarray(self._draw().integers(low, high, shape, drawn)).astype(dtype.np, copy=False)

    def permutation(self, n: int, dtype: dtypes.dtype = dtypes.int64) -> np.ndarray:
        """0 … n - 1 in random order."""
        if n < 0:
            raise RuntimeError(f"a permutation needs n >= 0, got {n}")
        most = _held(dtype)[1]
        if n - 1 > most:
            raise RuntimeError(f"a permutation of {n} does not fit {dtype!r}, which holds at most {most}")
        if n > sys.maxsize // 8:
            raise RuntimeError(f"Storage size calculation overflowed with sizes=[{n}]")
        return self._draw().permutation(n).astype(dtype.np, copy=False)

    def bernoulli(self, shape: Shape, p: float | np.ndarray) -> np.ndarray:
        """True with probability ``p`` in [0, 1], a number or an array that broadcasts to ``shape``; bool.

        For a number, 16 random bits an element are compared with a threshold; the few elements that fall on it are
        decided by 53 more, so the probability is exact.
        """
        if isinstance(p, np.ndarray):
            inside = (p >= 0) & (p <= 1)
            if not inside.all():
                raise RuntimeError(f"bernoulli expects p to be in [0, 1], but got p={p[~inside].flat[0]}")
            return np.asarray(self._draw().random(shape) < p.astype(np.float64))
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli expects p to be in [0, 1], but got p={p}")
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        size = math.prod(shape)
        raw = self._draw().bit_generator.random_raw(-(-size // 4))
        bits = raw.view(np.uint16)[:size]
        threshold = int(p * 65536)
        rest = p * 65536 - threshold
        if threshold == 65536:
            return np.ones(shape, np.bool_)
        mask: np.ndarray = bits < threshold
        if rest:
            edge = np.flatnonzero(bits == threshold)
            mask[edge] = self._draw().random(edge.size) < rest
        return mask.reshape(shape)

    def keep_mask(self, shape: Shape, p: float) -> np.ndarray:
        """What dropout keeps: True with probability 1 - p; bool."""
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        return self.bernoulli(shape, 1.0 - p)

    def multinomial(self, weights: np.ndarray, num_samples: int, replacement: bool = False) -> np.ndarray:
        """Indices drawn with probability proportional to ``weights``, shape (n,), each >= 0; int64, (num_samples,)."""
        w = np.asarray(weights, np.float64)
        if w.ndim != 1:
            raise RuntimeError(f"weights must have one dimension, got shape {w.shape}")
        if num_samples <= 0:
            raise RuntimeError(f"cannot sample num_samples={num_samples} <= 0 samples")
        if not (np.isfinite(w).all() and (w >= 0).all()):
            raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
        if not w.sum() > 0:
            raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
        if replacement:
            edges = np.cumsum(w)
            found = np.searchsorted(edges, self._draw().random(num_samples) * edges[-1], side="right")
            found[found == w.size] = np.flatnonzero(w)[-1]  # u * total can round up to the total
            return found.astype(np.int64)
        possible = int((w > 0).sum())
        if num_samples > possible:
            raise RuntimeError(
                f"cannot sample {num_samples} without replacement: only {possible} of {w.size} weights are above zero"
            )
        # The first arrivals of independent exponential clocks with these rates (Efraimidis & Spirakis 2006).
        with np.errstate(divide="ignore"):
            arrival = self._draw().standard_exponential(w.size) / w
        arrival[w == 0] = np.inf
        drawn: np.ndarray = np.argsort(arrival, kind="stable")[:num_samples].astype(np.int64)
        return drawn

    def sampled(self, name: str, *parameters: Any) -> np.ndarray:
        """Numbers of the distribution that NumPy's generators call ``name``, one for each element of its host
        ``parameters``, broadcast; float64 or int64."""
        return np.asarray(getattr(self._draw(), name)(*parameters))

    def _pair(self, shape: Shape, dtype: dtypes.dtype, part: Any) -> np.ndarray:
        x = np.empty(shape, dtype.np)
        x.real = part(dtype.to_real())
        x.imag = part(dtype.to_real())
        return x


def _checked_seed(seed: int) -> int:
    """``seed`` as an unsigned 64-bit integer."""
    try:
        number = int(seed)
    except (TypeError, ValueError, OverflowError) as e:
        kind = TypeError if isinstance(e, TypeError) else ValueError
        raise kind(f"a seed must be an integer, got {seed!r}") from None
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"a seed must be in [-2**63, 2**64), got {number}")
    return number % 2**64


def _floating(dtype: dtypes.dtype, what: str, complex_too: bool = True) -> None:
    if not (dtype.is_floating_point or (complex_too and dtype.is_complex)):
        kinds = "floating-point and complex" if complex_too else "floating-point"
        raise NotImplementedError(f"{what} random numbers are not implemented for {dtype!r}, only for {kinds} types")


def _held(dtype: dtypes.dtype) -> tuple[int, int]:
    """The integers that ``dtype`` holds without gaps."""
    if dtype is dtypes.bool_:
        return 0, 1
    if dtype.category == 1:
        info = dtypes.iinfo(dtype)
        return info.min, info.max
    most = 2 ** {dtypes.float32: 24, dtypes.float64: 53, **_SIGNIFICAND}[dtype]
    return -most, most


# ------------------------------------------------------------------------------------------- the default generator

_thread = threading.local()  # .generator: the one that stands for the default in a thread that has its own


class _DefaultGenerator(Generator):
    """The process's generator; in a thread that was given one of its own (:func:`own_generator`), that one."""

    __slots__ = ()

    def _own(self) -> Generator | None:
        return getattr(_thread, "generator", None)

    def _draw(self) -> NumPyGenerator:
        own = self._own()
        return super()._draw() if own is None else own._draw()

    def _start(self, seed: int, counters: tuple[int, ...] = ()) -> None:
        own = self._own()
        super()._start(seed, counters) if own is None else own._start(seed, counters)

    def seed(self) -> int:
        """Start anew from a seed taken from the system, and return it."""
        super().seed()
        return self.initial_seed()

    def initial_seed(self) -> int:
        """The seed last started from."""
        own = self._own()
        return self._seed if own is None else own._seed

    def get_state(self) -> np.ndarray:
        """All of the state, as a uint8 array of 120 bytes."""
        own = self._own()
        return super().get_state() if own is None else own.get_state()


def own_generator(seed: int) -> None:
    """Give this thread a default generator of its own, so that threads do not race for the process's.

    >>> import threading
    >>> from distgrad.random import own_generator
    >>> def draw():
    ...     own_generator(3)
    ...     torch.rand(2)
    >>> state = torch.get_rng_state()
    >>> thread = threading.Thread(target=draw)
    >>> thread.start(); thread.join()
    >>> bool((torch.get_rng_state() == state).all())  # the process's generator was left alone
    True
    """
    _thread.generator = Generator().manual_seed(seed)


default_generator: Generator = _DefaultGenerator()
default_generator.seed()


def manual_seed(seed: int) -> Generator:
    """Start the default generator anew from ``seed`` and return it.

    >>> generator = torch.manual_seed(3)
    >>> a = torch.rand(2)
    >>> generator = torch.manual_seed(3)
    >>> torch.equal(a, torch.rand(2))
    True
    """
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Start the default generator anew from a seed taken from the system, and return that.

    >>> isinstance(torch.seed(), int)
    True
    """
    return default_generator.seed()


def initial_seed() -> int:
    """The seed the default generator last started from.

    >>> generator = torch.manual_seed(3)
    >>> torch.initial_seed()
    3
    """
    return default_generator.initial_seed()


def get_rng_state() -> np.ndarray:
    """The default generator's state, a uint8 array.

    >>> state = torch.get_rng_state()
    >>> first = torch.rand(3)
    >>> torch.set_rng_state(state)
    >>> torch.equal(torch.rand(3), first)
    True
    """
    return default_generator.get_state()


def set_rng_state(new_state: np.ndarray) -> None:
    """Set the default generator's state to one that :func:`get_rng_state` returned.

    >>> torch.set_rng_state(torch.get_rng_state())  # changes nothing
    """
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices: object = None, enabled: bool = True) -> Iterator[None]:
    """Put the default generator's state back at the end.  ``devices`` is PyTorch's; one generator serves all here.

    >>> generator = torch.manual_seed(3)
    >>> with torch.random.fork_rng():
    ...     inside = torch.rand(2)
    ...
    >>> torch.equal(inside, torch.rand(2))    # the state of before is there again
    True
    """
    if not enabled:
        yield
        return
    before = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(before)
