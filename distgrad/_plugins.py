"""What a plugin is: its record, where it was found, and the checks by which it keeps the contract of ``hookspecs``."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import traceback
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pluggy

from distgrad import hookspecs
from distgrad.hookspecs import GROUP, HOOKS

_MACHINERY = {str(Path(str(module)).parent) for module in (__file__, importlib.__file__, pluggy.__file__)}
HERE = "(registered in this process)"


class PluginError(RuntimeError):
    """A plugin cannot be used: broken, at odds with the contract, or in conflict with another."""


class UnknownPluginError(PluginError, LookupError):
    """No plugin offers the name.

    >>> from distgrad import registry
    >>> try:
    ...     registry.get("optimizer", "nothing_like_it")
    ... except registry.UnknownPluginError:
    ...     print("unknown")
    ...
    unknown
    """


class PluginWarning(UserWarning):
    """A plugin that nobody asked for by name cannot be used."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plugin:
    """One registered class, or (``cls`` None, ``error`` set) one plugin that could not be loaded.

    Attributes:
        kind: ``"optimizer"``, ``"loss"`` or ``"communicator"``; ``""`` where unknown because the plugin is broken.
        name: the registered name; for a broken plugin its entry point's or module's.
        cls: the class.
        distribution, version: what it was installed from, and ``"(registered in this process)"``, ``""`` where nothing.
        module: the module that implements the hook.
        error: why it cannot be used, and what to do; None where it can.
        file: where the module's source lies; "" where that is unknown.
    """

    kind: str
    name: str
    cls: type | None
    distribution: str
    version: str
    module: str
    error: str | None = None
    file: str = ""

    @property
    def class_name(self) -> str:
        return "" if self.cls is None else self.cls.__name__


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """An entry point: ``children`` are the public modules of the package it names, none where it names a module."""

    name: str
    value: str
    distribution: str
    version: str
    children: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        return self.value.partition(":")[0].strip()


def told_by(distribution: Any) -> tuple[str, str]:
    """Name and version; of a damaged distribution (no METADATA, or not readable) what its folder is called, and ""."""
    try:
        name, version = distribution.name, distribution.version
    except Exception:  # the standard library does not say which
        name = version = None
    if not isinstance(name, str) or not name:
        folder = getattr(distribution, "_path", None)
        name = Path(str(folder)).name.partition("-")[0] if folder is not None else "(a damaged distribution)"
    return name, version if isinstance(version, str) else ""


def entry_points_of(distributions: Iterable[Any]) -> list[Any]:
    """Our entry points in the installed ``distributions``, the first of a name counting; damaged ones are passed over.

    ``importlib.metadata.entry_points`` raises for all where it cannot read one.
    """
    found, seen = [], set()
    for distribution in distributions:
        try:
            name = getattr(distribution, "_normalized_name", None) or told_by(distribution)[0]
            if name in seen:
                continue
            seen.add(name)
            found += [e for e in distribution.entry_points if e.group == GROUP]
        except Exception as error:
            where = getattr(distribution, "_path", "?")
            text = f"the installed distribution at {where} is damaged, and not searched for plugins: {error}"
            warnings.warn(text, PluginWarning, stacklevel=6)
    return found


def source_of(entry_point: Any) -> Source:
    """What an entry point (an object with ``name``, ``value`` and ``dist``) names, without importing it."""
    plain = Source(entry_point.name, entry_point.value, *told_by(entry_point.dist))
    if plain.module != plain.value:
        return plain
    try:
        spec = importlib.util.find_spec(plain.module)
    except (Exception, SystemExit):  # a dotted name imports its parents; loading it will say what is wrong
        return plain
    if spec is None or spec.submodule_search_locations is None:
        return plain
    modules = pkgutil.iter_modules(spec.submodule_search_locations)
    return dataclasses.replace(plain, children=tuple(sorted(m.name for m in modules if not m.name.startswith("_"))))


def import_target(target: str) -> Any:
    """The module, or with ``module:attribute`` the object, that ``target`` names."""
    module, _, attribute = target.partition(":")
    found: Any = importlib.import_module(module.strip())
    for part in filter(None, attribute.strip().split(".")):
        found = getattr(found, part)
    return found


def file_of(plugin: object) -> str:
    """The file that a module, or the class of any other object, was read from."""
    module = plugin if inspect.ismodule(plugin) else sys.modules.get(type(plugin).__module__)
    return getattr(module, "__file__", None) or ""


def why_not(cause: BaseException, source: Source, target: str) -> tuple[str, str]:
    """What to tell of a plugin that could not be loaded: what is wrong with what to do, and the file it is wrong in."""
    module = target.partition(":")[0].strip()
    file, line = _place(cause)
    where = f" ({file}, line {line})" if file else ""
    text = f"{type(cause).__name__}: {cause}"
    remove = f"or remove it: python -m pip uninstall {source.distribution}"
    if source.distribution == GROUP:
        remove = "or take the file away"
    declared = f"the entry point {source.name} = {source.value!r} in the pyproject.toml of {source.distribution}"
    if isinstance(cause, PluginError):  # says itself what is wrong and what to do
        return f"{cause}; {remove}", file_of(sys.modules.get(module))
    if isinstance(cause, ModuleNotFoundError) and cause.name and f"{module}.".startswith(f"{cause.name}."):
        return f"{text}; correct {declared}, install it again, {remove}", ""
    if isinstance(cause, ModuleNotFoundError) and cause.name:
        lacking = cause.name.partition(".")[0]
        return f"{text}{where}; install what provides {lacking} (python -m pip install {lacking}?), {remove}", file
    if isinstance(cause, AttributeError) and ":" in target and module in sys.modules and not file:
        return f"{text}; correct {declared}, install it again, {remove}", file_of(sys.modules[module])
    if isinstance(cause, SyntaxError) and cause.filename:
        return f"{text}; correct it there, {remove}", cause.filename
    if isinstance(cause, SystemExit):
        return f'{text}{where}; it ends Python when imported: put that under if __name__ == "__main__", {remove}', file
    return f"{text}{where}; correct what it does when it is imported, {remove}", file


def _place(cause: BaseException) -> tuple[str, int]:
    """The line of the plugin's own that was running: the first outside distgrad, pluggy and the import system."""
    for frame in traceback.extract_tb(cause.__traceback__):
        folder = str(Path(frame.filename).parent)
        if not frame.filename.startswith("<") and folder not in _MACHINERY:
            return frame.filename, frame.lineno or 0
    return "", 0


def key_of(name: str) -> str:
    """What names are matched by before anything is loaded."""
    return name.lower().replace("_", "").replace("-", "").removesuffix("loss")


def is_half_imported(plugin: object) -> bool:
    """Whether this thread is in the middle of importing the module ``plugin``."""
    return bool(getattr(getattr(plugin, "__spec__", None), "_initializing", False))


def own_hooks(plugin: object) -> dict[str, Any]:
    """Functions of the plugin's own that are named as hooks are."""
    prefix, home = f"{GROUP}_", getattr(plugin, "__name__", None)
    found = {name: getattr(plugin, name) for name in dir(plugin) if name.startswith(prefix)}
    return {
        name: f
        for name, f in found.items()
        if inspect.isroutine(f) and not (inspect.ismodule(plugin) and f.__module__ != home)
    }


def offered_by(plugin: object, label: str) -> list[tuple[str, str, type]]:
    """Check ``plugin`` against the contract, ask its hooks, and return kind, name and class of what it offers.

    Raises:
        PluginError: a misspelt or undecorated hook, an answer that is no dict of classes, or nothing offered.
    """
    _check_spelling(plugin, label)
    manager = pluggy.PluginManager(GROUP)  # one for each plugin: an error is then that plugin's own
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin)
    except pluggy.PluginValidationError as error:
        raise PluginError(f"{label}: {error}") from error
    offered = []
    for kind, hook in HOOKS.items():
        for answer in getattr(manager.hook, hook)():
            _check_answer(answer, f"{label}.{hook}()")
            offered += [(kind, name, cls) for name, cls in answer.items()]
    if not offered:
        raise PluginError(
            f"{label} offers nothing: a plugin needs a function among {', '.join(HOOKS.values())}, decorated with "
            "@distgrad.hookimpl, that returns at least one class; a helper module's name begins with an underscore"
        )
    return offered


def _check_spelling(plugin: object, label: str) -> None:
    marked = {n for n in dir(plugin) if isinstance(getattr(getattr(plugin, n, None), f"{GROUP}_impl", None), dict)}
    for name in sorted(marked | set(own_hooks(plugin))):
        if name not in HOOKS.values():
            close = difflib.get_close_matches(f"{GROUP}_{name.removeprefix(f'{GROUP}_')}", HOOKS.values(), n=1)
            meant = f"did you mean {close[0]}? " if close else ""
            raise PluginError(f"{label}: there is no hook {name}; {meant}the hooks are: {', '.join(HOOKS.values())}")
        if name not in marked:
            raise PluginError(f"{label}: {name} is not decorated; write @distgrad.hookimpl above it")


def _check_answer(answer: object, where: str) -> None:
    if not isinstance(answer, dict):
        raise PluginError(f"{where} must return a dict of name to class, got {type(answer).__name__}")
    for name, cls in answer.items():
        if not (isinstance(name, str) and re.fullmatch("[a-z][a-z0-9_]*", name)):
            raise PluginError(f"{where}: a name is lower-case letters, digits and underscores, got {name!r}")
        if not isinstance(cls, type):
            raise PluginError(f"{where}: {name!r} must be a class, got {type(cls).__name__}")
