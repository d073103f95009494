"""The parameters of a Flex Template, and what becomes of them."""

import json
import runpy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import typer

from jobs.cli import make_app
from jobs.driver.runner import check_beam_args
from tools.image_steps import ROOT

METADATA: dict[str, Any] = json.loads((ROOT / "containers" / "metadata.json").read_text())
words: Callable[[Sequence[str]], list[str]] = runpy.run_path(str(ROOT / "containers" / "launch.py"))["words"]


def options(command: str) -> set[str]:
    app: Any = typer.main.get_command(make_app())
    return {name for each in app.commands[command].params for name in each.opts}


@pytest.mark.parametrize("parameter", METADATA["parameters"], ids=lambda each: each["name"])
def test_every_parameter_is_an_option(parameter: dict[str, Any]):
    name = parameter["name"]
    assert name.isidentifier()
    assert parameter["label"]
    assert parameter["helpText"].endswith(".")
    if name == "command":
        return
    option = f"--{name.replace('_', '-')}"
    if option not in options("score") | options("label-teacher"):
        check_beam_args([f"--{name}=x"], [])


def test_what_a_command_must_have_is_asked_for():
    required = {each["name"] for each in METADATA["parameters"] if not each.get("isOptional")}
    assert required == {"input", "text_column", "output", "sdk_container_image"}


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--command=label-teacher", "--teacher=gs://b/t"], ["label-teacher", "--teacher=gs://b/t"]),
        (["--speed=0.5"], ["score", "--speed=0.5"]),
        (["--overwrite=true", "--verify=false"], ["score", "--overwrite"]),
        (["--input=gs://b/a.tsv gs://b/b.tsv"], ["score", "--input=gs://b/a.tsv", "--input=gs://b/b.tsv"]),
        (["--input='gs://b/a b.tsv'"], ["score", "--input=gs://b/a b.tsv"]),
        (["--runner=DataflowRunner", "--temp_location=gs://b/t"], None),
        (["--max_missed=spam=0.01"], ["score", "--max-missed=spam=0.01"]),
    ],
)
def test_parameters_become_words(args: list[str], expected: list[str] | None):
    assert words(args) == (["score", *args] if expected is None else expected)
