"""Runs the steps of containers/Dockerfile in clean virtual environments, where there is nothing to build it.

    python -m tools.image_steps [--build-arg NAME=VALUE ...]

It downloads what the image would; with `offline` nothing is, and what we depend on is that of this Python.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "containers" / "Dockerfile"


@dataclass(frozen=True)
class Instruction:
    """A line of a Dockerfile, its continuations joined: `COPY`, and what follows."""

    name: str
    rest: str


@dataclass(frozen=True)
class Stage:
    """What follows a `FROM`.

    Attributes:
        base: image or stage.
        name: its own, empty without one.
        instructions: in order.
    """

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)


def instructions(text: str) -> Iterator[Instruction]:
    """Yield the instructions of a Dockerfile."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        yield Instruction(name.upper(), rest.strip())


def arguments(text: str) -> dict[str, str]:
    """Return the values of the ARGs before the first FROM, each with those before it filled in."""
    values: dict[str, str] = {}
    for each in instructions(text):
        if each.name == "FROM":
            break
        name, _, value = each.rest.partition("=")
        values[name] = Template(value).substitute(values)
    return values


def stages(text: str) -> list[Stage]:
    """Return the stages of a Dockerfile, arguments in their bases filled in."""
    values, found = arguments(text), []
    for each in instructions(text):
        if each.name == "FROM":
            base, _, name = Template(each.rest).substitute(values).partition(" AS ")
            found.append(Stage(base, name))
        elif found:
            found[-1].instructions.append(each)
    return found


class CleanEnvironment:
    """A directory in place of a stage's file system, and a virtual environment in place of its Python."""

    def __init__(self, directory: Path, *, offline: bool) -> None:
        self.root, self.workdir = directory / "root", directory / "root"
        self.root.mkdir(parents=True)
        self.python = directory / "venv" / "bin" / "python"
        venv.create(directory / "venv", with_pip=True)
        self.environment = {"PATH": f"{self.python.parent}:/usr/bin:/bin", "HOME": str(directory)}
        for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE", "SSL_CERT_FILE"):
            if name in os.environ:
                self.environment[name] = os.environ[name]
        if offline:
            # Of pip, 0 says no to isolation. What we depend on is found behind what is installed.
            self.environment |= {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
            site = next((directory / "venv").glob("lib/python*/site-packages"))
            (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
            # It would hide the one that we depend on.
            for old in site.glob("setuptools*"):
                shutil.rmtree(old)

    def run(self, command: str) -> str:
        """Run a shell command as RUN does, and return what it printed."""
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=self.workdir, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{command}\n{done.stdout}")
        return done.stdout

    def place(self, path: str) -> Path:
        """Return where a path of the image is here."""
        return self.root / path.lstrip("/") if path.startswith("/") else self.workdir / path


def run_steps(
    directory: Path, *, offline: bool = False, build_args: Mapping[str, str] | None = None
) -> dict[str, CleanEnvironment]:
    """Run the steps of the stages that are made of our files, and return each by its name.

    Images of others are taken for empty, and what is copied from them is left out.
    """
    made: dict[str, CleanEnvironment] = {}
    for stage in stages(DOCKERFILE.read_text()):
        if not stage.instructions:
            continue
        if stage.base in made:
            here = made[stage.base]
        else:
            here = CleanEnvironment(directory / stage.name, offline=offline)
        for each in stage.instructions:
            _step(each, here, made, build_args or {})
        made[stage.name] = here
    return made


def _step(
    each: Instruction,
    here: CleanEnvironment,
    made: Mapping[str, CleanEnvironment],
    build_args: Mapping[str, str],
) -> None:
    if each.name == "WORKDIR":
        here.workdir = here.place(each.rest)
        here.workdir.mkdir(parents=True, exist_ok=True)
    elif each.name == "COPY":
        _copy(each.rest, here, made)
    elif each.name == "ENV":
        for name, value in re.findall(r"(\w+)=(\S+)", each.rest):
            here.environment[name] = str(here.place(value)) if name == "PIP_CONSTRAINT" else value
    elif each.name == "ARG":
        name, _, value = each.rest.partition("=")
        here.environment[name] = build_args.get(name, value)
    elif each.name == "RUN":
        here.run(each.rest)
    elif each.name != "ENTRYPOINT":
        raise RuntimeError(f"{each.name} is not known here")


def _copy(rest: str, here: CleanEnvironment, made: Mapping[str, CleanEnvironment]) -> None:
    *sources, target = [word for word in rest.split() if not word.startswith("--")]
    (origin,) = re.findall(r"--from=(\S+)", rest) or [""]
    if origin and origin not in made:
        return
    to = here.place(target)
    for source in sources:
        found = made[origin].place(source) if origin else ROOT / source
        if not found.exists():
            raise RuntimeError(f"there is no {source} to COPY")
        if found.is_dir():
            shutil.copytree(found, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            is_directory = target.endswith("/") or to.is_dir()
            (to if is_directory else to.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy(found, to / found.name if is_directory else to)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the steps of containers/Dockerfile.")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    given = dict(each.split("=", 1) for each in parser.parse_args().build_arg)
    with tempfile.TemporaryDirectory() as scratch:
        made = run_steps(Path(scratch), build_args=given)
        sys.stdout.write(made["worker"].run("fastbert-jobs --version && pip list"))


if __name__ == "__main__":
    main()
