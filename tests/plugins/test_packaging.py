"""However distgrad is installed, it finds its own plugins, from an empty directory."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from distgrad import registry
from tests.helpers import installs

pytestmark = [pytest.mark.packaging, pytest.mark.slow]


@pytest.mark.parametrize("way", ["folder", "editable", "wheel"])
def test_the_built_ins_are_found(way: str, source: Path, wheel: Path, tmp_path: Path) -> None:
    made = installs.create(tmp_path / "venv")
    empty = tmp_path / "empty"
    empty.mkdir()
    absent = made.run("-c", "import distgrad", cwd=empty, check=False)
    assert "No module named 'distgrad'" in absent.stderr, "the environment must not see this one's distgrad"

    made.install(wheel if way == "wheel" else source, *(["--editable"] if way == "editable" else []))

    listed = json.loads(made.run("-m", "distgrad", "plugins", "--json", cwd=empty).stdout)
    here = [p for p in registry.plugins() if p.distribution == "distgrad"]
    assert here
    assert [(p["kind"], p["name"], p["class"], p["module"]) for p in listed] == [
        (p.kind, p.name, p.class_name, p.module) for p in here
    ]
    assert {(p["distribution"], p["status"]) for p in listed} == {("distgrad", "ok")}


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {p.relative_to(installs.ROOT).as_posix() for p in (installs.ROOT / "distgrad").rglob("*.py")}
    expected |= {"distgrad/py.typed", "distgrad/testing/fake_device/cupy_namespace.json"}
    templates = (installs.ROOT / "distgrad" / "cli" / "templates").rglob("*.in")
    expected |= {p.relative_to(installs.ROOT).as_posix() for p in templates}
    for kind in ("optimizers", "losses", "communicators", "pytest"):
        folder = installs.ROOT / "plugins" / kind
        expected |= {f"distgrad_{kind}/{p.relative_to(folder).as_posix()}" for p in folder.rglob("*.py")}
        expected.add(f"distgrad_{kind}/py.typed")
    assert packed == expected


def test_a_file_dropped_into_the_optimizers_is_found_unasked(source: Path, tmp_path: Path) -> None:
    made = installs.create(tmp_path / "venv")
    made.install(installs.copy_of(source, tmp_path / "copy"), "--editable")
    (tmp_path / "copy" / "plugins" / "optimizers" / "dropped.py").write_text(
        "from distgrad.hookspecs import hookimpl\nclass Dropped: ...\n"
        "@hookimpl\ndef distgrad_optimizers(): return {'dropped': Dropped}\n",
        encoding="utf-8",
    )
    program = "from distgrad import registry; print(registry.get_class('optimizer', 'Dropped').__module__)"
    assert made.run("-c", program, cwd=tmp_path).stdout.strip() == "distgrad_optimizers.dropped"
