"""The rules of the house, read from the sources: who imports whom, what is never used, what every file must have.

Files are found, not listed: a new one is checked unasked, and a new part of distgrad fails until it has a row in
``MAY_IMPORT``.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import distgrad
from distgrad import hookspecs
from distgrad.nn import functional

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = sorted((ROOT / "distgrad").rglob("*.py"))
PLUGINS = sorted(p for p in (ROOT / "plugins").rglob("*.py") if "template" not in p.parts)
LAUNCH = sorted((ROOT / "launch").rglob("*.py"))
SHIPPED = [*LIBRARY, *PLUGINS, *LAUNCH]
OTHERS = ("tests", "benchmarks", "docs", "examples", "plugins/template")
FILES = set(LIBRARY)
ALL = [*SHIPPED, *sorted(p for top in OTHERS for p in (ROOT / top).rglob("*.py"))]

GROUND = {"backend", "dtypes"}
TAPE = GROUND | {"_arguments", "autograd"}
ANYTHING = {"*"}
OPERATIONS = {"ops", "ops.linalg", "ops.nn", "ops.nn.losses"}
COMPRESSION = "distributed.algorithms.ddp_comm_hooks"
UNDER_GROUPS = {
    f"distributed.{room}" for room in ("communication", "launching", "timeline", "shared_memory", "reliability")
}
UNDER_DATA_PARALLEL = UNDER_GROUPS | {
    f"distributed.{room}" for room in ("process_groups", "collectives", "gradients", "node_update")
}
ANYTHING_DISTRIBUTED = UNDER_DATA_PARALLEL | {"_names"}

# What each part of distgrad may import of distgrad, besides itself.  The longest matching name counts.
MAY_IMPORT: dict[str, set[str]] = {
    "": ANYTHING,  # distgrad/__init__.py: the public names
    "__main__": {"cli"},
    "_arguments": {"autograd", "backend", "dtypes"},
    "_compile_cache": set(),
    "accelerator": {"backend", "cuda"},
    "_instead": set(),
    "_streams": {"backend"},
    "_names": set(),
    "aliases": TAPE,
    "_plugins": {"hookspecs"},
    "autograd": GROUND | {"_arguments", "printing"},
    "autograd.forward_ad": TAPE | {"ops"},  # made of operations, and imported when asked for
    "autograd.functional": TAPE | {"ops"},
    "backend": set(),
    "backends": {"kernels"},
    "kernels": set(),
    "cli": ANYTHING,
    "jit": {"_compile_cache", "_instead", "backend"},
    "cuda": GROUND | {"_streams", "ops", "random"},  # the types of tensors there; manual_seed_all
    "func": TAPE | OPERATIONS | {"nn", "nn.base", "random", "return_types"},
    "distributed": ANYTHING_DISTRIBUTED,  # PyTorch's names, handed on
    # From the bottom up: each may import what stands above it here, and of the rest of distgrad what its row says.
    "distributed.communication": GROUND | {"jit"},
    "distributed.launching": GROUND | {"distributed.communication"},
    "distributed.timeline": {"distributed.communication", "distributed.launching"},
    "distributed.shared_memory": {"distributed.communication"},
    "distributed.reliability": GROUND | {"distributed.communication", "distributed.launching", "distributed.timeline"},
    "distributed.process_groups": TAPE | {"registry"} | UNDER_GROUPS,
    "distributed.collectives": TAPE | {"distributed.process_groups"} | UNDER_GROUPS,
    "distributed.gradients": TAPE | {"distributed.collectives", "distributed.communication", "jit", "storage"},
    "distributed.node_update": TAPE | {"distributed.gradients", "jit", "storage"} | UNDER_GROUPS,
    "distributed.data_parallel": TAPE | {"storage"} | UNDER_DATA_PARALLEL,
    "distributed.algorithms.ddp_comm_hooks": TAPE | UNDER_DATA_PARALLEL,
    "distributed.algorithms": TAPE | {"distributed", "storage"} | UNDER_DATA_PARALLEL,
    # Optimizers around optimizers, as nn.parallel has modules around modules.
    "distributed.optim": TAPE | {"optim", "storage", "distributed.data_parallel", "distributed.algorithms", COMPRESSION}
    | UNDER_DATA_PARALLEL,
    "distributions": TAPE | OPERATIONS,
    "_float8": set(),
    "dtypes": {"_float8"},
    "fft": {"_names", "ops"},
    "hookspecs": set(),
    "linalg": {"_names", "ops.linalg"},
    "nn": TAPE | {"_names", "nn.base", "nn.modules", "random", "registry"} | OPERATIONS,
    "nn.attention": {"ops.nn"},
    "nn.base": TAPE | {"nn", "ops"},  # nn.parameter; empty_like
    "nn.modules": TAPE | {"nn", "nn.base"} | OPERATIONS,
    "nn.utils": TAPE | OPERATIONS | {"nn", "nn.base", "nn.modules"},
    "nn.parallel": TAPE | {"distributed.algorithms", "distributed.data_parallel"} | UNDER_DATA_PARALLEL
    | {"nn", "nn.base", "nn.modules", "ops"},  # a layer over the ranks
    "ops": TAPE | {"random", "return_types"} | OPERATIONS,
    "ops.linalg": TAPE | {"ops", "return_types"},
    "ops.nn": TAPE | {"kernels", "random"} | OPERATIONS,
    "ops.nn.losses": TAPE | {"ops", "ops.nn"},
    "optim": TAPE | {"_names", "optim.update", "registry", "storage"},
    "optim.lr_scheduler": TAPE | {"_names", "optim"},
    "optim.update": TAPE | {"jit", "optim", "storage"},
    # An averaged model is a module.
    "optim.swa_utils": TAPE | {"nn", "nn.modules", "ops", "optim", "optim.lr_scheduler"},
    "printing": {"dtypes"},
    "profiler": TAPE
    | {"distributed.launching", "distributed.process_groups", "distributed.timeline", "nn.base", "optim"},
    "random": GROUND,
    "registry": {"_plugins", "hookspecs"},
    "return_types": set(),
    "serialization": TAPE | {"nn"},  # a Parameter is saved and loaded as one
    "settings": {"backend", "kernels"},
    "special": {"_names", "ops", "ops.nn"},
    "sparse": TAPE | OPERATIONS,
    "storage": TAPE | {"aliases"},
    "testing": ANYTHING,
    "version": set(),
    "testing.conformance": ANYTHING,
    "testing.fake_device": GROUND,
    "utils": TAPE | {"utils.checkpoint", "utils.data"},
    "utils.checkpoint": TAPE | {"random"},
    "utils.data": TAPE | {"distributed", "ops", "random"},
}
ONLY_IN = {"cupy": "distgrad/backend/cupy.py", "mpi4py": "plugins/communicators/mpi/process.py"}
PICKLERS = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
PICKLES = {
    ("distgrad/backend/__init__.py", "pickle.PickleBuffer"): "a buffer that is no array; nothing is pickled",
    ("tests/autograd/test_copying.py", "pickle"): "loads what it has just pickled itself",
}
# Functions that are longer than others may be, with the reason.
LONG = {
    "distgrad/autograd/dispatch.py": {
        "binary_call": "every operation of two tensors, straightened: a call within costs 3 % of a small one",
        "call": "likewise, of one tensor and a number or of two",
        "general_call": "the same for all others",
    },
    "distgrad/autograd/fused.py": {"fused_call": "the same for those that have a hand-made backward"},
}  # fmt: skip
STDLIB_ONLY = ["launch/digits.py", "launch/environment.py", "launch/local.py", "tests/run.py"]
NOT_COMPLETE = {"distgrad/dtypes.py": "__all__ is what distgrad re-exports; the other functions are for its own parts"}


FAMILIES = [ROOT / "distgrad" / "ops", ROOT / "distgrad" / "ops" / "linalg"]  # likewise: what distgrad hands on


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def each(paths: list[Path]) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """One test over all files, which tells every one that fails: thousands of tests would take a minute to deal out."""

    def over_all(test: Callable[[Path], None]) -> Callable[[], None]:
        def check() -> None:
            wrong = []
            for path in paths:
                try:
                    test(path)
                except AssertionError as error:
                    wrong.append(f"{name_of(path)}: {error}")
            assert not wrong, "\n".join(wrong)

        check.__name__, check.__doc__ = test.__name__, test.__doc__
        return check

    return over_all


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_of(path: Path) -> str:
    """``distgrad/nn/modules/linear.py`` is ``distgrad.nn.modules.linear``; a plugin's folder goes by the name it is
    imported by."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] == "plugins":
        parts[:2] = [f"distgrad_{parts[1]}"]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, module: str | None = None) -> Iterator[tuple[str, int]]:
    """Absolute names of all that a file imports, wherever in it, with lines; ``from a import b`` is both a and a.b.

    What stands under ``if TYPE_CHECKING:`` is never run and not counted.
    """
    unrun: set[ast.AST] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            unrun.update(inner for statement in node.body for inner in ast.walk(statement))
    package = (module or module_of(path)).split(".")[: None if path.name == "__init__.py" else -1]
    for node in ast.walk(tree_of(path)):
        if node in unrun:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from ((str(a.value), node.lineno) for a in node.args[:1] if isinstance(a, ast.Constant))


def part_of(imported: str) -> str:
    """The part that ``imported`` names: ``distgrad.nn.functional.relu`` is in ``nn``, ``distgrad.tensor`` in ``""``."""
    names = imported.split(".")[1:]
    for length in range(len(names), 0, -1):
        if ".".join(names[:length]) in MAY_IMPORT:
            return ".".join(names[:length])
    if names and ((ROOT / "distgrad" / names[0]).is_dir() or (ROOT / "distgrad" / f"{names[0]}.py").exists()):
        return names[0]
    return ""


def test_the_rules_see_the_files() -> None:
    assert {"distgrad/backend/__init__.py", "distgrad/registry.py"} <= {name_of(p) for p in LIBRARY}
    assert {"plugins/optimizers/__init__.py", "launch/environment.py"} <= {name_of(p) for p in SHIPPED}


def test_optim_and_distributed_meet_only_in_hooks_and_storage() -> None:
    """A row may grow with its part; these never."""
    for part, never in [("optim", "distributed"), ("distributed", "optim"), ("distributed", "nn"), ("autograd", "ops")]:
        assert never not in MAY_IMPORT[part]
    for outer in ("nn", "optim", "distributed", "ops"):
        assert not {"autograd", "backend", "dtypes", "storage"} & {p for p in MAY_IMPORT if outer in MAY_IMPORT[p]}


def test_imports_are_read_in_every_form(tmp_path: Path) -> None:
    path = tmp_path / "layer.py"
    path.write_text(
        "import a.b\nfrom . import c\nfrom ..optim import d\nfrom distgrad import e\n"
        "def f():\n    import g\n    importlib.import_module('h')\n"
        "if TYPE_CHECKING:\n    import i\nelse:\n    import j\n",
        encoding="utf-8",
    )
    found = {name for name, _ in imports(path, "distgrad.nn.layer")}
    assert found == {"a.b", "distgrad.nn.c", "distgrad.optim.d", "distgrad.e", "g", "h", "j"}


@each(LIBRARY)
def test_parts_of_the_library_import_only_what_they_may(path: Path) -> None:
    part = part_of(module_of(path))
    assert part in MAY_IMPORT, f"{name_of(path)} belongs to no known part of distgrad; give it a row in MAY_IMPORT"
    allowed = MAY_IMPORT[part] | {part}
    wrong = [
        f"line {line}: {name}"
        for name, line in imports(path)
        if name.split(".")[0] == "distgrad" and "*" not in allowed and part_of(name) not in allowed
    ]
    assert not wrong, f"{name_of(path)} is part of {part or 'distgrad'!r}, which may import {sorted(allowed)}: {wrong}"


def test_every_package_has_its_row() -> None:
    packages = {".".join(p.parent.relative_to(ROOT / "distgrad").parts) for p in LIBRARY if p.name == "__init__.py"}
    assert packages <= MAY_IMPORT.keys()


def imported_files(path: Path) -> set[Path]:
    """The files of the library that a file imports from; of ``from package import module`` it is the module."""
    found = set()
    for name, _ in imports(path):
        parts = name.split(".")
        for length in (len(parts), len(parts) - 1):
            module = ROOT.joinpath(*parts[:length])
            file = next((f for f in (module.with_suffix(".py"), module / "__init__.py") if f in FILES), None)
            if file is not None:
                found.add(file)
                break
    return found - {path}


def test_no_circle_of_imports_among_files() -> None:
    """Every round takes away the files that import none of those left; a circle would stay."""
    left = {path: imported_files(path) for path in LIBRARY}
    while free := [path for path, needed in left.items() if not needed & left.keys()]:
        for path in free:
            del left[path]
    assert not left, f"files that import each other are among {sorted(map(name_of, left))}"


def lines_of(node: ast.AST) -> int:
    """How many lines a function has, without its docstring."""
    assert isinstance(node, ast.FunctionDef)
    first = node.body[0]
    told = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) and first.end_lineno else 0
    return (node.end_lineno or 0) - node.lineno + 1 - told


def code_lines(path: Path) -> int:
    """How many lines a file has, without its docstrings, which hold examples."""
    told = 0
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)) and ast.get_docstring(node):
            told += (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
    return path.read_text(encoding="utf-8").count("\n") - told


@each(SHIPPED)
def test_files_and_functions_fit_in_one_head(path: Path) -> None:
    assert code_lines(path) <= 420, f"{name_of(path)} has {code_lines(path)} lines: split it by idea"
    functions = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.FunctionDef)]
    long = {n.name: lines_of(n) for n in functions if lines_of(n) > 62 and n.name not in LONG.get(name_of(path), {})}
    assert not long, f"{name_of(path)}: {long} lines: split them by idea, or say in LONG why they are one piece"


def test_long_functions_are_still_there() -> None:
    for name, functions in LONG.items():
        found = {n.name: lines_of(n) for n in ast.walk(tree_of(ROOT / name)) if isinstance(n, ast.FunctionDef)}
        assert all(found[function] > 62 for function in functions), name


@each(LIBRARY)
def test_the_library_never_imports_plugins_or_scripts(path: Path) -> None:
    outside = {p.stem for p in LAUNCH} | {"launch", "plugins", "tests", "benchmarks"}
    wrong = [n for n, _ in imports(path) if n.split(".")[0] in outside or n.startswith("distgrad_")]
    assert not wrong


def public_ops() -> dict[str, Callable[..., object]]:
    """Functions of distgrad/ops under the names users call; not primitives, whose callables the engine makes."""
    found = {**vars(functional), **vars(distgrad)}
    ours = {n: f for n, f in found.items() if getattr(f, "__module__", "").startswith("distgrad.ops.")}
    return {n: f for n, f in ours.items() if inspect.isfunction(f) and not hasattr(f, "primitive")}


def test_public_ops_are_annotated_in_full() -> None:
    assert {"add", "cat", "max", "softmax", "tensor", "tril", "zeros_like"} <= set(public_ops())
    wrong = []
    for name, function in public_ops().items():
        signature = inspect.signature(function)
        bare = [p.name for p in signature.parameters.values() if p.annotation is inspect.Parameter.empty]
        if bare or signature.return_annotation is inspect.Signature.empty:
            wrong.append(f"{name}: {', '.join(bare) or 'what it returns'}")
    assert not wrong


@each([*PLUGINS, *sorted((ROOT / "plugins/template/src").rglob("*.py"))])
def test_plugins_import_no_script_and_no_test(path: Path) -> None:
    outside = {p.stem for p in LAUNCH} | {"launch", "tests", "benchmarks"}
    assert not [n for n, _ in imports(path) if n.split(".")[0] in outside]


@each(SHIPPED)
def test_optional_libraries_are_imported_in_one_place(path: Path) -> None:
    wrong = [n for n, _ in imports(path) if ONLY_IN.get(n.split(".")[0], name_of(path)) != name_of(path)]
    assert not wrong, f"allowed only in {ONLY_IN}"


@each(ALL)
def test_nothing_unpickles_or_evaluates(path: Path) -> None:
    found = [(n, line) for n, line in imports(path) if n.split(".")[0] in PICKLERS]
    wrong = [f"line {line}: import {n}" for n, line in found if (name_of(path), n) not in PICKLES]
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec", "compile", "__import__"):
            wrong.append(f"line {node.lineno}: {node.func.id}()")
        for keyword in node.keywords:
            if keyword.arg == "allow_pickle" and not (
                isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            ):
                wrong.append(f"line {node.lineno}: allow_pickle")
    assert not wrong


@each(ALL)
def test_every_file_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree_of(path)), f"{name_of(path)} has no docstring"


def exported(path: Path) -> list[str] | None:
    """The file's ``__all__`` where it is a plain list."""
    for node in tree_of(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value) if isinstance(node.value, (ast.List, ast.Tuple)) else None
    return None


def defined(path: Path) -> tuple[set[str], set[str]]:
    """All names bound at the top of a file, and those among them that look public: not imported, or by a package."""
    bound, public = set(), set()
    package = path.name == "__init__.py"
    for node in tree_of(path).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bound.add(node.name)
            public.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
        elif isinstance(node, (ast.Import, ast.ImportFrom, ast.If, ast.Try)):
            for inner in ast.walk(node):
                if isinstance(inner, (ast.Import, ast.ImportFrom)):
                    bound |= {(alias.asname or alias.name).split(".")[0] for alias in inner.names}
            own = isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("distgrad"))
            if package and own:
                public |= {alias.asname or alias.name for alias in node.names} - {"*"}
    return bound, {name for name in public if not name.startswith("_")}


@each([p for p in SHIPPED if "\n__all__ = [" in p.read_text(encoding="utf-8")])
def test_all_is_sorted_and_complete(path: Path) -> None:
    listed, (bound, public) = exported(path), defined(path)
    assert listed is not None
    assert listed == sorted(set(listed)), "__all__ must be in plain sorted order, each name once"
    computed = any(isinstance(n, ast.FunctionDef) and n.name == "__getattr__" for n in tree_of(path).body)
    missing = set(listed) - bound
    assert computed or not missing, f"in __all__ but not defined: {sorted(missing)}"
    if name_of(path) not in NOT_COMPLETE and path.parent not in FAMILIES:
        assert public <= set(listed), f"public but not in __all__: {sorted(public - set(listed))}"


def test_exceptions_are_still_needed() -> None:
    for name in NOT_COMPLETE:
        path = ROOT / name
        assert not defined(path)[1] <= set(exported(path) or ()), f"{name} is complete; take it off the list"


@pytest.mark.parametrize("hook", sorted(hookspecs.HOOKS.values()))
def test_every_hook_is_documented_and_tested(hook: str) -> None:
    assert "Called" in (getattr(hookspecs, hook).__doc__ or ""), "a hook's docstring says when it is called"
    tests = [p for p in (ROOT / "tests").rglob("test_*.py") if p != Path(__file__)]
    assert any(re.search(rf"\b{hook}\b", p.read_text(encoding="utf-8")) for p in tests), f"no test names {hook}"


def test_hookspecs_is_the_whole_contract() -> None:
    specs = {n for n in vars(hookspecs) if n.startswith("distgrad_")}
    assert specs == set(hookspecs.HOOKS.values())


@pytest.mark.parametrize("script", [name for name in STDLIB_ONLY if (ROOT / name).exists()])
def test_set_up_scripts_need_only_the_standard_library(script: str) -> None:
    allowed = sys.stdlib_module_names | {"environment", "local"}
    assert not [n for n, _ in imports(ROOT / script) if n.split(".")[0] not in allowed]


def test_no_machine_paths_in_what_is_committed() -> None:
    homes = re.compile(r"(?<![\w.:/-])/(?:root|work|home|Users)/|(?<![\w.:/-])/tmp/(?!\{)\w")
    made = re.compile(r"__pycache__|egg-info")  # by running and installing; git ignores them
    wrong = []
    for top in (
        "distgrad", "plugins", "launch", "tests", "benchmarks", "docs", "examples", ".ci", ".github", "*.md", "*.toml",
        "*.py", "*.yaml", ".*.yaml",
    ):  # fmt: skip
        for path in (p for found in ROOT.glob(top) for p in ([found] if found.is_file() else found.rglob("*"))):
            if path.is_file() and path.suffix not in (".png", ".svg") and not made.search(str(path)):
                text = path.read_text(encoding="utf-8", errors="replace")
                wrong += [f"{name_of(path)}: {m.group()}" for m in homes.finditer(text)]
    assert not wrong


def test_no_test_asserts_how_long_something_took() -> None:
    """A busy machine takes as long as it likes: tests assert what ended a job, or a wait."""
    timed = re.compile(r"assert .*(\.seconds|(monotonic|perf_counter|time)\(\) - \w+)\)?\s*[<>]")
    assert timed.search("assert job.seconds < 8, job")
    assert timed.search("assert time.monotonic() - began < 20")
    found = [p for p in (ROOT / "tests").rglob("*.py") if p.name != "test_architecture.py"]
    assert not [f"{name_of(p)}: {m.group()}" for p in found for m in timed.finditer(p.read_text(encoding="utf-8"))]


def test_import_needs_neither_mpi_nor_cupy() -> None:
    program = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("mpi4py", "cupy"):
            raise ModuleNotFoundError("absent: " + name, name=name)
sys.meta_path.insert(0, Absent())
import distgrad, distgrad.registry
assert "mpi4py" not in sys.modules and "cupy" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    plain = "import sys, distgrad; sys.exit(bool({'mpi4py', 'cupy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", plain], timeout=150, check=False).returncode == 0
