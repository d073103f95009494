"""The wheel holds what the tree holds, and nothing else."""

import configparser
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("model", "pipeline", "jobs")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the working tree."""
    directory = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(directory),
        str(ROOT),
    ]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = directory.glob("*.whl")
    return path


def test_the_modules_are_those_of_the_tree(wheel: Path):
    in_wheel = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    in_tree = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    assert in_wheel == in_tree
    assert all(f"{package}/py.typed" in in_wheel for package in PACKAGES)


def test_the_command_is_installed(wheel: Path):
    archive = zipfile.ZipFile(wheel)
    (entry_points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    parser = configparser.ConfigParser()
    parser.read_string(archive.read(entry_points).decode())
    assert dict(parser["console_scripts"]) == {"fastbert-jobs": "jobs.__main__:run"}


def test_tools_of_developers_are_no_requirement(wheel: Path):
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [name for name in archive.namelist() if name.endswith("METADATA")]
    message = Parser().parsestr(archive.read(metadata).decode())
    required = [line for line in message.get_all("Requires-Dist", []) if "extra ==" not in line]
    names = {re.match(r"[\w.-]+", line)[0] for line in required}
    assert {"torch", "transformers", "apache-beam", "pyarrow", "typer"} <= names
    assert not names & {"pytest", "mypy", "ruff", "hypothesis", "hatchling"}


def test_it_runs_from_the_wheel_alone(wheel: Path, tmp_path: Path):
    # -I: neither the working directory nor the environment leads to the tree.
    code = (
        "import sys, contextlib\n"
        f"sys.path[:0] = [{str(wheel)!r}]\n"
        "import jobs.cli\n"
        f"assert jobs.cli.__file__.startswith({str(wheel)!r}), jobs.cli.__file__\n"
        "with contextlib.suppress(SystemExit): jobs.cli.main(['--help'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "label-teacher" in done.stdout
