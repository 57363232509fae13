"""The code blocks of Markdown pages, and the programs that the blocks of a page are together.

What a fence says behind the language tells what becomes of the block:

=====================  ===============================================================================================
``python``             run on one process; such blocks of one page are one program, from top to bottom
``python ranks=2``     run on so many ranks; such blocks of one page are one program of their own
``python file``        a file, whose name its first line tells (``# train.py``); it lies where commands are run
``sh``                 a command, run in a folder with the page's files and links to the folders of the checkout
``sh unrun``           a command for a cluster, say; tests/docs/test_blocks.py has the list of them, with reasons
``text output``        what the block above prints; ``...`` stands for anything
``toml``, ``json``     read
``text``, ``mermaid``  shown
=====================  ===============================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
KNOWN = {
    "python", "python file", "sh", "sh unrun", "text", "text output", "toml", "json", "mermaid", "{toctree}",
    "{eval-rst}", "{doctest}",
}  # fmt: skip
_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`]*)$")
MARK = "\x1e"  # printed behind each block


@dataclass
class Block:
    page: Path
    line: int  # of the opening fence, from 1
    info: str
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def ranks(self) -> int:
        """How many ranks it runs on; 0 if it is no program."""
        found = re.fullmatch(r"python(?: ranks=(\d))?", self.info)
        return int(found[1] or 1) if found else 0


def blocks_of(page: Path) -> list[Block]:
    return list(_blocks(page))


def _blocks(page: Path) -> Iterator[Block]:
    block, ticks, indent = None, "", 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if block is None and fence:
            block, ticks, indent = Block(page, number, fence["info"].strip()), fence["ticks"], len(fence["indent"])
        elif block is not None and fence and fence["ticks"] == ticks and not fence["info"].strip():
            yield block
            block = None
        elif block is not None:
            block.lines.append(line[indent:])
    assert block is None, f"{page}: a block is not closed"


def program_of(page: Path, ranks: int) -> str:
    """The page's program on so many ranks; its lines stand where they stand in the page, and it tells where it is."""
    lines: list[str] = []
    for block in blocks_of(page):
        if block.ranks == ranks:
            lines += [""] * (block.line - len(lines)) + block.lines + [f"print('{MARK}{block.line}')"]
    return "".join(f"{line}\n" for line in lines)


def outputs_of(printed: str) -> dict[int, str]:
    """What each block of a program printed, by the line of its fence."""
    found, rest = {}, printed
    while MARK in rest:
        text, _, rest = rest.partition(MARK)
        line, _, rest = rest.partition("\n")
        found[int(line)] = text
    return found


def expected_of(page: Path) -> dict[int, str]:
    """For blocks with an output below them, by the line of their fence, what they are to print."""
    found, before = {}, None
    for block in blocks_of(page):
        if block.info == "text output":
            assert before is not None, f"{block.where}: output of nothing"
            found[before.line] = block.text
        before = block
    return found


def matches(expected: str, printed: str) -> bool:
    """Whether they are the same, but for space at ends of lines; ``...`` stands for anything."""
    tidy = [re.sub(r"[ \t]+\n", "\n", text).strip() for text in (expected, printed)]
    pattern = ".*".join(re.escape(piece) for piece in tidy[0].split("..."))
    return re.fullmatch(pattern, tidy[1], flags=re.DOTALL) is not None
