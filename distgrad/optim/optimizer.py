"""The Optimizer contract (the standard: ``torch.optim.Optimizer``), over the flat update engine.

An optimizer is its mathematics on arrays::

    class Lion(Optimizer):
        defaults = dict(lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0)
        state = ("exp_avg",)                       # zeros like the parameter

        def update(self, xp, p, g, exp_avg, *, lr, betas, weight_decay):
            ...                                    # writes to p and exp_avg

or, as PyTorch's subclasses are, an ``__init__`` that calls ``super().__init__(params, defaults)`` and a ``step`` of its
own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from .. import backend, storage
from ..autograd import Tensor, enable_grad
from ..autograd.tensor import TENSORS
from ..backend import Array, ArrayModule
from . import states
from .bounds import BOUNDS, check
from .flat import Piece, Rule, Segment, segments_of
from .groups import complete, groups_of, options_of, required
from .hooks import (
    EVERY_POST,
    EVERY_PRE,
    Hooked,
    hooked,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from .state_dict import packed, unpacked

__all__ = ["Optimizer", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook", "required"]


class Optimizer(Hooked):
    """Updates parameters from their gradients.

    Class attributes that a subclass sets:
        defaults: its hyperparameters, in the order of positional arguments.
        state: names of the state arrays.  They start at zero; a dict gives other starts: a number, or the name of the
            option that holds it (``{"step_size": "lr"}``).
        numbers: names of state that is one number a parameter, with its starts likewise (``{"mu_product": 1.0}``);
            :meth:`advance` changes them.
        elementwise: True (default): :meth:`update` is given one-dimensional blocks of many parameters at once; False:
            one whole parameter at a time, in its shape.
        scratch: how many arrays of the block's size :meth:`update` wants behind the state, to compute in.
        one_pass: True where :meth:`update` runs a loop of :func:`distgrad.optim.compiled.compiled` wherever it can:
            it is then given all at once, without scratch.
        bounds: allowed values of hyperparameters by name; see :mod:`distgrad.optim.bounds`.
        counter: the name under which ``state_dict`` holds the number of steps.  None keeps it out; ``step`` then only
            tells whether a parameter's state is new: it is 1 if so (or if there is none), and greater later.
        eager: whether parameters given at construction have state from then on, rather than from their first step.

    Args:
        params: tensors, (name, tensor) pairs, or dicts with ``params`` and options of their own.
        defaults: PyTorch's way: a dict of the hyperparameters; else their values by position or name.

    Raises:
        TypeError: an unknown hyperparameter, or something that is no parameter.
        ValueError: no parameters, one in two groups, a hyperparameter out of bounds.
    """

    defaults: dict[str, Any] = {}
    state: Any = ()
    numbers: ClassVar[Mapping[str, float | str]] = {}
    elementwise: ClassVar[bool] = True
    scratch: ClassVar[int] = 0
    one_pass: ClassVar[bool] = False
    bounds: ClassVar[dict[str, tuple[str, float, float, bool]]] = BOUNDS
    counter: ClassVar[str | None] = "step"
    eager: ClassVar[bool] = False

    _reads: ClassVar[tuple[str, ...]] = ()  # the keyword-only parameters of update()
    _advance_reads: ClassVar[tuple[str, ...]] = ()  # and of advance()
    _names: ClassVar[tuple[str, ...]] = ()  # the state arrays
    _starts: ClassVar[Mapping[str, float | str]] = {}  # where they and the numbers start

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "update" in cls.__dict__:
            cls._reads = _keywords(cls.update)
        if "advance" in cls.__dict__:
            cls._advance_reads = _keywords(cls.advance)
        if not isinstance(cls.state, property):
            cls._names = tuple(cls.state)
            cls._starts = {**(cls.state if isinstance(cls.state, Mapping) else {}), **cls.numbers}
        if "step" in cls.__dict__:
            cls.step = hooked(cls.__dict__["step"])  # type: ignore[method-assign]

    def __init__(self, params: Any, *args: Any, **options: Any) -> None:
        cls = type(self)
        super().__init__()
        if len(args) == 1 and isinstance(args[0], dict) and not options:
            self.defaults = dict(args[0])
        else:
            self.defaults = options_of(cls.__name__, cls.defaults, args, options)
        if self._by_engine():
            self.defaults.setdefault("maximize", False)
        self.param_groups: list[dict[str, Any]] = []
        self._prepare()
        for group in groups_of(params):
            self.add_param_group(group)
        if cls.eager:
            for i, group in enumerate(self.param_groups):
                self._options(i, group)
                for segment in self._segments[i]:
                    self._begin(i, segment, everyone=True)

    def _prepare(self) -> None:
        """What is not part of an optimizer's own state: it is made anew when one is copied."""
        self._states = self.state = states.States(dict)
        self._segments: list[list[Segment]] = []
        self._counted: list[int] = []  # the parameters that the segments were made for
        self._cached: list[tuple[Any, dict[str, Any]] | None] = []  # hyperparameters and the options made of them
        cls = type(self)
        self._rule = Rule(cls.elementwise, cls.scratch, cls.one_pass, tuple(cls.numbers))
        given = {"step", *cls.numbers}
        asked = dict.fromkeys((*cls._reads, *cls._advance_reads))
        self._hyper = tuple(name for name in asked if name not in given and name in self.defaults)
        # slots() may look at any option; what is compared at each step must have it all
        keys = (*self.defaults,) if cls.slots is not Optimizer.slots else (*self._hyper, "maximize")
        self._keys = tuple(k for k in keys if k in self.defaults)
        unknown = [name for name in asked if name not in given and name not in self.defaults]
        if unknown and self._by_engine() and (cls.advance is None or set(unknown) & set(cls._advance_reads)):
            raise TypeError(
                f"{cls.__name__} asks for {', '.join(unknown)}; there are its hyperparameters "
                f"({', '.join(self.defaults)}), {', '.join(sorted(given))}, and for update() what advance() returns"
            )
        self._wants_step = "step" in cls._reads
        self._plain = cls.advance is None

    def _by_engine(self) -> bool:
        """Whether the flat engine updates; False for a subclass in PyTorch's way, whose state is its own affair."""
        return type(self).update is not Optimizer.update or type(self).step is Optimizer.step

    # --- the mathematics --------------------------------------------------------------------------------------------

    def update(self, xp: ArrayModule, p: Array, g: Array, *state: Any, **options: Any) -> None:
        """Write the new values into ``p`` and the state arrays.

        Args:
            xp: numpy or cupy.
            p, g: parameter and gradient: one-dimensional blocks, or whole tensors (see ``elementwise``); ``g`` may be
                written to only by a copy.  float16 and bfloat16 come as float32 and are rounded afterwards; blocks of
                complex parameters come as real ones, pair by pair.
            state: the arrays named by ``state``, then ``scratch`` arrays of undefined content, all of ``p``'s shape.

        Keyword-only parameters receive the group's options of these names; ``step`` the number of this update, from 1;
        the ``numbers``; and what :meth:`advance` returned.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither an update() nor a step() of its own")

    advance: ClassVar[Callable[..., dict[str, float]] | None] = None
    """``advance(self, *, ...)``: a subclass's numbers of this step, computed once for all blocks.

    Its keyword-only parameters receive options, ``step`` and the ``numbers`` as they were before this step.  It returns a
    dict: new values of ``numbers``, which are kept, and whatever else :meth:`update` asks for by name.
    """

    def slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        """The state names that a group needs: ``state``, unless a subclass says that it depends on options."""
        return self._names

    def check(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of ``group`` is out of bounds."""
        for name, value in group.items():
            check(name, value, self.bounds)
            default = self.defaults.get(name)
            if isinstance(default, tuple) and isinstance(value, (tuple, list)) and len(value) != len(default):
                raise ValueError(f"{name} must be {len(default)} numbers, got {value!r}")
        if group.get("fused") and (group.get("differentiable") or group.get("foreach")):
            raise RuntimeError("fused=True does not go together with differentiable=True or foreach=True")

    # --- groups -----------------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: ``params`` and options that differ from the defaults.

        The dict itself becomes the group, as in PyTorch.
        """
        complete(param_group, self.defaults, self.param_groups)
        self.check(param_group)
        self.param_groups.append(param_group)
        self._add_room()

    def _add_room(self) -> None:
        self._segments.append([])
        self._counted.append(0)
        self._cached.append(None)
        if self._by_engine():
            self._lay_out(len(self._segments) - 1)

    def _lay_out(self, i: int) -> None:
        """Put group ``i`` into flat storage and find its segments."""
        params = self.param_groups[i]["params"]
        self._cached[i] = None
        self._counted[i] = len(params)
        self._segments[i] = segments_of(params, storage.flatten(params), self._rule) if params else []

    def _resettled(self, i: int) -> list[Segment]:
        """Lay group ``i`` out anew and take the state along."""
        if any(old.partial and old.state for old in self._segments[i]):
            whole = states.whole_states(self._segments[i])
            for p in self.param_groups[i]["params"]:
                if self.state.get(p):
                    self.state[p] = {**self.state[p], **whole[id(p)]}
        self._lay_out(i)
        self._options(i, self.param_groups[i])
        self._take_over(i)
        return self._segments[i]

    # --- the step ---------------------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: evaluates the model again and returns the loss, which ``step`` then returns.
        """
        if (self._step_pre or self._step_post or EVERY_PRE or EVERY_POST) and not self._inside:
            return _step(self) if closure is None else _step(self, closure)
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        if self.state is not self._states or self._states.touched:  # type: ignore[attr-defined]
            self._take_over_all()
        for i, group in enumerate(self.param_groups):
            self._step_group(i, group)
        return loss

    def _options(self, i: int, group: dict[str, Any]) -> dict[str, Any]:
        """What :meth:`update` and :meth:`advance` ask for, for group ``i``, with the state they need in place."""
        values = tuple(map(group.__getitem__, self._keys))
        cached = self._cached[i]
        if cached is not None and cached[0] == values:
            return cached[1]
        options = {name: _number(group[name]) for name in self._hyper}
        names = tuple(self.slots(group))
        divide = bool(group.get("maximize"))  # gradients are then negated block by block
        for segment in self._segments[i]:
            new = [name for name in names if name not in segment.state]
            segment.use(names, divide)
            if new and any(segment.begun):
                self._extend(i, segment, new)
        # a tensor or a list may change without ceasing to equal itself
        fixed = all(_is_constant(v) for v in values)
        self._cached[i] = (values, options) if fixed else None
        return options

    def _step_group(self, i: int, group: dict[str, Any]) -> None:
        segments = self._segments[i]
        intact = self.elementwise and self._counted[i] == len(group["params"])
        for segment in segments:
            if not segment.whole():
                intact = False
        if not intact and (
            self._counted[i] != len(group["params"]) or any(segment.moved() for segment in segments)
        ):
            segments = self._resettled(i)
        options = self._options(i, group)
        maximize = group["maximize"]
        shown = self.counter is not None
        for segment in segments:
            counted = shown or bool(segment.names)
            if segment.fresh and (counted or self.numbers):
                self._begin(i, segment)
            update = self.update
            if segment.half or segment.xp is not np:
                update = _where_it_lies(update, segment)
            if maximize:
                update = _uphill(update)
            pieces: Iterable[Piece]
            if intact:
                segment.touch()
                if counted:
                    segment.count(shown)
                pieces = ((0, len(segment.params), segment.all_blocks()),)
            else:
                pieces = segment.pieces(counted)
            for first, end, blocks in pieces:
                step = segment.step_of(first) if counted else 1
                now = options
                if not self._plain:
                    now = self._advanced(segment, first, end, step, options)
                elif self._wants_step:
                    options["step"] = step
                for block in blocks:
                    update(segment.xp, *block, **now)

    def _advanced(self, segment: Segment, first: int, end: int, step: int, options: dict[str, Any]) -> dict[str, Any]:
        """What :meth:`update` asks for where there is :meth:`advance`, for a piece of a segment; keeps the numbers."""
        given = {**options, "step": step, **{name: float(row[first]) for name, row in segment.numbers.items()}}
        new = self.advance(**{name: given[name] for name in self._advance_reads})  # type: ignore[misc]
        for name, row in segment.numbers.items():
            if name in new:
                row[first:end] = new[name]
                new[name] = float(row[first])
        given.update(new)
        return {name: given[name] for name in self._reads}

    # --- state ------------------------------------------------------------------------------------------------------

    def _start_values(self, i: int) -> dict[str, float]:
        group = self.param_groups[i]
        return {name: _number(group[v]) if isinstance(v, str) else v for name, v in self._starts.items()}

    def _begin(self, i: int, segment: Segment, everyone: bool = False) -> None:
        """State for the parameters that have none yet and now a gradient."""
        which = [
            k for k, p in enumerate(segment.params) if not segment.begun[k] and (everyone or p._grad is not None)
        ]
        if which:
            states.begin(segment, which, self._start_values(i))
            for k in which:
                states.show(self._states, segment, k, self.counter)

    def _extend(self, i: int, segment: Segment, names: list[str]) -> None:
        """Arrays that options newly ask for: from what users see, if it is there, else new."""
        starts = self._start_values(i)
        for k, p in enumerate(segment.params):
            if segment.begun[k]:
                left = states.extend(segment, k, names, self._states.get(p, {}), starts)
                states.show(self._states, segment, k, self.counter, left)

    def _take_over(self, i: int) -> None:
        """Make what ``self.state`` says of group ``i`` its segments' state."""
        starts = self._start_values(i)
        for segment in self._segments[i]:
            segment.sync()
            for k, p in enumerate(segment.params):
                entry = self.state.get(p)
                if entry:
                    left = states.take_over(segment, k, entry, starts, self.counter)
                    states.show(self._states, segment, k, self.counter, left)
                else:
                    segment.forget(k)
            segment.reread()

    def _take_over_all(self) -> None:
        """Take over ``self.state``, which somebody changed or replaced."""
        self._adopt(self.state)
        if self._by_engine():
            for i, group in enumerate(self.param_groups):
                if any(segment.moved() for segment in self._segments[i]):
                    self._lay_out(i)
                self._options(i, group)
                self._take_over(i)
        self._states.touched = False

    def _adopt(self, given: Mapping[Any, Any]) -> None:
        if given is not self._states:
            self._states = self.state = states.States(dict)
            self._states.update(given)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients: None, or zeros in place if ``set_to_none`` is False."""
        for group in self.param_groups:
            for p in group["params"]:
                grad = p._grad
                if grad is None:
                    continue
                if set_to_none:
                    p._grad = None
                else:
                    if grad._node is not None:
                        p._grad = grad = grad.detach()
                    with backend.where_it_lies(grad._data):
                        grad._data[...] = 0
                    grad._bump()

    def state_dict(self) -> dict[str, Any]:
        """PyTorch's layout: ``{"state": {index: {name: value}}, "param_groups": [options with "params": indices]}``.

        Tensors are the live ones, not copies.  Where processes share out the update, this is collective among them.
        """
        for hook in tuple(self._save_pre.values()):
            hook(self)
        if self.state is not self._states:
            self._take_over_all()
        result = packed(self.state, self.param_groups, [s for several in self._segments for s in several])
        for hook in tuple(self._save_post.values()):
            new = hook(self, result)
            result = result if new is None else new
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state of the same groups, PyTorch's own included; values are copied.

        Raises ValueError if the number of groups or of parameters in a group differs, or an array's shape.
        """
        state_dict = dict(state_dict)
        for hook in tuple(self._load_pre.values()):
            new = hook(self, state_dict)
            state_dict = state_dict if new is None else new
        loaded = unpacked(state_dict, self.param_groups, raw=self._by_engine())
        self._adopt(states.States(dict, loaded))
        self._take_over_all()
        for hook in tuple(self._load_post.values()):
            hook(self)

    def __getstate__(self) -> dict[str, Any]:
        state = {p: dict(entry) if isinstance(entry, dict) else entry for p, entry in self.state.items()}
        return {"defaults": self.defaults, "state": state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What a copy is made of: no hooks, as in PyTorch; flat storage of its own."""
        Hooked.__init__(self)
        self.__dict__.update(state)
        given = self.__dict__.pop("state")
        self._prepare()
        for _ in self.param_groups:
            self._add_room()
        self._adopt(given)
        self._take_over_all()

    def __repr__(self) -> str:
        text = type(self).__name__ + " ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            text += "".join(f"    {k}: {group[k]}\n" for k in sorted(group) if k != "params")
        return text + ")"


_step = hooked(Optimizer.step)


def _keywords(function: Callable[..., Any]) -> tuple[str, ...]:
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


def _uphill(update: Callable[..., None]) -> Callable[..., None]:
    """``update`` with the gradient turned round."""

    def turned(xp: ArrayModule, p: Array, g: Array, *arrays: Array, **options: Any) -> None:
        update(xp, p, -g, *arrays, **options)

    return turned


def _where_it_lies(update: Callable[..., None], segment: Segment) -> Callable[..., None]:
    """``update`` on the arrays' device, and in float32 for those of two bytes an element."""
    written = 2 + len(segment.names)

    def there(xp: ArrayModule, *block: Array, **options: Any) -> None:
        with backend.where_it_lies(block[0]):
            if not segment.half:
                update(xp, *block, **options)
                return
            wide = [x.astype(xp.float32) for x in block[:written]]
            update(xp, *wide, *block[written:], **options)
            for x, new in zip((block[0], *block[2:written]), (wide[0], *wide[2:]), strict=True):
                x[...] = new

    return there


def _number(value: Any) -> Any:
    """An option with the numbers in place of one-element tensors."""
    if value.__class__ in TENSORS:
        return value.item()
    if value.__class__ in (tuple, list):
        return type(value)(map(_number, value))
    return value


def _is_constant(value: Any) -> bool:
    """Whether ``value`` cannot change without becoming another object."""
    if isinstance(value, tuple):
        return all(_is_constant(v) for v in value)
    return value is None or isinstance(value, (bool, int, float, str))
