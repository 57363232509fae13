"""How Sphinx builds these pages: ``python -m sphinx -W --keep-going docs OUT``, without a network."""

from __future__ import annotations

import re
from typing import Any

import distgrad

project = "distgrad"
author = "the distgrad authors"
copyright = author
release = version = "0.1.0"
root_doc = "index"
exclude_patterns = ["_build"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
nitpicky = True  # a page or heading that a link names and that is not there is an error
nitpick_ignore_regex = [
    # Types in signatures and names in docstrings: those of other libraries have no page here (their inventories would
    # need a network), and our internal ones are not in the reference.  Links that are written in pages stay strict.
    ("py:.*", ".*"),
]

html_theme = "alabaster"  # comes with Sphinx and loads nothing from elsewhere
html_theme_options = {"description": distgrad.__doc__.partition(": ")[2].partition("\n")[0], "fixed_sidebar": True}
html_show_sphinx = False

autodoc_member_order = "alphabetical"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
napoleon_google_docstring, napoleon_numpy_docstring = True, False

napoleon_custom_sections = [("Class attributes that a subclass sets", "Attributes")]


def plain(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with ``code`` and roles: stars and bars in their mathematics are no markup."""
    example = False
    for i, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if not example:
            pieces = re.split(r"(``.*?``|`[^`]*`)", line)
            lines[i] = "".join(p if p.startswith("`") else re.sub(r"([*|])", r"\\\1", p) for p in pieces)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", plain, priority=400)  # before napoleon reads sections
