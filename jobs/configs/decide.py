"""Options that say which answers are the same, shared by commands that compare them."""

from typing import Annotated, TypeAlias

import typer

Decide: TypeAlias = Annotated[
    tuple[str, ...],
    typer.Option(
        metavar="CUT",
        help="What is decided: whether a label's probability reaches a cut, as 'spam>=0.9', or a score does, "
        "as '>=3'. May be repeated; by default the model's own answer.",
    ),
]
Tolerance: TypeAlias = Annotated[
    float | None, typer.Option(help="Instead of --decide: by how much two scores may differ.")
]
