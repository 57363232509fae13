"""The Optimizer contract (the standard: ``torch.optim.Optimizer``), over the flat update engine.

An optimizer is its mathematics on arrays::

    class Lion(Optimizer):
        defaults = dict(lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0)
        state = ("exp_avg",)                       # zeros like the parameter

        def update(self, xp, p, g, exp_avg, *, lr, betas, weight_decay):
            ...                                    # writes to p and exp_avg

or, as PyTorch's subclasses are, an ``__init__`` that calls ``super().__init__(params, defaults)`` and a ``step`` of its
own.  docs/plugins.md is the contract on one page, with what goes beyond this.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from .. import backend, storage
from .._arguments import kind_of
from ..autograd import enable_grad
from ..backend.protocol import Array, ArrayModule
from .hooks import (
    EVERY_POST,
    EVERY_PRE,
    Hooked,
    hooked,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from .hyperparameter_bounds import BOUNDS, Bound, check
from .param_groups import complete, groups_of, options_of, required
from .update import state_views
from .update.common_sums import step_measured
from .update.entries import give_back, renew
from .update.state_dict import must_be_of, must_fit, packed, unpacked
from .update.stepper import Engine

__all__ = ["Optimizer", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook", "required"]


class Optimizer(Engine):
    """Updates parameters from their gradients.

    Class attributes that a subclass sets:
        defaults: its hyperparameters, in the order of positional arguments.
        state: names of the state arrays, none of them ``step``.  They start at zero; a dict gives other starts: a
            number, the name of the option that holds it (``{"step_size": "lr"}``), or a function of (xp, p) that makes
            the array (``{"z": lambda xp, p: p}``), whose keyword-only parameters receive options.  With ``elementwise =
            False`` its shape is its own.
        numbers: names of state that is one number a parameter, with its starts likewise (``{"mu_product": 1.0}``);
            ``advance`` (below) changes them.  They are Python's floats, exact.
        common: numbers that all parameters have in common, with their starts; they are in each parameter group, and
            ``conclude`` (below) changes them.
        sums: names of sums over all parameters, which ``measure`` makes and ``conclude`` reads.
        exact: False keeps ``numbers`` in the default dtype, in which PyTorch keeps its own of this kind.
        elementwise: True (default): :meth:`update` is given one-dimensional blocks of many parameters at once; False:
            one whole parameter at a time, in its shape.
        scratch: how many arrays of the block's size :meth:`update` wants behind the state, to compute in.
        one_pass: for an :meth:`update` with a loop of :func:`distgrad.jit.compiled`: from how many elements
            on the loop is quicker.  Where it can run, that many are given all at once, without scratch.  Where ranks
            share memory it serves any number, and ``g`` may be a :class:`distgrad.jit.Mean`, which only a compiled
            loop can read: hand it to the loop as it came.
        bounds: allowed values of hyperparameters by name; see :mod:`distgrad.optim.hyperparameter_bounds`.
        counter: the name under which ``state_dict`` holds the number of steps.  None keeps it out; ``step`` then only
            tells whether a parameter's state is new: it is 1 if so (or if there is none), and greater later.
        gradients: ``"dense"`` (default): a sparse one is an error; ``"any"``: a sparse one is taken as the dense one
            that it means; ``"sparse"``: the subclass has a step of its own, for sparse ones alone.
        eager: whether parameters given at construction have state from then on, rather than from their first step.

    Args:
        params: tensors, (name, tensor) pairs, or dicts with ``params`` and options of their own.
        defaults: PyTorch's way: a dict of the hyperparameters; else their values by position or name.

    Raises:
        TypeError: an unknown hyperparameter, or something that is no parameter.
        ValueError: no parameters, one in two groups, a hyperparameter out of bounds.

    >>> class Signs(optim.Optimizer):
    ...     defaults = dict(lr=0.1)
    ...     def update(self, xp, p, g, *, lr):
    ...         p -= lr * xp.sign(g)
    ...
    >>> w = torch.tensor([1.0, -1.0], requires_grad=True)
    >>> optimizer = Signs([w])
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.9000, -0.9000], requires_grad=True)
    """

    bounds: ClassVar[dict[str, Bound]] = BOUNDS
    eager: ClassVar[bool] = False
    _lengths: ClassVar[dict[str, int]] = {}  # of hyperparameters that are several numbers

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "update" in cls.__dict__:
            cls._own_update, cls._reads = True, _keywords(cls.update)
        for name in ("advance", "measure", "conclude"):
            if name in cls.__dict__:
                setattr(cls, f"_{name}_reads", _keywords(cls.__dict__[name]))
        if not isinstance(cls.state, property):
            cls._names = tuple(cls.state)
            cls._starts = {**(cls.state if isinstance(cls.state, Mapping) else {}), **cls.numbers}
            cls._made = {name: _keywords(start) for name, start in cls._starts.items() if callable(start)}
        cls._own_slots = cls._own_slots or "slots" in cls.__dict__
        nominal = {p.name: p.default for p in inspect.signature(cls.__init__).parameters.values()} | cls.defaults
        cls._lengths = {name: len(default) for name, default in nominal.items() if isinstance(default, tuple)}
        if "step" in cls.__dict__:
            cls._own_step = True
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
        the ``numbers``; and what ``advance`` returned.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither an update() nor a step() of its own")

    # measure(self, xp, p, g, *state, ...) -> tuple[number, ...]: where a subclass has ``sums``, it is called as update
    # is, on all blocks before the first is updated, and returns what a block adds to each sum.  It may write to state.
    # conclude(self, *, ...) -> dict[str, float]: called once in a step, between the two.  Its keyword-only parameters
    # receive the sums, over all parameters, groups and processes, the ``common`` numbers, and the first group's
    # options.  It returns new values of common numbers, which are kept, and whatever else update() asks for by name.

    # advance(self, *, ...) -> dict[str, float]: where a subclass has it, it makes the numbers of a step, once for all
    # blocks.  Its keyword-only parameters receive options, ``step``, and ``numbers`` as they were before this step.  It
    # returns new values of numbers, which are kept, and whatever else update() asks for by name.

    def slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        """The state names that a group needs: ``state``, unless a subclass says that it depends on options."""
        return self._names

    def check(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of ``group`` is out of bounds."""
        for name, value in group.items():
            if isinstance(value, list | tuple) and name in self.bounds and name not in self._lengths:
                raise TypeError(f"Invalid {self.bounds[name][0]}: {value!r}; it must be a number")
            check(name, value, self.bounds)
            length = self._lengths.get(name)
            if length is not None and not (hasattr(value, "__len__") and len(value) == length):
                raise ValueError(f"Invalid {name}: {value!r}; it must be {length} values")
        if group.get("fused") and (group.get("differentiable") or group.get("foreach")):
            raise RuntimeError("fused=True does not go together with differentiable=True or foreach=True")

    # --- groups -----------------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: ``params`` and options that differ from the defaults.

        The dict itself becomes the group, as in PyTorch.
        """
        if len(self._known) != len(self.param_groups):
            self._regroup()
        complete(param_group, self.defaults, self.param_groups)
        self.check(param_group)
        for name, start in self.common.items():
            given = self.param_groups[0][name] if self.param_groups else start
            param_group.setdefault(name, param_group[given] if isinstance(given, str) else given)
        self.param_groups.append(param_group)
        self._add_room()

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
            if not callable(closure):
                raise TypeError(f"step(): argument 'closure' must be a function, not {kind_of(closure)}")
            with enable_grad():
                loss = closure()
        if len(self._known) != len(self.param_groups):
            self._regroup()
        touched = self.state is not self._states or self._states.touched
        if touched and not self._sharings:
            self._take_over_all()
        if self._changes != storage.changes:
            self._settle()
        sharings = self._sharings
        if sharings:
            self._refuse_unfit()
            self._common_steps += 1
            for sharing in sharings:
                sharing.begin()
            if self._meet is not None:
                self._meet()
            if self._changes != storage.changes:  # those who shared an update go their own ways
                self._settle()
            if self._states.asked:
                give_back(self._states, [s for several in self._segments for s in several])
            if touched and (self.state is not self._states or self._states.touched):  # no other process reads it now
                self._take_over_all(in_step=True)
        if self.sums:
            step_measured(self)
        else:
            for i, group in enumerate(self.param_groups):
                self._step_group(i, group)
        if self._taken_over:
            self._taken_over = {}
        for sharing in self._sharings:
            sharing.end(self._digest or self._find_digest(), self._told)
            if self._states.asked:
                renew(self._states, sharing)
        return loss

    # --- gradients and state ----------------------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients: None, or zeros in place if ``set_to_none`` is False."""
        for group in self.param_groups:
            for p in group["params"]:
                if p._grad is None:
                    continue
                if set_to_none:
                    p._grad = None
                    continue
                grad = p.grad
                if grad.is_sparse:
                    grad.zero_()
                    continue
                if grad._node is not None:
                    grad.detach_()  # the same tensor, for whoever keeps it
                with backend.where_it_lies(grad._data):
                    grad._data[...] = 0
                grad._bump()
        for sharing in self._sharings:
            sharing.release()

    def state_dict(self) -> dict[str, Any]:
        """PyTorch's layout: ``{"state": {index: {name: value}}, "param_groups": [options with "params": indices]}``.

        Tensors are the live ones, not copies, but for state that processes share: of that it is a copy, complete.
        """
        for hook in tuple(self._save_pre.values()):
            hook(self)
        if self.state is not self._states:
            self._take_over_all()
        self._follow()
        result = packed(self.state, self.param_groups, [s for several in self._segments for s in several])
        if self._follow():  # meanwhile
            result = packed(self.state, self.param_groups, [s for several in self._segments for s in several])
        for hook in tuple(self._save_post.values()):
            new = hook(self, result)
            result = result if new is None else new
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state of the same groups, PyTorch's own included; values are copied.

        Raises:
            TypeError: no dict.  KeyError: a part of one is missing.
            ValueError: the number of groups or of parameters in a group differs, or an array's shape, or it is the
                state of another optimizer.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"expected a state dict, as state_dict() gives it, not {kind_of(state_dict)}")
        state_dict = dict(state_dict)
        for hook in tuple(self._load_pre.values()):
            new = hook(self, state_dict)
            state_dict = state_dict if new is None else new
        name = type(self).__name__
        if self._by_engine():
            must_be_of(name, self.defaults, state_dict.get("param_groups", ()))
            if self._names and not self._own_slots:
                must_fit(name, state_dict.get("state", {}).values(), self._names)
        self._loaded, self._digest = state_views.mark([state_dict.get("state"), self._common_steps]), None
        loaded = unpacked(state_dict, self.param_groups, raw=self._by_engine())
        self._adopt(loaded)
        self._take_over_all(loading=True)
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
