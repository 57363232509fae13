"""How an optimizer's ``update()`` is called: on which device, uphill, with which numbers."""

from __future__ import annotations

import operator
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from ... import backend
from ...autograd.tensor import TENSORS, Tensor
from ...backend.protocol import Array, ArrayModule
from .pieces import SUM_BYTES, Block
from .segments import Segment


def _share(update: Callable[..., None], compiled: bool, xp: ArrayModule, block: Block, options: dict[str, Any]) -> None:
    """``update`` of a block whose gradient is shared with other processes: asked for just before.

    Where the update is a compiled loop, it reads the gradients where they lie; if they are more than a mean, they are
    made in parts that stay in the cache.
    """
    p, g, *arrays = block
    if not compiled:
        update(xp, p, g.now(), *arrays, **options)
        return
    operand = g.operand()
    if operand is not None:
        update(xp, p, operand, *arrays, **options)
        return
    for part in g.parts(max(SUM_BYTES // p.itemsize, 1)):
        update(xp, p[part], g[part].now(), *[x[part] for x in arrays], **options)


def _same(params: Sequence[Tensor], laid: Sequence[Tensor]) -> bool:
    """Whether these are the very same parameters."""
    return len(params) == len(laid) and all(map(operator.is_, params, laid))


def _uphill(update: Callable[..., Any]) -> Callable[..., Any]:
    """``update`` with the gradient turned round."""

    def turned(xp: ArrayModule, p: Array, g: Array, *arrays: Array, **options: Any) -> Any:
        return update(xp, p, -g, *arrays, **options)

    return turned


def _where_it_lies(update: Callable[..., Any], segment: Segment) -> Callable[..., Any]:
    """``update`` on the arrays' device, and in float32 for those of two bytes an element."""
    written = 2 + len(segment.names)

    def there(xp: ArrayModule, *block: Array, **options: Any) -> Any:
        with backend.where_it_lies(block[0]):
            if not segment.half:
                return update(xp, *block, **options)
            wide = [x.astype(xp.float32) for x in block[:written]]
            found = update(xp, *wide, *block[written:], **options)
            for x, new in zip((block[0], *block[2:written]), (wide[0], *wide[2:]), strict=True):
                x[...] = new
            return found

    return there


def _number(value: Any) -> Any:
    """An option with the numbers in place of one-element tensors."""
    if value.__class__ in TENSORS:
        return value.item()
    if value.__class__ in (tuple, list):
        return type(value)(map(_number, value))
    return value


def _stable(value: Any) -> Any:
    """``value``, or something in its place, with a hash that is the same in every process, as those of numbers are."""
    if isinstance(value, (int, float)):
        return value if value == value else zlib.crc32(b"nan")  # whose hash is another for each object
    if value.__class__ in (tuple, list):
        return tuple([_stable(v) for v in value])
    return zlib.crc32((repr(value) if _is_constant(value) else type(value).__name__).encode())


def _is_constant(value: Any) -> bool:
    """Whether ``value`` cannot change without becoming another object."""
    if isinstance(value, tuple):
        return all(_is_constant(v) for v in value)
    return value is None or isinstance(value, (bool, int, float, str))
