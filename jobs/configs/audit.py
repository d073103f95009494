"""Configuration of `audit`."""

from dataclasses import dataclass
from typing import Annotated

import typer

from jobs.configs.options import InputFormat


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """Show where scored rows left the network, how sure, and what it saved."""

    scores: Annotated[str, typer.Argument(help="Finished output of score.")]
    output: Annotated[str | None, typer.Option(help="Directory to write; by default SCORES/_audit.")] = None
    labels_input: Annotated[tuple[str, ...], typer.Option(help="Labelled rows, for accuracy.")] = ()
    label_column: Annotated[str, typer.Option(help="Column of the true labels.")] = "label"
    id_column: Annotated[
        str | None, typer.Option(help="Joins labels on the id; by default on file and row.")
    ] = None
    format: InputFormat = None
