"""What ``plugins new`` writes: the files under ``templates``, with the plugin's names put in.

``templates/common`` goes into every distribution, ``templates/KIND`` into those of its kind.  A file's name loses its
ending ``.in``; ``$name``, ``$module`` and their like are replaced in it and in the text (:class:`string.Template`).
"""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path
from string import Template

from .. import registry
from ..hookspecs import HOOKS

__all__ = ["Names", "names_of", "write"]

TEMPLATES = Path(__file__).with_name("templates")
ALLOWED = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


@dataclasses.dataclass(frozen=True, slots=True)
class Names:
    """Everything that the templates name.

    Attributes:
        kind: ``"optimizer"``, ``"loss"`` or ``"communicator"``.
        name: the registered name, ``my_optimizer``.
        cls: the class, ``MyOptimizer``.
        module: ``distgrad_my_optimizer``.
        distribution: ``distgrad-my-optimizer``.
        folder: where it is written.
    """

    kind: str
    name: str
    cls: str
    module: str
    distribution: str
    folder: Path

    @property
    def module_file(self) -> str:
        return f"src/{self.module}.py"


def names_of(name: str, kind: str, directory: Path) -> Names:
    """The names that follow from ``name``.

    Raises:
        ValueError: an unknown kind, a name that is not allowed, or one that is taken.
    """
    if kind not in HOOKS:
        raise ValueError(f"unknown kind of plugin {kind!r}; the kinds are: {', '.join(HOOKS)}")
    plain = name.removeprefix("distgrad-").removeprefix("distgrad_")
    if not ALLOWED.fullmatch(plain):
        raise ValueError(
            f"{name!r} cannot name a plugin: allowed are lower-case letters and digits, the first a letter, in words "
            "joined by single hyphens or underscores, such as my-optimizer"
        )
    words = re.split("[-_]", plain)
    cls = "".join(word.capitalize() for word in words)
    if kind == "loss" and not cls.endswith("Loss"):
        cls += "Loss"  # PyTorch's way: nn.MSELoss
    made = Names(
        kind, "_".join(words), cls, "_".join(["distgrad", *words]), "-".join(["distgrad", *words]),
        directory / "-".join(["distgrad", *words]),
    )  # fmt: skip
    for plugin in registry.plugins():
        if plugin.kind == kind and (plugin.name == made.name or plugin.class_name == made.cls):
            raise ValueError(
                f"{plugin.distribution} {plugin.version} has the {kind} {plugin.name!r} ({plugin.class_name}) already, "
                "and names are unique: choose another"
            )
    if importlib.util.find_spec(made.module) is not None:
        raise ValueError(f"a module {made.module} is installed already: choose another name")
    return made


def write(name: str, kind: str, directory: Path) -> Names:
    """Write the distribution into a new folder of ``directory``.

    Raises:
        ValueError: see :func:`names_of`.
        FileExistsError: the folder is there; nothing is overwritten.
    """
    made = names_of(name, kind, directory)
    if made.folder.exists():
        raise FileExistsError(f"{made.folder} exists already; nothing was written")
    known = {k: str(v) for k, v in ((f.name, getattr(made, f.name)) for f in dataclasses.fields(made))}
    for top in (TEMPLATES / "common", TEMPLATES / kind):
        for source in sorted(top.rglob("*.in")):
            target = made.folder / Template(str(source.relative_to(top).with_suffix(""))).substitute(known)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = Template(source.read_text(encoding="utf-8")).substitute(known, hook=HOOKS[kind])
            target.write_text(text, encoding="utf-8")
    return made
