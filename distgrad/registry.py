"""Look-up of plugins by kind and name: ``get("optimizer", "adam")``.

Plugins are loaded as late and as few as can be told.  A request for ``adam`` loads only plugins that bear that name: an
entry point ``adam``, or a module ``adam`` in a package that an entry point names.  Only where none of them offers it,
and for listings, are all loaded.  Names are compared without underscores and a final "loss", so that
``CrossEntropyLoss`` finds the module ``cross_entropy``.

What is wrong with one plugin is an error for whoever asks for that plugin (:class:`PluginError`) and a warning, once,
for everyone else (:class:`PluginWarning`).  pluggy works at set-up; what follows is look-ups in dictionaries.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import threading
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from distgrad._plugins import (
    HERE,
    Plugin,
    PluginError,
    PluginWarning,
    Source,
    UnknownPluginError,
    entry_points_of,
    file_of,
    import_target,
    is_half_imported,
    key_of,
    offered_by,
    own_hooks,
    source_of,
    told_by,
    why_not,
)
from distgrad.hookspecs import GROUP, HOOKS

__all__ = [
    "Plugin", "PluginError", "PluginWarning", "Registry", "UnknownPluginError", "broken", "class_names", "digest",
    "explain", "get", "get_class", "names", "plugins", "register", "unregister",
]  # fmt: skip


class Registry:
    """What is known of plugins.  The module's functions are the methods of one instance; tests make their own.

    Args:
        entry_points: answers the entry points, objects with ``name``, ``value`` and ``dist``; asked once, when needed.
    """

    def __init__(self, entry_points: Callable[[], Iterable[Any]]) -> None:
        self._entry_points = entry_points
        self._sources: list[Source] | None = None
        self._lock = threading.RLock()  # never held while a plugin is imported, which takes the import system's locks
        self._seen: set[str] = set()  # modules and entry points accepted or found broken
        self._records: list[Plugin] = []
        self._owners: dict[int, tuple[object, list[Plugin]]] = {}  # by id, which the reference keeps valid
        self._by_name: dict[tuple[str, str], list[Plugin]] = {}
        self._by_class: dict[tuple[str, str], list[Plugin]] = {}
        self._broken: dict[str, tuple[Plugin, BaseException]] = {}
        self._warned: set[str] = set()

    # Look-up

    def get(self, kind: str, name: str) -> type:
        """The class registered as ``name`` (in any case), or whose own name is ``name``.

        Raises:
            UnknownPluginError: no plugin offers it; the message has the nearest known names, and all of them.
            PluginError: the plugin that bears this name is broken, or two plugins offer it.

        >>> from distgrad import registry
        >>> registry.get("optimizer", "adam").__name__
        'Adam'
        """
        self._check_kind(kind)
        if not isinstance(name, str):
            raise TypeError(f"the name of a plugin ({kind}) must be a str, got {type(name).__name__}")
        found = self._find(kind, name)
        if found is None:
            raise UnknownPluginError(self.explain(kind, name))
        return found

    def get_class(self, kind: str, class_name: str) -> type | None:
        """The class of this name, for ``distgrad.optim.Adam``; None where no plugin offers it.

        Raises:
            PluginError: the plugin that bears this name is broken, or two plugins offer it.

        >>> from distgrad import registry
        >>> registry.get_class("loss", "MSELoss").__name__
        'MSELoss'
        """
        self._check_kind(kind)
        if class_name.startswith("_"):  # probes of the interpreter and of tools, such as __path__
            return None
        return self._find(kind, class_name, by_class_only=True)

    def explain(self, kind: str, name: str) -> str:
        """The message for an unknown ``name``: the nearest known names, all of them, and which plugins are broken.

        >>> from distgrad import registry
        >>> registry.explain("optimizer", "adm").partition("?")[0]
        "unknown optimizer 'adm'; did you mean 'adam' or 'radam' or 'nadam'"
        """
        known = self.names(kind)
        spellings = {
            spelling.lower(): n for n in known for p in self._by_name[kind, n] for spelling in (n, p.class_name)
        }
        close = difflib.get_close_matches(name.lower(), spellings, n=3, cutoff=0.6)
        nearest = list(dict.fromkeys(spellings[s] for s in close))
        text = f"unknown {kind} {name!r}; "
        text += f"did you mean {' or '.join(map(repr, nearest))}? " if nearest else ""
        text += f"known: {', '.join(known) or 'none'}"
        if self._broken:
            text += f"; plugins that could not be loaded: {', '.join(self.broken())}"
        return text

    def broken(self) -> list[str]:
        """Which plugins could not be loaded, sorted; loads all plugins.

        >>> from distgrad import registry
        >>> isinstance(registry.broken(), list)
        True
        """
        self._load_all()
        return sorted(self._broken)

    def names(self, kind: str) -> list[str]:
        """The registered names of a kind, sorted; loads all plugins.

        >>> from distgrad import registry
        >>> {"mpi", "serial", "shared", "threads"} <= set(registry.names("communicator"))
        True
        """
        self._check_kind(kind)
        self._load_all()
        return sorted(name for k, name in self._by_name if k == kind)

    def class_names(self, kind: str) -> list[str]:
        """The names of the registered classes of a kind, sorted; loads all plugins.

        >>> from distgrad import registry
        >>> "Adam" in registry.class_names("optimizer")
        True
        """
        self._check_kind(kind)
        self._load_all()
        return sorted(name for k, name in self._by_class if k == kind)

    def plugins(self) -> list[Plugin]:
        """All that is registered and all that is broken, sorted by kind and name; loads all plugins.

        >>> from distgrad import registry
        >>> {plugin.kind for plugin in registry.plugins()} >= {"optimizer", "loss", "communicator"}
        True
        """
        self._load_all(warn=False)
        with self._lock:
            listed = [
                dataclasses.replace(
                    p,
                    error=self._conflict(p.kind, p.name, self._by_name[p.kind, p.name])
                    or self._conflict(p.kind, p.class_name, self._by_class[p.kind, p.class_name]),
                )
                for p in self._records
            ]
            listed += [plugin for plugin, _ in self._broken.values()]
        return sorted(listed, key=lambda p: (p.kind, p.name, p.module))

    def digest(self) -> str:
        """A hash of every plugin's entry point, distribution, version and modules, for ranks to compare; loads none.

        >>> from distgrad import registry
        >>> len(registry.digest())
        64
        """
        lines = [f"{s.name}={s.value} {s.distribution} {s.version} {' '.join(s.children)}" for s in self._discover()]
        with self._lock:
            lines += [f"{p.kind} {p.name} {p.module}" for p in self._records if p.distribution == HERE]
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()

    # Registration by hand, for tests and notebooks

    def register(self, plugin: object, name: str | None = None) -> None:
        """Register a module or object that implements hooks, under ``name`` (default: the module's or type's name).

        Raises:
            PluginError: it offers nothing, has a misspelt hook, or a name that is taken.

        >>> from distgrad import registry
        >>> class Halver(optim.Optimizer): ...
        >>> class Plugin:
        ...     @distgrad.hookimpl
        ...     def distgrad_optimizers(self):
        ...         return {"halver": Halver}
        >>> plugin = Plugin()
        >>> registry.register(plugin)
        >>> registry.get("optimizer", "halver") is Halver
        True
        >>> registry.unregister(plugin)
        """
        label = name or getattr(plugin, "__name__", None) or type(plugin).__name__
        with self._lock:
            if id(plugin) in self._owners:
                raise PluginError(f"the plugin {label} is registered already")
        offered = self._accept(plugin, label, HERE, "")
        try:
            for p in offered:
                for found in (self._load_matching(p.kind, p.name), self._load_matching(p.kind, p.class_name)):
                    self._only(p.kind, p.name, found)
        except PluginError:
            self.unregister(plugin)
            raise

    def unregister(self, plugin: object) -> None:
        """Undo :meth:`register`; PluginError where ``plugin`` is not registered.

        >>> from distgrad import registry
        >>> registry.unregister("a stranger")
        Traceback (most recent call last):
        distgrad._plugins.PluginError: 'a stranger' is not registered
        """
        with self._lock:
            if id(plugin) not in self._owners:
                raise PluginError(f"{plugin!r} is not registered")
            for p in self._owners.pop(id(plugin))[1]:
                self._records = [q for q in self._records if q is not p]
                for index, key in ((self._by_name, (p.kind, p.name)), (self._by_class, (p.kind, p.class_name))):
                    index[key] = [q for q in index[key] if q is not p]
                    if not index[key]:
                        del index[key]

    # Finding and loading

    def _check_kind(self, kind: str) -> None:
        if kind not in HOOKS:
            raise ValueError(f"unknown kind of plugin {kind!r}; the kinds are: {', '.join(HOOKS)}")

    def _find(self, kind: str, name: str, by_class_only: bool = False) -> type | None:
        def look() -> type | None:
            found = None if by_class_only else self._by_name.get((kind, name.lower()))
            return self._only(kind, name, found or self._by_class.get((kind, name), []))

        found = look()
        if found is None:
            self._load_matching(kind, name)
            found = look()
        if found is None:
            for label, (broken, cause) in list(self._broken.items()):
                if key_of(name) in (key_of(broken.name), key_of(broken.module.rpartition(".")[2])):
                    raise PluginError(
                        f"the plugin {label}, asked for as {name!r}, is broken: {broken.error}"
                    ) from cause
            self._load_all()
            found = look()
        return found

    def _only(self, kind: str, name: str, found: list[Plugin]) -> type | None:
        conflict = self._conflict(kind, name, found)
        if conflict:
            raise PluginError(conflict)
        return found[0].cls if found else None

    def _conflict(self, kind: str, name: str, found: list[Plugin]) -> str | None:
        if len({p.cls for p in found}) < 2:
            return None
        who = " and ".join(f"{p.module} ({p.distribution} {p.version}".rstrip() + ")" for p in found)
        return (
            f"the {kind} {name!r} is offered by {len(found)} plugins: {who}; rename one of them in its hook, or remove "
            "its distribution (python -m pip uninstall)"
        )

    def _discover(self) -> list[Source]:
        with self._lock:
            if self._sources is None:
                found = [source_of(entry_point) for entry_point in self._entry_points()]
                self._sources = sorted(found, key=lambda s: (s.distribution, s.name))
            return self._sources

    def _load_matching(self, kind: str, name: str) -> list[Plugin]:
        """Load the plugins that bear ``name``, and answer all that now offer it."""
        key = key_of(name)
        for source in self._discover():
            if key_of(source.name) == key:
                self._load(source)
            for child in source.children:
                if key_of(child) == key:
                    self._load(source, child)
        return self._by_name.get((kind, name.lower())) or self._by_class.get((kind, name), [])

    def _load_all(self, warn: bool = True) -> None:
        for source in self._discover():
            self._load(source)
        for label, (broken, _) in list(self._broken.items()) if warn else ():
            if label not in self._warned:
                self._warned.add(label)
                warnings.warn(f"the plugin {label} cannot be used: {broken.error}", PluginWarning, stacklevel=4)

    def _load(self, source: Source, child: str | None = None) -> None:
        """Load what the entry point names: the module, or of a package that implements no hook all modules or one."""
        if source.children and self._try(source, source.module, package=True):
            for name in [child] if child else source.children:
                self._try(source, f"{source.module}.{name}")
        elif not source.children:
            self._try(source, source.value)

    def _try(self, source: Source, target: str, package: bool = False) -> bool:
        """Import and accept ``target`` as a plugin, or note why not.  True for a package without a hook of its own."""
        label = f"{target} ({source.distribution} {source.version})"
        if label in self._broken or (target in self._seen and not package):
            return False
        try:
            plugin = import_target(target)
            if is_half_imported(plugin):
                return package  # the request comes from the plugin's own first lines
            if package and not own_hooks(plugin):
                return True
            if target not in self._seen:
                self._accept(plugin, target, source.distribution, source.version)
        except (Exception, SystemExit) as cause:  # whatever a stranger's module does must not take the others down
            name = target.rpartition(".")[2] if source.children and not package else source.name
            why, file = why_not(cause, source, target)
            with self._lock:
                record = Plugin("", name, None, source.distribution, source.version, target, why, file)
                self._broken[label] = (record, cause)
        return False

    def _accept(self, plugin: object, label: str, distribution: str, version: str) -> list[Plugin]:
        """Ask the hooks, and index what they answer."""
        file = file_of(plugin)
        offered = [
            Plugin(kind, n, c, distribution, version, label, file=file) for kind, n, c in offered_by(plugin, label)
        ]
        with self._lock:
            if distribution != HERE:
                if label in self._seen:  # another thread was faster
                    return []
                self._seen.add(label)
            self._owners[id(plugin)] = (plugin, offered)
            for p in offered:
                self._records.append(p)
                self._by_name.setdefault((p.kind, p.name), []).append(p)
                self._by_class.setdefault((p.kind, p.class_name), []).append(p)
        return offered


def _installed() -> Iterable[Any]:
    """The entry points of everything installed; an error where distgrad itself is imported but not installed."""
    from importlib.metadata import distributions  # 30 ms, paid by those who ask for a plugin

    found = entry_points_of(distributions())
    if not any(told_by(e.dist)[0] == GROUP for e in found):
        root = Path(__file__).resolve().parent.parent
        raise PluginError(
            f"distgrad is imported from {root} but not installed, so its built-in plugins cannot be found: "
            f"run python -m pip install -e {root}"
        )
    return found


_registry = Registry(_installed)
broken, class_names, digest, explain, get, get_class = (
    _registry.broken, _registry.class_names, _registry.digest, _registry.explain, _registry.get, _registry.get_class,
)  # fmt: skip
names, plugins, register, unregister = _registry.names, _registry.plugins, _registry.register, _registry.unregister
