"""Write docs/commands.md, the options of every command, from the command line itself: `make commands`."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from benchmarks.markdown import table
from jobs.cli import make_app

COMMANDS = Path(__file__).parents[1] / "docs" / "commands.md"
# In the order in which they are used.
_ORDER = ("label-teacher", "distill", "calibrate", "score", "audit", "finetune", "quickstart")
_PREFACE = (
    "# Commands\n\n"
    "Every option of every command, made from the command line itself by `make commands`. What they do, step "
    "by step: [tutorial](tutorial.md). The Beam commands `label-teacher` and `score` take the options of "
    "Beam's runners too."
)


def main() -> None:
    COMMANDS.write_text(reference(), encoding="utf-8")


def reference() -> str:
    """Return the page."""
    group: Any = typer.main.get_command(make_app())
    names = [*(name for name in _ORDER if name in group.commands), *sorted({*group.commands} - {*_ORDER})]
    return "\n\n".join([_PREFACE, *(_section(name, group.commands[name]) for name in names)]) + "\n"


def _section(name: str, command: Any) -> str:
    rows = [_row(option) for option in command.params if option.name != "help"]
    return f"## `{name}`\n\n{command.help}\n\n{table(('option', 'default', ''), rows)}"


def _row(option: Any) -> tuple[str, str, str]:
    """Return the option as it is spelt, its default, and what it says of itself."""
    is_argument = option.param_type_name == "argument"
    name = option.name.upper() if is_argument else option.opts[0]
    value = option.metavar or "|".join(_choices(option.type_descriptor.annotation))
    spelt = f"`{name} {value}`" if value and not is_argument else f"`{name}`"
    default = "required" if option.required else _default(option.default)
    text = option.help or ""
    repeated = " May be repeated." if option.multiple and "repeated" not in text else ""
    return spelt.replace("|", "\\|"), default, text.replace("|", "\\|") + repeated


def _choices(annotation: Any) -> tuple[str, ...]:
    """Return the values of a `Literal`, or of one that may be None; none of any other type."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((get_args(each) for each in get_args(annotation) if get_origin(each) is Literal), ())


def _default(value: object) -> str:
    return "" if value in (None, "", (), [], False) else f"{value}"


if __name__ == "__main__":
    main()
