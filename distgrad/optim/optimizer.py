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

import functools
import inspect
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .. import backend, storage
from ..autograd import RemovableHandle, Tensor, enable_grad
from ..autograd.tensor import TENSORS
from ..backend import Array, ArrayModule
from .bounds import BOUNDS, check
from .flat import Segment, segments_of

__all__ = ["Optimizer"]


class Optimizer:
    """Updates parameters from their gradients.

    Class attributes that a subclass sets:
        defaults: its hyperparameters, in the order of positional arguments.
        state: names of the state arrays, zeros like the parameter at first.
        elementwise: True (default): :meth:`update` is given one-dimensional blocks of many parameters at once; False:
            one whole parameter at a time, in its shape.
        scratch: how many arrays of the block's size :meth:`update` wants behind the state, to compute in.
        one_pass: True where :meth:`update` runs a loop of :func:`distgrad.optim.compiled.compiled` wherever it can:
            it is then given all at once, without scratch.
        bounds: allowed values of hyperparameters by name; see :mod:`distgrad.optim.bounds`.
        counter: the name under which ``state_dict`` holds the number of steps; None keeps it out.

    Args:
        params: tensors, (name, tensor) pairs, or dicts with ``params`` and options of their own.
        defaults: PyTorch's way: a dict of the hyperparameters; else their values by position or name.

    Raises:
        TypeError: an unknown hyperparameter, or something that is no parameter.
        ValueError: no parameters, one in two groups, a hyperparameter out of bounds.
    """

    defaults: dict[str, Any] = {}
    state: Any = ()
    elementwise: ClassVar[bool] = True
    scratch: ClassVar[int] = 0
    one_pass: ClassVar[bool] = False
    bounds: ClassVar[dict[str, tuple[str, float, float, bool]]] = BOUNDS
    counter: ClassVar[str | None] = "step"

    sparse_gradients: ClassVar[bool] = False  # whether a row-sparse gradient may be treated as the dense one it means

    _reads: ClassVar[tuple[str, ...]] = ()  # the keyword-only parameters of update()
    _hyper: ClassVar[tuple[str, ...]] = ()  # the same without step
    _wants_step: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "update" in cls.__dict__:
            parameters = inspect.signature(cls.update).parameters.values()
            cls._reads = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
            cls._hyper = tuple(name for name in cls._reads if name != "step")
            cls._wants_step = "step" in cls._reads
        if "step" in cls.__dict__:
            cls.step = _hooked(cls.__dict__["step"])  # type: ignore[method-assign]

    def __init__(self, params: Any, *args: Any, **options: Any) -> None:
        cls = type(self)
        if len(args) == 1 and isinstance(args[0], dict) and not options:
            self.defaults = dict(args[0])
        else:
            self.defaults = self._read_options(args, options)
        self.defaults.setdefault("maximize", False)
        self._names: tuple[str, ...] = () if isinstance(cls.state, property) else tuple(cls.state)
        self.state: dict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._segments: list[list[Segment]] = []
        self._counted: list[int] = []  # the parameters that the segments were made for
        self._cached: list[tuple[Any, dict[str, Any]] | None] = []  # hyperparameters and the options made of them
        self._step_pre: OrderedDict[int, Any] = OrderedDict()
        self._step_post: OrderedDict[int, Any] = OrderedDict()
        self._save_pre: OrderedDict[int, Any] = OrderedDict()
        self._save_post: OrderedDict[int, Any] = OrderedDict()
        self._load_pre: OrderedDict[int, Any] = OrderedDict()
        self._load_post: OrderedDict[int, Any] = OrderedDict()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                + params.type()
            )
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _read_options(self, args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
        known = dict(type(self).defaults)
        name = type(self).__name__
        if len(args) > len(known):
            raise TypeError(
                f"{name}() takes at most {len(known)} hyperparameters ({', '.join(known)}), got {len(args)}"
            )
        given = dict(zip(known, args, strict=False))
        for k, v in options.items():
            if k in given:
                raise TypeError(f"{name}() got multiple values for argument '{k}'")
            if k not in known and k != "maximize":
                raise TypeError(
                    f"{name}() got an unexpected keyword argument '{k}'; it takes {', '.join([*known, 'maximize'])}"
                )
            given[k] = v
        return known | given

    # --- the mathematics --------------------------------------------------------------------------------------------

    def update(self, xp: ArrayModule, p: Array, g: Array, *state: Any, **options: Any) -> None:
        """Write the new values into ``p`` and the state arrays.

        Args:
            xp: numpy or cupy.
            p, g: parameter and gradient: one-dimensional blocks, or whole tensors (see ``elementwise``); ``g`` may be
                written to only by a copy.
            state: the arrays named by ``state``, then ``scratch`` arrays of undefined content, all of ``p``'s shape.

        Keyword-only parameters receive the group's options of these names; ``step`` the number of this update, from 1.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither an update() nor a step() of its own")

    def slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        """The state names that a group needs: ``state``, unless a subclass says that it depends on options."""
        return self._names

    # --- groups -----------------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: ``params`` and options that differ from the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        group = dict(param_group)
        params = group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
                "will change between runs. Please use a list instead."
            )
        listed = list(params)
        if listed and isinstance(listed[0], tuple):
            group["param_names"] = [name for name, _ in listed]
            listed = [p for _, p in listed]
        for p in listed:
            if p.__class__ not in TENSORS:
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
        unknown = set(group) - set(self.defaults) - {"params", "param_names", "initial_lr", "name"}
        if unknown and type(self).step is Optimizer.step:
            raise TypeError(
                f"unknown options in a parameter group: {sorted(unknown)}; {type(self).__name__} takes "
                f"{list(self.defaults)}"
            )
        group["params"] = listed
        for k, v in self.defaults.items():
            group.setdefault(k, v)
        if len({id(p) for p in listed}) != len(listed):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error",
                stacklevel=3,
            )
            group["params"] = list({id(p): p for p in listed}.values())
        taken = {id(p) for g in self.param_groups for p in g["params"]}
        if any(id(p) in taken for p in listed):
            raise ValueError("some parameters appear in more than one parameter group")
        self.check(group)
        self.param_groups.append(group)
        self._segments.append([])
        self._counted.append(0)
        self._cached.append(None)
        self._lay_out(len(self.param_groups) - 1)

    def check(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of ``group`` is out of bounds."""
        for name, value in group.items():
            check(name, value, self.bounds)

    def _lay_out(self, i: int) -> None:
        """Put group ``i`` into flat storage and find its segments."""
        params = self.param_groups[i]["params"]
        self._cached[i] = None
        self._counted[i] = len(params)
        self._segments[i] = (
            segments_of(params, storage.flatten(params), self.elementwise, self.scratch, self.one_pass)
            if params
            else []
        )

    # --- the step ---------------------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: evaluates the model again and returns the loss, which ``step`` then returns.
        """
        if self._step_pre:
            for hook in tuple(self._step_pre.values()):
                hook(self, (closure,), {})
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for i, group in enumerate(self.param_groups):
            self._step_group(i, group)
        if self._step_post:
            for hook in tuple(self._step_post.values()):
                hook(self, (closure,), {})
        return loss

    def _options(self, i: int, group: dict[str, Any]) -> dict[str, Any]:
        """The keyword arguments of :meth:`update` for group ``i``, with the state they need in place."""
        values = tuple(map(group.__getitem__, self._hyper))
        cached = self._cached[i]
        if cached is not None and cached[0] == values:
            return cached[1]
        options = {
            name: v.item() if v.__class__ in TENSORS else v for name, v in zip(self._hyper, values, strict=True)
        }
        names = tuple(self.slots(group))
        for segment in self._segments[i]:
            if tuple(segment.state) != names:
                self._make_state(segment, names)
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
        if not intact and not self.sparse_gradients:
            self._refuse_sparse(group)
        if not intact and (
            self._counted[i] != len(group["params"]) or any(segment.moved() for segment in segments)
        ):
            segments = self._resettled(i)
        options = self._options(i, group)
        maximize = group["maximize"]
        for segment in segments:
            xp = segment.xp
            update = self.update if xp is np else _on_device(self.update)
            pieces: Any
            if intact:
                pieces = ((segment.count(self.counter is not None), segment.all_blocks()),)
            else:
                pieces = segment.pieces()
            for number, blocks in pieces:
                if self._wants_step:
                    options["step"] = number
                for block in blocks:
                    if maximize:
                        with backend.where_it_lies(block[1]):
                            block = (block[0], -block[1], *block[2:])
                    update(xp, *block, **options)

    def _refuse_sparse(self, group: dict[str, Any]) -> None:
        """RuntimeError where a gradient of ``group`` is sparse, before anything is updated."""
        if any(p._grad is not None and p._grad.is_sparse for p in group["params"]):
            raise RuntimeError(
                f"{type(self).__name__} does not support sparse gradients, please consider SparseAdam instead"
            )

    def _resettled(self, i: int) -> list[Segment]:
        """Lay group ``i`` out anew and take the state along."""
        for s in self._segments[i]:
            if s.together is not None:
                s.steps[...] = s.together
        steps = {id(p): float(s.steps[k]) for s in self._segments[i] for k, p in enumerate(s.params)}
        kept = {id(p): dict(self.state[p]) for p in self.param_groups[i]["params"] if p in self.state}
        self._lay_out(i)
        for segment in self._segments[i]:
            if any(kept.get(id(p)) for p in segment.params):
                self._make_state(segment, self.slots(self.param_groups[i]))
            for k, p in enumerate(segment.params):
                for name, value in kept.get(id(p), {}).items():
                    if name in segment.state and value.numel() == p.numel():
                        view = segment.state_of(k, name)
                        view[...] = backend.to_device(value._data, segment.storage.device).reshape(view.shape)
                segment.steps[k] = steps.get(id(p), 0)
            segment.together = int(segment.steps[0]) if bool((segment.steps == segment.steps[0]).all()) else None
        return self._segments[i]

    def _make_state(self, segment: Segment, names: tuple[str, ...]) -> None:
        """Buffers for ``names``, and users' view of them: ``self.state[p]``."""
        segment.ensure_state(names)
        for k, p in enumerate(segment.params):
            entry: dict[str, Any] = {}
            if self.counter is not None:
                entry[self.counter] = Tensor._wrap(segment.steps[k : k + 1].reshape(()), None)
            for name in names:
                entry[name] = Tensor._wrap(segment.state_of(k, name), None)
            self.state[p] = entry

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients: None, or zeros in place if ``set_to_none`` is False."""
        for group in self.param_groups:
            for p in group["params"]:
                grad = p._grad
                if grad is None:
                    continue
                if set_to_none:
                    p._grad = None
                elif grad.is_sparse:
                    grad.zero_()
                else:
                    if grad._node is not None:
                        p._grad = grad = grad.detach()
                    with backend.where_it_lies(grad._data):
                        grad._data[...] = 0
                    grad._bump()

    # --- state dicts ------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """PyTorch's layout: ``{"state": {index: {name: value}}, "param_groups": [options with "params": indices]}``.

        Tensors are the live ones, not copies.
        """
        for hook in tuple(self._save_pre.values()):
            hook(self)
        index: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                index.setdefault(id(p), len(index))
            groups.append(
                {k: v for k, v in group.items() if k != "params"} | {"params": [index[id(p)] for p in group["params"]]}
            )
        state = {index.get(id(k), k) if isinstance(k, Tensor) else k: v for k, v in self.state.items() if v}
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in tuple(self._save_post.values()):
            result = hook(self, result) or result
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state of the same groups, PyTorch's own included; values are copied.

        Raises ValueError if the number of groups or of parameters in a group differs.
        """
        state_dict = dict(state_dict)
        for hook in tuple(self._load_pre.values()):
            state_dict = hook(self, state_dict) or state_dict
        saved = state_dict["param_groups"]
        if len(saved) != len(self.param_groups):
            raise ValueError(
                f"loaded state dict has a different number of parameter groups: {len(saved)}, the optimizer "
                f"{len(self.param_groups)}"
            )
        for i, (theirs, ours) in enumerate(zip(saved, self.param_groups, strict=True)):
            if len(theirs["params"]) != len(ours["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: "
                    f"group {i} has {len(theirs['params'])} parameters, the optimizer's {len(ours['params'])}"
                )
        for i, (theirs, ours) in enumerate(zip(saved, self.param_groups, strict=True)):
            ours.update({k: v for k, v in theirs.items() if k != "params"})
            by_param = {
                id(p): state_dict["state"].get(key, state_dict["state"].get(str(key)))
                for key, p in zip(theirs["params"], ours["params"], strict=True)
            }
            self._load_group(i, by_param)
        for hook in tuple(self._load_post.values()):
            hook(self)

    def _load_group(self, i: int, by_param: dict[int, Any]) -> None:
        group = self.param_groups[i]
        if type(self).update is Optimizer.update:  # a subclass in PyTorch's way, whose state is its own affair
            for p in group["params"]:
                if by_param[id(p)] is not None:
                    self.state[p] = {k: _copied(v, p) for k, v in by_param[id(p)].items()}
            return
        names = self.slots(group)
        if any(s.moved() for s in self._segments[i]):
            self._resettled(i)
        for segment in self._segments[i]:
            if all(by_param[id(p)] is None for p in segment.params):
                segment.steps[...] = 0
                segment.together = 0
                for buffer in segment.state.values():
                    buffer[...] = 0
                continue
            self._make_state(segment, names)
            for k, p in enumerate(segment.params):
                theirs = by_param[id(p)] or {}
                for name in names:
                    view, value = segment.state_of(k, name), theirs.get(name)
                    if value is None:
                        view[...] = 0
                        continue
                    array = _host(value)
                    if array.shape != view.shape:
                        raise ValueError(
                            f"loaded state '{name}' has shape {list(array.shape)}, its parameter {list(view.shape)}"
                        )
                    view[...] = backend.to_device(array.astype(view.dtype), segment.storage.device)
                started = any(theirs.get(name) is not None for name in names)
                count = theirs.get(self.counter) if self.counter is not None else None
                segment.steps[k] = float(_host(count)) if count is not None else float(started)
            segment.together = int(segment.steps[0]) if bool((segment.steps == segment.steps[0]).all()) else None

    # --- hooks ------------------------------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step."""
        return _added(self._step_pre, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return _added(self._step_post, hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer)`` before :meth:`state_dict`."""
        return _added(self._save_pre, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` after :meth:`state_dict`; what it returns, if not None, replaces it."""
        return _added(self._save_post, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before loading; what it returns, if not None, is loaded instead."""
        return _added(self._load_pre, hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer)`` after loading."""
        return _added(self._load_post, hook)

    def __repr__(self) -> str:
        text = type(self).__name__ + " ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            text += "".join(f"    {k}: {group[k]}\n" for k in sorted(group) if k not in ("params", "param_names"))
        return text + ")"


def _on_device(update: Callable[..., None]) -> Callable[..., None]:
    """``update``, called where its arrays lie, whichever device is the current one."""

    def there(xp: ArrayModule, p: Array, *arrays: Array, **options: Any) -> None:
        with backend.where_it_lies(p):
            update(xp, p, *arrays, **options)

    return there


def _hooked(step: Callable[..., Any]) -> Callable[..., Any]:
    """A subclass's own step, with the hooks around it."""

    @functools.wraps(step)
    def wrapped(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        for hook in tuple(self._step_pre.values()):
            hook(self, args, kwargs)
        result = step(self, *args, **kwargs)
        for hook in tuple(self._step_post.values()):
            hook(self, args, kwargs)
        return result

    return wrapped


_hook_ids = iter(range(2**62))


def _added(hooks: OrderedDict[int, Any], hook: Callable[..., Any]) -> RemovableHandle:
    key = next(_hook_ids)
    hooks[key] = hook
    return RemovableHandle(hooks, key)


def _is_constant(value: Any) -> bool:
    """Whether ``value`` cannot change without becoming another object."""
    if isinstance(value, tuple):
        return all(_is_constant(v) for v in value)
    return value is None or isinstance(value, (bool, int, float, str))


def _host(value: Any) -> np.ndarray:
    """A state value (ours, PyTorch's, an array or a number) as a NumPy array."""
    if value.__class__ in TENSORS:
        return backend.to_host(value._data)
    if hasattr(value, "detach"):  # PyTorch's own tensor
        value = value.detach().cpu().numpy()
    return np.asarray(value)


def _copied(value: Any, p: Tensor) -> Any:
    return value.clone() if value.__class__ in TENSORS else value

