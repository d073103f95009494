"""Command-line options from the fields of a configuration: each is written once, where it is configured."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo

from jobs.configs.runner import RunnerConfig

_RUNNER = "runner"


def command_function(
    config_type: type,
    run: Callable[[Any], Any],
    check_runner: Callable[[RunnerConfig, Sequence[str]], None],
) -> Callable[..., Any]:
    """Return a function for typer: its parameters are the options of a configuration.

    Only annotated fields are options; a field of several values is an option that may be repeated. The
    fields of a `RunnerConfig` are options too, and what is left over on the command line is for Beam.

    Args:
        config_type: a dataclass of `jobs.configs`.
        run: takes the configuration.
        check_runner: takes the runner, where there is one, and the command's own options; before the
            configuration is made, for an unknown option explains what else is missing.
    """
    of_command, of_runner = _options(config_type), {}
    has_runner = any(each.name == _RUNNER for each in fields(config_type))
    if has_runner:
        of_runner = _options(RunnerConfig)

    def command(context: typer.Context, **values: Any) -> Any:
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        settings = {name: value for name, value in values.items() if name in of_command}
        if has_runner:
            chosen = {name: value for name, value in values.items() if name in of_runner}
            settings[_RUNNER] = RunnerConfig(**chosen, beam_args=tuple(context.args))
            check_runner(settings[_RUNNER], [name for each in context.command.params for name in each.opts])
        return run(config_type(**settings))

    parameters = [
        inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
        *of_command.values(),
        *of_runner.values(),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = (config_type.__doc__ or "").partition("\n")[0]
    return command


def repeatable_options(config_types: Sequence[type]) -> frozenset[str]:
    """Return the options that may take several values at once, as they are spelt.

    Those of a command with an argument are not among them: it might be taken for one more value.
    """
    return frozenset(
        f"--{name.replace('_', '-')}"
        for config_type in config_types
        for name, parameter in _options(config_type).items()
        if get_origin(get_args(parameter.annotation)[0]) is list and not _has_argument(config_type)
    )


def _has_argument(config_type: type) -> bool:
    annotations = (get_args(each.annotation) for each in _options(config_type).values())
    return any(isinstance(information, ArgumentInfo) for each in annotations for information in each[1:])


def _options(config_type: type) -> dict[str, inspect.Parameter]:
    hints = get_type_hints(config_type, include_extras=True)
    annotated = [each for each in fields(config_type) if get_origin(hints[each.name]) is Annotated]
    return {each.name: _parameter(each, hints[each.name]) for each in annotated}


def _parameter(each: Field[Any], hint: Any) -> inspect.Parameter:
    kind, *information = get_args(hint)
    default = inspect.Parameter.empty if each.default is MISSING else each.default
    if get_origin(kind) is tuple:
        # typer knows repeated options as lists.
        kind = list[get_args(kind)[0]]  # type: ignore[misc]
        default = [] if default == () else default
    return inspect.Parameter(
        each.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, *information],
    )
