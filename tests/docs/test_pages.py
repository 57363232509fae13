"""What pages say of the sources is so: messages, environment variables, links, pictures, and the build itself."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import picture
from distgrad import registry
from tests.docs.blocks import PAGES, ROOT
from tests.helpers.ranks import job_environment

DOCS = ROOT / "docs"
SHIPPED = [p for top in ("distgrad", "plugins", "launch") for p in sorted((ROOT / top).rglob("*.py"))]
CHANGING = "\0"


@functools.cache
def literals() -> str:
    """All string literals of what is shipped, docstrings left out, with a mark where an f-string has a value."""
    found = []
    for path in SHIPPED:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if id(node) in said:
                continue
            if isinstance(node, ast.JoinedStr):
                found.append("".join(str(v.value) if isinstance(v, ast.Constant) else CHANGING for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_messages_are_those_of_the_sources() -> None:
    texts = re.findall(r"^### `(.*)`$", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(texts) > 40
    assert len(set(texts)) == len(texts)
    everything = literals()
    # A value of the message is … here; where the source has … itself, that is meant.
    wrong = [t for t in texts if not re.search("[^\n]*?".join(re.escape(p) for p in t.split("…")), everything)]
    assert not wrong


def test_variables_are_those_of_the_sources() -> None:
    name = re.compile(r"\bDISTGRAD_[A-Z][A-Z_]*[A-Z]\b")
    page = (DOCS / "environment-variables.md").read_text(encoding="utf-8")
    files = [*SHIPPED, *(p for top in ("tests", "benchmarks") for p in sorted((ROOT / top).rglob("*.py")))]
    used = {n for p in files for n in name.findall(p.read_text(encoding="utf-8"))}
    assert set(name.findall(page)) == used


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as on GitHub and in MyST."""
    titles = re.findall(r"^#{1,4} (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", t.strip().lower()).replace(" ", "-") for t in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, fragment = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (fragment and fragment not in anchors(target)):
            wrong.append(link)
    assert not wrong


def test_files_that_pages_name_are_there() -> None:
    path = re.compile(r"`((?:distgrad|plugins|tests|benchmarks|launch|docs|examples|findings)/[\w./-]*)`")
    named = {(page.name, name) for page in PAGES for name in path.findall(page.read_text(encoding="utf-8"))}
    assert sorted((page, name) for page, name in named if not (ROOT / name).exists()) == []


def test_every_page_is_in_the_table_of_contents() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    assert {p.stem for p in DOCS.glob("*.md")} - {"index"} <= set(index.split())


def test_the_reference_has_every_built_in_optimizer_and_public_module() -> None:
    text = "\n".join(p.read_text(encoding="utf-8") for p in (DOCS / "reference").glob("*.md"))
    ours = {p.class_name for p in registry.plugins() if p.kind == "optimizer" and p.distribution == "distgrad"}
    assert ours
    assert {n for n in ours if f".. autoclass:: distgrad.optim.{n}\n" not in text} == set()
    for name in re.findall(r"\.\. automodule:: (\S+)", text):
        importlib.import_module(name)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 6 * 1024


def test_the_picture_is_that_of_the_recorded_figures() -> None:
    results = json.loads(picture.newest().read_text(encoding="utf-8"))
    assert picture.PICTURE.read_text(encoding="utf-8") == picture.drawn(results)


def test_figures_are_the_recorded_ones() -> None:
    """Each ratio in the README's table is that of a recorded step."""
    results = json.loads(picture.newest().read_text(encoding="utf-8"))
    recorded = {f"{row['ratio']:.2f}" for row in results["steps"]}
    shown = re.findall(r"^\|.*[µm]s \| ([\d.]+) \|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(shown) >= 4
    assert set(shown) <= recorded


@pytest.mark.slow
def test_sphinx_builds_the_pages(tmp_path: Path) -> None:
    """Strictly: a link that leads nowhere, or a docstring that is no markup, is an error; and without a network."""
    pytest.importorskip("myst_parser", reason="the extra docs is not installed")
    options = ["-q", "-W", "--keep-going", "-b", "html", "-d", str(tmp_path / "trees")]
    for setting in ("autodoc_typehints=none", "html_use_index=0", "html_copy_source=0"):  # they take time, and warn not
        options += ["-D", setting]
    command = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(tmp_path / "pages")]
    done = subprocess.run(
        command, env=job_environment(1), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pages" / "quickstart.html").exists()
