"""Configuration of `audit`."""

from dataclasses import dataclass
from typing import Annotated

import typer

from jobs.configs.options import InputFormat


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """Show whether a job kept its promise, where its rows left the network, and what it saved."""

    scores: Annotated[str, typer.Argument(help="Finished output of score.")]
    other: Annotated[
        str | None,
        typer.Argument(help="Another one, to be shown beside it."),
    ] = None
    output: Annotated[str | None, typer.Option(help="Directory to write; by default SCORES/_audit.")] = None
    labels_input: Annotated[
        tuple[str, ...], typer.Option(help="Labelled rows, for accuracy, precision, recall and F1.")
    ] = ()
    label_column: Annotated[str, typer.Option(help="Column of the true labels.")] = "label"
    id_column: Annotated[
        str | None, typer.Option(help="Joins labels on the id; by default on file and row.")
    ] = None
    format: InputFormat = None
    json: Annotated[bool, typer.Option("--json", help="Print audit.json, and nothing else.")] = False
    fail_on: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="CONDITION",
            help="Exit with 1, for schedulers: contradicted, drift, 'disagreement>0.01' where the shadow "
            "sample shows it, 'rejected>0.01', 'accuracy<0.9', 'saved_compute<2'.",
        ),
    ] = ()
