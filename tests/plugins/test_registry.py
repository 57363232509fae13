"""The plugin seam, on plugins written to a temporary folder and announced by entry points of the test's own."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path

import pytest

from distgrad import registry
from distgrad._plugins import entry_points_of
from distgrad.hookspecs import hookimpl
from distgrad.registry import PluginError, PluginWarning, Registry, UnknownPluginError

OPTIMIZER = """
from distgrad.hookspecs import hookimpl

class {cls}: ...

@hookimpl
def distgrad_optimizers():
    return {{"{name}": {cls}}}
"""


@dataclass
class Distribution:
    name: str = "stranger"
    version: str = "1.2"


@dataclass
class EntryPoint:
    name: str
    value: str
    dist: Distribution = field(default_factory=Distribution)


World = Callable[..., Registry]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """``world({file: text}, entry_point=value, ...)``: a registry that knows the plugins in those files."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def make(files: dict[str, str], **entry_points: str) -> Registry:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        return Registry(lambda: [EntryPoint(n, v, Distribution(f"dist-{n}")) for n, v in entry_points.items()])

    yield make
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def package(name: str, **modules: str) -> dict[str, str]:
    return {f"{name}/__init__.py": "", **{f"{name}/{m}.py": text for m, text in modules.items()}}


def optimizer(cls: str, name: str | None = None) -> str:
    return OPTIMIZER.format(cls=cls, name=name or cls.lower())


BOOM = "raise OSError('no such accelerator')"
TWO = {**package("many_a", adam=optimizer("Adam"), sgd=optimizer("SGD"), wide_adam=optimizer("WideAdam", "wide_adam"))}


@pytest.mark.parametrize("spelling", ["adam", "Adam", "ADAM", "aDaM"])
def test_a_registered_name_is_found_in_any_case(world: World, spelling: str) -> None:
    found = world(TWO, builtin="many_a").get("optimizer", spelling)
    assert (found.__name__, found.__module__) == ("Adam", "many_a.adam")


def test_a_class_name_is_found(world: World) -> None:
    known = world(TWO, builtin="many_a")
    assert known.get("optimizer", "WideAdam").__name__ == "WideAdam"
    assert known.get_class("optimizer", "WideAdam") is known.get("optimizer", "wide_adam")
    assert known.get_class("optimizer", "wide_adam") is None, "an attribute is a class's name, not a registered one"
    assert known.get_class("loss", "Adam") is None
    assert known.get_class("optimizer", "__path__") is None


def test_one_hook_a_kind(world: World) -> None:
    text = """
from distgrad.hookspecs import hookimpl
class A: ...
class B: ...
class C: ...
@hookimpl
def distgrad_optimizers(): return {"a": A}
@hookimpl
def distgrad_losses(): return {"b": B}
@hookimpl
def distgrad_communicators(): return {"c": C}
"""
    known = world({"all_kinds.py": text}, all="all_kinds")
    rows = [(p.kind, p.name, p.class_name, p.distribution, p.version, p.module, p.error) for p in known.plugins()]
    rest = ("dist-all", "1.2", "all_kinds", None)
    assert rows == [("communicator", "c", "C", *rest), ("loss", "b", "B", *rest), ("optimizer", "a", "A", *rest)]


@pytest.mark.parametrize("request_name", ["adam", "Adam"])
def test_only_the_plugin_asked_for_is_imported(world: World, request_name: str) -> None:
    known = world({**TWO, "hostile.py": "import pathlib; raise SystemExit(3)"}, builtin="many_a", evil="hostile")
    known.get("optimizer", request_name)
    assert "many_a.adam" in sys.modules
    assert "many_a.sgd" not in sys.modules
    assert "hostile" not in sys.modules


def test_an_entry_points_own_name_tells_as_well(world: World) -> None:
    known = world({**TWO, "elsewhere.py": optimizer("Lion")}, builtin="many_a", lion="elsewhere")
    assert known.get_class("optimizer", "Lion") is not None
    assert "many_a" not in sys.modules


def test_underscores_and_a_final_loss_do_not_matter(world: World) -> None:
    text = optimizer("CrossEntropyLoss", "cross_entropy").replace("optimizers", "losses")
    known = world(package("many_b", cross_entropy=text, mse=BOOM), losses="many_b")
    assert known.get_class("loss", "CrossEntropyLoss") is known.get("loss", "cross_entropy")
    assert "many_b.mse" not in sys.modules


def test_what_cannot_be_told_by_name_is_found_among_all(world: World) -> None:
    known = world({"odd.py": optimizer("Lion")}, something="odd")
    assert known.get("optimizer", "lion").__name__ == "Lion"


def test_a_package_with_a_hook_of_its_own_is_one_plugin(world: World) -> None:
    files = {"whole/__init__.py": optimizer("Lion"), "whole/helpers.py": BOOM}
    known = world(files, lion="whole")
    assert known.names("optimizer") == ["lion"]
    assert "whole.helpers" not in sys.modules


def test_modules_with_an_underscore_are_no_plugins(world: World) -> None:
    known = world(package("many_c", adam=optimizer("Adam"), _helper=BOOM), builtin="many_c")
    assert known.names("optimizer") == ["adam"]


def test_an_entry_point_may_name_an_object(world: World) -> None:
    text = "from distgrad.hookspecs import hookimpl\nclass Lion: ...\nclass Plugin:\n    @hookimpl\n"
    text += "    def distgrad_optimizers(self): return {'lion': Lion}\nplugin = Plugin()\n"
    assert world({"holder.py": text}, lion="holder:plugin").names("optimizer") == ["lion"]


def test_an_unknown_name_says_what_is_near_and_what_is_known(world: World) -> None:
    known = world(TWO, builtin="many_a")
    with pytest.raises(
        UnknownPluginError, match=r"^unknown optimizer 'adm'; did you mean 'adam'.*\? known: adam, sgd, wide_adam$"
    ):
        known.get("optimizer", "adm")
    with pytest.raises(LookupError, match=r"^unknown loss 'zzz'; known: none$"):
        known.get("loss", "zzz")
    assert known.get_class("optimizer", "Adm") is None


def test_a_wrong_kind_or_type_is_refused(world: World) -> None:
    known = world(TWO, builtin="many_a")
    with pytest.raises(ValueError, match=r"'optim'; the kinds are: optimizer, loss, communicator"):
        known.get("optim", "adam")
    with pytest.raises(TypeError, match=r"\(optimizer\) must be a str, got int"):
        known.get("optimizer", 3)  # type: ignore[arg-type]


def test_a_broken_plugin_is_reported_once_and_takes_nobody_down(world: World) -> None:
    known = world({**TWO, "bad.py": BOOM}, builtin="many_a", bad="bad")
    with pytest.warns(PluginWarning, match=r"bad \(dist-bad 1.2\) cannot be used: OSError: no such accelerator"):
        assert known.names("optimizer") == ["adam", "sgd", "wide_adam"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert known.class_names("optimizer") == ["Adam", "SGD", "WideAdam"]
    (broken,) = [p for p in known.plugins() if p.error]
    assert (broken.name, broken.module, broken.cls) == ("bad", "bad", None)
    with pytest.raises(UnknownPluginError, match=r"plugins that could not be loaded: bad \(dist-bad 1.2\)"):
        known.get("optimizer", "lion")


@pytest.mark.parametrize("failure", [BOOM, "raise SystemExit(1)", "this is no Python", "import no_such_module_at_all"])
def test_a_broken_plugin_asked_for_by_name_raises_with_its_cause(world: World, failure: str) -> None:
    known = world(package("many_d", adam=failure, sgd=optimizer("SGD")), builtin="many_d")
    for ask in (lambda: known.get("optimizer", "adam"), lambda: known.get_class("optimizer", "Adam")):
        with pytest.raises(PluginError, match=r"many_d.adam \(.* 1.2\), asked for as '[aA]dam', is broken") as e:
            ask()
        assert isinstance(e.value.__cause__, (OSError, SystemExit, SyntaxError, ImportError))
    assert known.get("optimizer", "sgd").__name__ == "SGD"


# What a plugin's file holds, its error and what to do about it; {file} is the file.
FAILURES = {
    "at import": (
        f"import math\n{BOOM}",
        "OSError: no such accelerator ({file}, line 2); correct what it does when it is imported, "
        "or remove it: python -m pip uninstall dist-bad",
    ),
    "a library is missing": (
        "import no_such_module_at_all.part",
        "ModuleNotFoundError: No module named 'no_such_module_at_all' ({file}, line 1); install what provides "
        "no_such_module_at_all (python -m pip install no_such_module_at_all?), or remove it: "
        "python -m pip uninstall dist-bad",
    ),
    "a name is missing": (
        "from sys import no_such_name",
        "ImportError: cannot import name 'no_such_name' from 'sys' (unknown location) ({file}, line 1); correct what "
        "it does when it is imported, or remove it: python -m pip uninstall dist-bad",
    ),
    "no Python": (
        "def f(:\n    pass",
        "SyntaxError: invalid syntax (bad.py, line 1); correct it there, or remove it: "
        "python -m pip uninstall dist-bad",
    ),
    "it exits": (
        "import sys\nsys.exit(3)",
        "SystemExit: 3 ({file}, line 2); it ends Python when imported: put that under "
        'if __name__ == "__main__", or remove it: python -m pip uninstall dist-bad',
    ),
    "in a hook": (
        "from distgrad import hookimpl\n@hookimpl\ndef distgrad_optimizers():\n    return {'lion': 1 / 0}",
        "ZeroDivisionError: division by zero ({file}, line 4); correct what it does when it is imported, "
        "or remove it: python -m pip uninstall dist-bad",
    ),
    "a misspelt hook": (
        "from distgrad import hookimpl\n@hookimpl\ndef distgrad_optimisers(): return {}",
        "bad: there is no hook distgrad_optimisers; did you mean distgrad_optimizers? the hooks are: "
        "distgrad_optimizers, distgrad_losses, distgrad_communicators; or remove it: python -m pip uninstall dist-bad",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_what_is_wrong_says_what_to_do_and_the_rest_work(world: World, failure: str) -> None:
    text, message = FAILURES[failure]
    known = world({**TWO, "bad.py": text}, builtin="many_a", bad="bad")
    (broken,) = [p for p in known.plugins() if p.error]
    (folder,) = {Path(p.file).parent.parent for p in known.plugins() if p.module.startswith("many_a.")}
    file = str(folder / "bad.py")
    assert broken.error == message.format(file=file)
    assert broken.file == file
    assert known.get("optimizer", "adam").__name__ == "Adam"


def test_an_entry_point_to_nowhere_says_what_to_correct(world: World) -> None:
    known = world(
        {"here.py": "", **TWO}, builtin="many_a",
        lion="nowhere_to_be_found", puma="here:plugin", tiger="no.where",
    )  # fmt: skip
    correct = "; correct the entry point {} = '{}' in the pyproject.toml of {}, install it again, or remove it: "
    correct += "python -m pip uninstall {}"
    assert {p.name: p.error for p in known.plugins() if p.error} == {
        "lion": "ModuleNotFoundError: No module named 'nowhere_to_be_found'"
        + correct.format("lion", "nowhere_to_be_found", "dist-lion", "dist-lion"),
        "puma": "AttributeError: module 'here' has no attribute 'plugin'"
        + correct.format("puma", "here:plugin", "dist-puma", "dist-puma"),
        "tiger": "ModuleNotFoundError: No module named 'no'"
        + correct.format("tiger", "no.where", "dist-tiger", "dist-tiger"),
    }
    assert known.get("optimizer", "adam").__name__ == "Adam"


def test_a_plugins_file_is_known(world: World) -> None:
    known = world(TWO, builtin="many_a")
    assert {Path(p.file).name for p in known.plugins()} == {"adam.py", "sgd.py", "wide_adam.py"}


HOOK = "from distgrad.hookspecs import hookimpl\nclass A: ...\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HOOK + "@hookimpl\ndef distgrad_optimisers(): return {'a': A}", "no hook distgrad_optimisers; did you mean"),
        (HOOK + "def distgrad_optimiser(): return {'a': A}", "no hook distgrad_optimiser; did you mean distgrad_opt"),
        (HOOK + "@hookimpl\ndef losses(): return {'a': A}", "no hook losses; did you mean distgrad_losses"),
        (HOOK + "def distgrad_losses(): return {'a': A}", "distgrad_losses is not decorated; write @distgrad.hookimpl"),
        (HOOK + "@hookimpl\ndef distgrad_losses(config): return {'a': A}", r"definition: distgrad_losses\(config\)"),
        (HOOK + "@hookimpl\ndef distgrad_losses(): return [A]", "must return a dict of name to class, got list"),
        (HOOK + "@hookimpl\ndef distgrad_losses(): return {'a': A()}", "'a' must be a class, got A"),
        (HOOK + "@hookimpl\ndef distgrad_losses(): return {'A b': A}", "lower-case letters, .* got 'A b'"),
        (HOOK + "@hookimpl\ndef distgrad_losses(): return {3: A}", "lower-case letters, .* got 3"),
        (HOOK + "@hookimpl\ndef distgrad_losses(): return {}", "offers nothing"),
        (HOOK + "@hookimpl\ndef distgrad_losses(): return None", "offers nothing"),
        ("", "offers nothing: a plugin needs a function among"),
        (HOOK + "@hookimpl\ndef distgrad_losses(): raise OSError('late')", "late"),
    ],
)  # fmt: skip
def test_a_plugin_at_odds_with_the_contract(world: World, text: str, message: str) -> None:
    known = world({"at_odds.py": text, **TWO}, at_odds="at_odds", builtin="many_a")
    with pytest.raises(PluginError, match=message):
        known.get("loss", "at_odds")
    with pytest.warns(PluginWarning, match=message):
        assert known.names("optimizer") == ["adam", "sgd", "wide_adam"]


def test_two_plugins_with_one_name_are_an_error_that_names_both(world: World) -> None:
    known = world({**TWO, "mine.py": optimizer("MyAdam", "adam")}, builtin="many_a", adam="mine")
    message = r"'adam' is offered by 2 plugins: mine \(dist-adam 1.2\) and many_a.adam \(dist-builtin 1.2\); rename "
    message += r"one of them in its hook, or remove its distribution \(python -m pip uninstall\)"
    with pytest.raises(PluginError, match=message):
        known.get("optimizer", "adam")
    assert known.get("optimizer", "sgd").__name__ == "SGD"
    assert {p.module for p in known.plugins() if p.error} == {"mine", "many_a.adam"}


def test_two_plugins_with_one_class_name_are_an_error(world: World) -> None:
    known = world({**TWO, "mine.py": optimizer("Adam", "other_adam")}, builtin="many_a", mine="mine")
    known.names("optimizer")
    with pytest.raises(PluginError, match="'Adam' is offered by 2 plugins"):
        known.get_class("optimizer", "Adam")
    assert known.get("optimizer", "other_adam").__module__ == "mine"
    assert {p.module for p in known.plugins() if p.error} == {"mine", "many_a.adam"}


def test_one_class_under_two_names_is_fine(world: World) -> None:
    text = optimizer("A").replace('{"a": A}', '{"a": A, "b": A}')
    known = world({"alias.py": text}, a="alias")
    assert known.get("optimizer", "b") is known.get_class("optimizer", "A")
    assert all(p.error is None for p in known.plugins())


def module(**functions: object) -> types.ModuleType:
    made = types.ModuleType("made_here")
    for name, function in functions.items():
        if isinstance(function, types.FunctionType):
            function.__module__ = "made_here"
        setattr(made, name, function)
    return made


class Lion: ...


def lion_module(name: str = "lion") -> types.ModuleType:
    @hookimpl
    def distgrad_optimizers() -> dict[str, type]:
        return {name: Lion}

    return module(distgrad_optimizers=distgrad_optimizers)


def test_registering_by_hand_and_undoing_it(world: World) -> None:
    known, plugin = world(TWO, builtin="many_a"), lion_module()
    before = known.digest()
    known.register(plugin)
    assert known.get("optimizer", "lion") is known.get_class("optimizer", "Lion") is Lion
    (record,) = [p for p in known.plugins() if p.name == "lion"]
    assert (record.distribution, record.version, record.module) == ("(registered in this process)", "", "made_here")
    assert known.digest() != before
    with pytest.raises(PluginError, match="registered already"):
        known.register(plugin)
    known.unregister(plugin)
    assert known.get_class("optimizer", "Lion") is None
    assert known.digest() == before
    with pytest.raises(PluginError, match="is not registered"):
        known.unregister(plugin)
    known.register(plugin, name="again")
    assert [p.module for p in known.plugins() if p.name == "lion"] == ["again"]


def test_registering_a_taken_name_or_a_misspelt_hook_fails_at_once(world: World) -> None:
    known = world(TWO, builtin="many_a")
    with pytest.raises(PluginError, match="'adam' is offered by 2 plugins"):
        known.register(lion_module("adam"))
    assert known.get("optimizer", "adam").__module__ == "many_a.adam"
    with pytest.raises(PluginError, match="no hook distgrad_optimiser"):
        known.register(module(distgrad_optimiser=lambda: {}))


def test_a_plugin_may_ask_for_another_while_it_is_imported(world: World) -> None:
    known = world(
        package(
            "many_e",
            adam=optimizer("Adam"),
            adamw="import the_world\nBase = the_world.known.get('optimizer', 'adam')\n"
            "assert the_world.known.get_class('optimizer', 'Nothing') is None\n" + optimizer("AdamW"),
        ),
        builtin="many_e",
    )
    holder = types.ModuleType("the_world")
    holder.known = known  # type: ignore[attr-defined]
    sys.modules["the_world"] = holder
    try:
        assert known.get("optimizer", "adamw").__name__ == "AdamW"
        assert known.names("optimizer") == ["adam", "adamw"]
    finally:
        del sys.modules["the_world"]


def test_threads_see_one_registry(world: World) -> None:
    slow = "import time; time.sleep(0.05)\n"
    names = [f"opt{i}" for i in range(6)]
    known = world(package("many_f", **{n: slow + optimizer(n.title(), n) for n in names}), builtin="many_f")
    found: list[tuple[type, ...]] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        found.append(tuple(known.get("optimizer", n) for n in names))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=150)
    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(known.plugins()) == 6


def test_the_digest_tells_versions_apart_and_imports_nothing(world: World) -> None:
    known = world({"plain.py": BOOM}, a="plain")
    same = Registry(lambda: [EntryPoint("a", "plain", Distribution("dist-a"))])
    newer = Registry(lambda: [EntryPoint("a", "plain", Distribution("dist-a", "1.3"))])
    assert known.digest() == same.digest() != newer.digest()
    assert "plain" not in sys.modules


def test_an_uninstalled_checkout_says_how_to_install_it() -> None:
    root = Path(registry.__file__).parent.parent
    program = (
        "import importlib.metadata as m\n"
        "m.distributions = lambda: ()\n"
        "from distgrad import registry\n"
        "registry.get('optimizer', 'adam')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 1
    assert f"not installed, so its built-in plugins cannot be found: run python -m pip install -e {root}" in done.stderr


# What may lie in a dist-info folder; each has an entry point of ours, or what could be one.
DAMAGED = {
    "no METADATA": {"entry_points.txt": b"[distgrad]\nodd = odd\n"},
    "METADATA without a name": {"entry_points.txt": b"[distgrad]\nodd = odd\n", "METADATA": b"Metadata-Version: 2.1\n"},
    "METADATA is empty": {"entry_points.txt": b"[distgrad]\nodd = odd\n", "METADATA": b""},
    "METADATA is no text": {"entry_points.txt": b"[distgrad]\nodd = odd\n", "METADATA": b"\xff\xfe\x00"},
    "entry points are no text": {"entry_points.txt": b"\xff\xfe[distgrad]", "METADATA": b"Name: odd\nVersion: 1\n"},
    "entry points without a section": {"entry_points.txt": b"odd = odd\n", "METADATA": b"Name: odd\nVersion: 1\n"},
    "nothing at all": {},
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_distribution_does_not_take_the_others_down(kind: str, world: World, tmp_path: Path) -> None:
    world({"odd.py": optimizer("Odd"), "good.py": optimizer("Good")})
    for name, files in {
        "odd-1.0": DAMAGED[kind],
        "good-2.0": {"entry_points.txt": b"[distgrad]\ngood = good\n", "METADATA": b"Name: good\nVersion: 2.0\n"},
    }.items():
        folder = tmp_path / f"{name}.dist-info"
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_bytes(content)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = entry_points_of(distributions(path=[str(tmp_path)]))
    known = Registry(lambda: found)
    assert known.get("optimizer", "good").__name__ == "Good"
    assert [w.category for w in said if "odd-1.0.dist-info is damaged" not in str(w.message)] == []
    if len(found) == 2:  # it can be told what it offers, and that works too
        assert known.get("optimizer", "odd").__name__ == "Odd"
        assert [p.distribution for p in known.plugins()] == ["good", "odd"]
        assert known.digest()


def test_the_built_ins_load_and_are_found_under_every_name() -> None:
    found = registry.plugins()
    assert {p.kind for p in found} == {"optimizer", "loss", "communicator"}
    for record in found:
        assert record.error is None
        assert record.cls is registry.get(record.kind, record.name)
        assert record.cls is registry.get_class(record.kind, record.class_name)
        assert record.class_name in registry.class_names(record.kind)
        assert record.name in registry.names(record.kind)
