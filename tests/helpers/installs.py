"""Temporary environments that see what is installed here: made in a moment, without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Environment:
    """A virtual environment without pip; this Python's pip installs into it."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def run(self, *arguments: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the environment's Python in ``cwd``, which is not on its path unless asked."""
        return _run([str(self.python), *arguments], cwd, check)

    def install(self, what: Path, *options: str) -> None:
        """``pip install --no-deps`` of a folder or wheel, built with this environment's setuptools."""
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet", "--no-deps"]
        _run([*command, "--no-build-isolation", "--no-index", *options, str(what)], self.folder, True)


def create(folder: Path) -> Environment:
    """A new environment whose packages are those installed here, except distgrad itself and its plugins."""
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder.parent, True)
    made = Environment(folder)
    # Links, not a .pth line to this environment's folder: an editable distgrad there must not be seen.
    links = folder / "shared"
    links.mkdir()
    for entry in sorted({p for s in _site_folders() for p in s.iterdir()}):
        hidden = entry.suffix == ".pth" or "distgrad" in entry.name or entry.name.startswith("__editable__")
        if not hidden and not (links / entry.name).exists():
            (links / entry.name).symlink_to(entry)
    site = made.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout.strip()
    Path(site, "shared.pth").write_text(f"{links}\n", encoding="utf-8")
    return made


def copy_of(what: Path, to: Path) -> Path:
    """A copy of a source folder to build in, so that building leaves nothing behind in the checkout."""
    junk = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs")
    return Path(shutil.copytree(what, to, ignore=junk))


def build_wheel(source: Path, out: Path) -> Path:
    """Build ``source`` with the setuptools installed here and return the wheel."""
    _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)], source, True)
    (wheel,) = out.glob("*.whl")
    return wheel


def _site_folders() -> list[Path]:
    """Where packages are found here: this environment's folder, and folders that .pth files add to the path."""
    own = Path(sysconfig.get_path("purelib"))
    return [own, *(Path(p) for p in sys.path if p.endswith("site-packages") and Path(p) != own and Path(p).is_dir())]


def _run(command: list[str], cwd: Path, check: bool) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    null = subprocess.DEVNULL
    done = subprocess.run(
        command, cwd=cwd, env=environ, stdin=null, capture_output=True, text=True, timeout=240, check=False
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done
