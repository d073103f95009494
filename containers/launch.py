"""What the launcher of a Flex Template runs: its parameters as words of the command line.

Parameters have no hyphens, and all of them have values. `overwrite=true` is a flag; several values of an
option that may be repeated are separated by spaces.
"""

import shlex
import sys
from collections.abc import Sequence
from typing import Any

import typer

from jobs.cli import main, make_app

_COMMAND = "--command"


def words(args: Sequence[str]) -> list[str]:
    """Return the words of a command line of ours.

    >>> words(["--command=score", "--text_column=text", "--overwrite=true", "--project=p", "--keep=a b"])
    ['score', '--text-column=text', '--overwrite', '--project=p', '--keep=a', '--keep=b']
    """
    chosen = [arg.partition("=")[2] for arg in args if arg.startswith(f"{_COMMAND}=")]
    command = chosen[0] if chosen else "score"
    options = _options(command)
    made = [command]
    for arg in args:
        name, _, value = arg.partition("=")
        option = options.get(name)
        if option is None:
            # Of Beam or the launcher; the command's own is the first word already.
            made += [] if name == _COMMAND else [arg]
        elif option.is_flag:
            made += [option.opts[0]] if value.lower() == "true" else []
        else:
            values = shlex.split(value) if option.multiple else [value]
            made += [f"{option.opts[0]}={each}" for each in values]
    return made


def _options(command: str) -> dict[str, Any]:
    """Return a command's options by the names that parameters have."""
    app: Any = typer.main.get_command(make_app())
    found = app.commands.get(command)
    parameters = [] if found is None else found.params
    return {name.replace("-", "_").replace("__", "--", 1): each for each in parameters for name in each.opts}


if __name__ == "__main__":
    main(words(sys.argv[1:]))
