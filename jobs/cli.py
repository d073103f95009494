"""The command line: parses options, calls `run`, turns errors into one line and an exit code."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from jobs.terminal.launch import end_unless_first_to_fail
from jobs.terminal.unfailing_stdout import stdout_failure

if TYPE_CHECKING:
    from jobs.configs.runner import RunnerConfig

_EXIT_USAGE = 2
_PROGRAM = "fastbert-jobs"
# May stand anywhere on the line.
_VERBOSE = "--verbose"
# Commands in the order of the line: what configures each, and the module whose `run` does it.
_COMMANDS = {
    "label-teacher": ("jobs.configs.label_teacher.LabelTeacherConfig", "jobs.commands.label_teacher"),
    "distill": ("jobs.configs.distill.DistillConfig", "jobs.commands.distill"),
    "calibrate": ("jobs.configs.calibrate.CalibrateConfig", "jobs.commands.calibrate"),
    "score": ("jobs.configs.score.ScoreConfig", "jobs.commands.score"),
    "audit": ("jobs.configs.audit.AuditConfig", "jobs.commands.audit"),
    "finetune": ("jobs.configs.finetune.FinetuneConfig", "jobs.commands.finetune"),
    "quickstart": ("jobs.configs.quickstart.QuickstartConfig", "jobs.quickstart.command"),
}
# What these do not know is for the Beam runner; what that does not know either is refused.
_BEAM_COMMANDS = ("label-teacher", "score")
# Parameters of the library whose option has another name.
_OPTIONS = {"exit_layer": "--fixed-exit-layer", "teacher_logits": "--labels", "continue_from": "--continue"}
# Of the errors that typer raises it exports this one; its base is every misuse of the command line.
_UsageError: Any = typer.BadParameter.__bases__[0]


@cache
def make_app() -> typer.Typer:
    """Return the command line, its options made of the commands' configurations."""
    from jobs.configs.command_function import command_function

    app = typer.Typer(
        name=_PROGRAM,
        help="Classify very large text corpora with your own BERT, each text leaving early.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_options_of_all)
    for name, (_, module) in _COMMANDS.items():
        takes_more = name in _BEAM_COMMANDS
        settings = {"allow_extra_args": takes_more, "ignore_unknown_options": takes_more}
        command = command_function(_config_type(name), _runs(name, module), _check_runner)
        app.command(name, context_settings=settings)(command)
    return app


def _config_type(name: str) -> type:
    module, _, attribute = _COMMANDS[name][0].rpartition(".")
    config_type: type = getattr(import_module(module), attribute)
    return config_type


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"{_PROGRAM} {version(_PROGRAM)}")
        raise typer.Exit


def _options_of_all(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True)
    ] = False,
    verbose: Annotated[bool, typer.Option(_VERBOSE, help="Show where an error was raised, too.")] = False,
) -> None:
    """Take what stands before the command."""


def _runs(name: str, module: str) -> Callable[[Any], Any]:
    """Return what runs a command; its libraries are imported only then, which keeps `--help` quick."""

    def run(config: Any) -> Any:
        more = (execute,) if name == "quickstart" else ()
        return import_module(module).run(config, *more)

    return run


def _check_runner(runner: RunnerConfig, own_options: Sequence[str]) -> None:
    from jobs.driver.runner import check_runner

    check_runner(runner, own_options)


def _execute_and_fail_once(words: Sequence[str]) -> Any:
    """Run the words; of several processes of torchrun that fail, one returns with its error."""
    try:
        return execute(words)
    except Exception:
        end_unless_first_to_fail()
        raise


def execute(words: Sequence[str]) -> Any:
    """Run the words of a command line, and return what the command's `run` returned."""
    command: Any = typer.main.get_command(make_app())
    return command.main(list(words), prog_name=_PROGRAM, standalone_mode=False)


def expand_repeated_options(args: Sequence[str]) -> list[str]:
    """Let an option that may be repeated take several values, as a shell makes of an unquoted glob.

    >>> expand_repeated_options(["score", "--input", "a.tsv", "b.tsv", "--speed", "0.5"])
    ['score', '--input', 'a.tsv', '--input', 'b.tsv', '--speed', '0.5']
    """
    from jobs.configs.command_function import repeatable_options

    repeatable = repeatable_options([_config_type(name) for name in _COMMANDS])
    expanded: list[str] = []
    repeated: str | None = None
    for arg in args:
        if arg.startswith("-"):
            repeated = arg if arg in repeatable else None
        elif repeated is not None and expanded[-1] != repeated:
            expanded.append(repeated)
        expanded.append(arg)
    return expanded


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 what --fail-on names, 2 what users can cure; 130 is Ctrl-C."""
    if intruder := find_intruder():
        sys.stderr.write(f"{_PROGRAM}: {intruder}\n")
        sys.exit(_EXIT_USAGE)
    _prepare_process()
    given = sys.argv[1:] if args is None else args
    is_verbose = _VERBOSE in given
    words = expand_repeated_options([word for word in given if word != _VERBOSE]) or ["--help"]
    try:
        status = _execute_and_fail_once(words)
    except _UsageError as error:
        # Typer's checks are pydantic's, which begins with the kind of its error.
        _fail(error.format_message().replace("Value error, ", ""))
    except (ValueError, OSError) as error:
        from model.errors import FastBertJobsError

        # The system's errors name the file and what is wrong: a disk is full, or may not be written.
        if not isinstance(error, FastBertJobsError | OSError):
            raise
        _fail(in_options(str(error)), error if is_verbose else None)
    if failure := stdout_failure():
        _fail(f"standard output could not be written: {failure}; all else is done")
    # What a command found may be a failure of its own, as of `audit --fail-on`.
    sys.exit(status if isinstance(status, int) else getattr(status, "exit_status", 0))


def find_intruder() -> str | None:
    """Return one line about a foreign `model` or `pipeline` that Python would take for ours; None if none."""
    home = Path(__file__).parents[1]
    for name in ("model", "pipeline"):
        spec = find_spec(name)
        locations = [] if spec is None else [*(spec.submodule_search_locations or [str(spec.origin)])]
        if not any(Path(location).parent == home for location in locations):
            where = f"{locations[0]!r} is taken for it" if locations else "it is missing"
            return (
                f"the package {name!r} must lie beside {str(home / 'jobs')!r}, but {where}; "
                "install fastbert-jobs into an environment of its own, and unset PYTHONPATH"
            )
    return None


def _prepare_process() -> None:
    """Set what holds for the whole process; libraries do not."""
    from jobs.terminal.log_filters import silence_beam
    from model.engine.kernel_cache import limit_kernel_cache
    from model.engine.malloc import disable_malloc_trim

    # Worker processes must not take a user's `model.py` for ours, and tokenizers must not warn of forks.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    disable_malloc_trim()
    limit_kernel_cache()
    silence_beam()
    # Names may hold letters that the terminal's encoding has not.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def in_options(message: str) -> str:
    """Return a message of the library with its parameters spelt as options.

    >>> in_options("`max_length` 2 is not between 4 and 512")
    '--max-length 2 is not between 4 and 512'
    """
    command: Any = typer.main.get_command(make_app())
    known = {name for each in command.commands.values() for param in each.params for name in param.opts}

    def as_option(match: re.Match[str]) -> str:
        option = _OPTIONS.get(match[1], f"--{match[1].replace('_', '-')}")
        return option if option in known else match[0]

    return re.sub(r"`([a-z_]+)`", as_option, message)


def _fail(message: str, trace_of: BaseException | None = None) -> NoReturn:
    """Report an error in one line, and where it was raised before, if that is asked for."""
    from model.messages import printable

    if trace_of is not None:
        traceback.print_exception(trace_of)
    print(f"{_PROGRAM}: {printable(message)}", file=sys.stderr)  # noqa: T201 - the one place that reports one
    sys.exit(_EXIT_USAGE)
