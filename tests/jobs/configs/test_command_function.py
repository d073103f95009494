"""Options are made of configurations, whatever these are."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
import typer

from jobs.configs.command_function import command_function, repeatable_options
from jobs.configs.runner import RunnerConfig


@dataclass(frozen=True, kw_only=True)
class Small:
    """Do something small.

    And say more of it here.
    """

    name: Annotated[str, typer.Option(help="Its name.")]
    files: Annotated[tuple[str, ...], typer.Option(help="Files.")] = ()
    share: Annotated[float, typer.Option(help="A share.")] = 0.25
    is_on: Annotated[bool, typer.Option("--is-on", help="A switch.")] = False
    internal: int = 3


@dataclass(frozen=True, kw_only=True)
class OnBeam:
    """Do something on Beam."""

    name: Annotated[str, typer.Option(help="Its name.")]
    runner: RunnerConfig = field(default_factory=RunnerConfig)


@dataclass(frozen=True, kw_only=True)
class WithArgument:
    """Do something to a thing."""

    thing: Annotated[str, typer.Argument(help="The thing.")]
    files: Annotated[tuple[str, ...], typer.Option(help="Files.")] = ()


def run(config_type: type, *words: str, **settings: Any) -> tuple[Any, list[Any]]:
    """Return the configuration that a command line makes, and what was checked of its runner."""
    checked: list[Any] = []
    app = typer.Typer()
    function = command_function(config_type, lambda config: config, lambda *each: checked.append(each))
    app.command("it", context_settings=settings)(function)
    command: Any = typer.main.get_command(app)
    return command.main(list(words), standalone_mode=False), checked


def test_options_are_the_annotated_fields():
    config, checked = run(Small, "--name", "a", "--files", "b", "--files", "c", "--share", "0.5", "--is-on")
    assert config == Small(name="a", files=("b", "c"), share=0.5, is_on=True)
    assert not checked


def test_what_is_not_given_is_the_fields_default():
    assert run(Small, "--name", "a")[0] == Small(name="a")


def test_a_field_without_annotation_is_no_option():
    with pytest.raises(Exception, match="No such option: --internal"):
        run(Small, "--name", "a", "--internal", "4")


def test_the_first_line_of_the_docstring_is_the_commands_help():
    assert command_function(Small, id, id).__doc__ == "Do something small."  # type: ignore[arg-type]


def test_a_runners_fields_are_options_and_the_rest_is_beams():
    settings = {"allow_extra_args": True, "ignore_unknown_options": True}
    config, ((runner, options),) = run(OnBeam, "--name", "a", "--workers", "2", "--beam_flag=1", **settings)
    assert config.runner == RunnerConfig(workers=2, beam_args=("--beam_flag=1",)) == runner
    assert {"--name", "--runner", "--workers", "--threads"} <= set(options)


def test_options_of_several_values_are_told_unless_an_argument_could_be_one_more():
    assert repeatable_options([Small]) == {"--files"}
    assert repeatable_options([WithArgument]) == frozenset()
