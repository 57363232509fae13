"""Every code block of README and docs runs, and prints what stands below it."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from tests.docs import blocks, run_programs
from tests.docs.blocks import PAGES, ROOT, blocks_of, expected_of, matches, outputs_of, program_of
from tests.helpers.ranks import HANG, Finished, job_environment, run_job, run_ranks

RUNNER = Path(run_programs.__file__)
RANKS = 2
LINKED = ("benchmarks", "examples", "launch", "plugins", "tests", "docs", "distgrad")

# Commands that this test does not run, and why.
UNRUN = {
    "mpirun -n 2 python launch/train.py --data houses.csv --target price --loss mse --metrics houses.jsonl": (
        "there is no such table; tests/launch/test_train_table.py trains on others"
    ),
    ".venv-mpich/bin/python -m pytest -q -m mpi tests/distributed": "tests/run.py does",
    ".venv/bin/python -m distgrad run -n 2 program.py": "there is no such program",
    ".venv/bin/python -m pytest -q -m mpi tests/distributed": "tests/run.py does",
    '.venv/bin/python -m pytest -q tests/ops -k "index and not slow"': "tests/run.py does",
    ".venv/bin/python -m pytest -q tests/ops/test_index.py": "tests/run.py does",
    ".venv/bin/python -m sphinx -W --keep-going docs build/docs": "tests/docs/test_pages.py does",
    ".venv/bin/python program.py": "there is no such program",
    ".venv/bin/ruff check .": "tests/run.py does",
    "mpirun --allow-run-as-root --oversubscribe -n 4 python train.py": "it is of Open MPI alone",
    "python -m distgrad doctor --json": "tests/cli/test_doctor.py does",
    "python -m distgrad plugins check my_optimizer": "tests/plugins/test_new.py does",
    "python -m distgrad plugins check sgd": "tests/testing does, check by check",
    "python -m distgrad plugins new my-comm --kind communicator": "tests/plugins/test_new.py does",
    "python -m distgrad plugins new my-loss --kind loss": "tests/plugins/test_new.py does",
    "python -m distgrad plugins new my-optimizer": "tests/plugins/test_new.py does",
    "python -m distgrad run -n 4 train.py -- --mca pml ob1": "it is of Open MPI alone",
    "python -m distgrad run -n 8 --hostfile hosts train.py": "needs two hosts",
    "python -m pip install '.[cuda12]'": "installs from a registry",
    "python -m pip install '.[cuda13]'": "installs from a registry",
    "python -m pip install '.[jit]'": "installs from a registry",
    "python -m pip install '.[fast]'": "installs from a registry",
    "python -m pip install '.[mpi]'": "installs from a registry",
    "python -m pip install '.[mpich]'": "installs from a registry",
    "python -m pip install -e '.[mpi,demo,test,docs]'": "installs from a registry",
    "python -m pip install -e distgrad-my-optimizer": "installs from a registry",
    "python -m pip install .": "installs from a registry",
    "python -m pytest -m gpu": "tests/run.py does",
    "python -m pytest benchmarks": "takes minutes",
    "python -m sphinx -W --keep-going docs build/docs": "tests/docs/test_pages.py does",
    "python benchmarks/all_reduce.py": "takes minutes",
    "python benchmarks/builds.py HEAD~1": "takes minutes",
    "python benchmarks/compare.py": "takes minutes",
    "python benchmarks/cost_model.py --scaling SCALING.json --all-reduce ALL_REDUCE.json": "takes minutes",
    "python benchmarks/guards.py": "takes minutes",
    "python benchmarks/memory.py": "takes minutes",
    "python benchmarks/chain_memory.py": "needs PyTorch",
    "python benchmarks/kernels.py": "needs PyTorch",
    "python benchmarks/operations.py": "takes minutes",
    "python benchmarks/scaling.py": "takes minutes",
    "python3 launch/digits.py": "it sets up; tests/launch tries it",
    "python3 tests/run.py": "it would run this test",
    "python3 tests/run.py --quick": "it would run this test",
    "python3 tests/run.py -x tests/distributed": "it would run this test",
    "python3 tests/run.py -x tests/plugins": "it would run this test",
}


def report_of(job: Finished, report: Path) -> dict[str, str]:
    """What each program printed; the job has to have ended well."""
    job.check()
    return dict(json.loads(line) for line in report.read_text(encoding="utf-8").splitlines())


def written(folder: Path, ranks: int) -> dict[str, Path]:
    """The pages' programs on so many ranks as files, by path."""
    found = {}
    for page in PAGES:
        if program := program_of(page, ranks):
            name = page.relative_to(ROOT).as_posix().replace("/", "_")
            path = folder / f"{name}.{ranks}.py"
            path.write_text(program, encoding="utf-8")
            found[str(path)] = page
    return found


def check_outputs(printed: dict[str, str], pages: dict[str, Path]) -> None:
    assert set(printed) == set(pages)
    wrong = []
    for program, page in pages.items():
        outputs = outputs_of(printed[program])
        for line, expected in expected_of(page).items():
            if line in outputs and not matches(expected, outputs[line]):
                wrong.append(f"{page.name}:{line} is to print\n{expected}and prints\n{outputs[line]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_python_blocks_run_on_one_process(tmp_path: Path) -> None:
    pages, report = written(tmp_path, 1), tmp_path / "report"
    command = [sys.executable, str(RUNNER), str(report), str(tmp_path), *pages]
    check_outputs(report_of(run_job(command, HANG, job_environment(1)), report), pages)


@pytest.mark.slow
@pytest.mark.mpi
def test_python_blocks_run_on_ranks(tmp_path: Path) -> None:
    pages, report = written(tmp_path, RANKS), tmp_path / "report"
    job = run_ranks(RANKS, RUNNER, str(report), str(tmp_path), *pages)
    check_outputs(report_of(job, report), pages)


def commands(of_ranks: bool) -> pytest.MarkDecorator:
    """The blocks of commands that start ranks, or that do not."""
    found = [block for page in PAGES for block in blocks_of(page) if block.info == "sh"]
    chosen = [b for b in found if bool(re.search(r"mpirun|distgrad (run|doctor)", b.text)) == of_ranks]
    return pytest.mark.parametrize("block", chosen, ids=lambda block: block.where)


@pytest.mark.slow
@pytest.mark.mpi
@commands(of_ranks=True)
def test_commands_that_start_ranks_run(block: blocks.Block, tmp_path: Path) -> None:
    check_commands(block, tmp_path)


@pytest.mark.slow
@commands(of_ranks=False)
def test_commands_run(block: blocks.Block, tmp_path: Path) -> None:
    check_commands(block, tmp_path)


def check_commands(block: blocks.Block, tmp_path: Path) -> None:
    for name in LINKED:
        (tmp_path / name).symlink_to(ROOT / name)
    for other in blocks_of(block.page):
        if other.info == "python file":
            (tmp_path / other.lines[0].removeprefix("# ")).write_text(other.text, encoding="utf-8")
    env = job_environment(RANKS)
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    job = run_job(["bash", "-ec", f"cd {shlex.quote(str(tmp_path))}\n{block.text}"], HANG, env)
    job.check()
    expected = expected_of(block.page).get(block.line)
    assert expected is None or matches(expected, job.stdout), job


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_fence_says_what_becomes_of_it(page: Path) -> None:
    wrong = [f"{b.where}: {b.info!r}" for b in blocks_of(page) if b.info not in blocks.KNOWN and b.ranks not in (1, 2)]
    text = page.read_text(encoding="utf-8")
    outside = re.sub(r"^( *)(`{3,}).*?^\1\2$", "", text, flags=re.DOTALL | re.MULTILINE)
    wrong += re.findall(r"\n\n(    \S.*)", outside)  # an indented block runs nowhere
    assert not wrong
    for block in blocks_of(page):
        if block.info == "toml":
            tomllib.loads(block.text)
        elif block.info == "json":
            json.loads(block.text)
        elif block.info == "python file":
            assert re.fullmatch(r"# \w+\.py", block.lines[0]), block.where


def test_commands_that_are_not_run_are_known() -> None:
    lines = [line for page in PAGES for b in blocks_of(page) if b.info == "sh unrun" for line in b.lines if line]
    commands = {line.partition(" #")[0].strip() for line in lines}
    assert commands == set(UNRUN)


def test_outputs_are_compared() -> None:
    assert matches("a ... z\n", "a b\nc z  \n")
    assert not matches("a\n", "b\n")
    assert outputs_of(f"x\n{blocks.MARK}3\n{blocks.MARK}9\n") == {3: "x\n", 9: ""}
