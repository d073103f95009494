"""Configuration of `score`."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import typer

from jobs.configs.options import (
    FastBert,
    IdColumn,
    Input,
    InputFormat,
    Keep,
    MaxRejected,
    Output,
    Overwrite,
    PrecisionName,
    TextColumn,
    TextPairColumn,
    Verify,
    WorkersDevice,
)
from jobs.configs.runner import RunnerConfig
from model.checks import check_fraction
from model.errors import ParameterError

PromiseName = Literal["corpus", "population"]


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """Score a corpus with early exit: predictions in Parquet shards."""

    input: Input
    text_column: TextColumn
    model: FastBert
    output: Output
    max_disagreement: Annotated[
        float | None, typer.Option(help="Share of answers that may disagree with full depth's, certified.")
    ] = None
    max_missed: Annotated[
        tuple[str, ...],
        typer.Option(metavar="LABEL=SHARE", help="The same of the rows that full depth calls LABEL."),
    ] = ()
    promise: Annotated[
        PromiseName | None,
        typer.Option(
            help="Of which texts: corpus, the default, of these, which are counted first; population, of all "
            "texts like them: of a small corpus more may disagree."
        ),
    ] = None
    target_speedup: Annotated[
        float | None, typer.Option(help="Instead of --max-disagreement: compute to save, 4 for a quarter.")
    ] = None
    confidence: Annotated[float | None, typer.Option(help="Of the certificate; by default 0.95.")] = None
    calibration: Annotated[
        str | None, typer.Option(help="Output of calibrate; by default the model's directory.")
    ] = None
    speed: Annotated[
        float | None, typer.Option(help="A text leaves where its uncertainty is below; 0 is full depth.")
    ] = None
    fixed_exit_layer: Annotated[
        int | None, typer.Option(help="Instead of --speed: every text leaves here; 0 is the lexical branch.")
    ] = None
    text_pair_column: TextPairColumn = None
    id_column: IdColumn = None
    keep: Keep = ()
    group_column: Annotated[
        str | None,
        typer.Option(
            help="Draws the shadow sample by groups, for a promise of groups: rows of equal value here."
        ),
    ] = None
    rows_per_shard: Annotated[
        int | None,
        typer.Option(
            help="Most rows of a shard, the unit of work and of resuming; by default 10,000, and the more, "
            "up to 100,000, the more a calibrated policy saves."
        ),
    ] = None
    shadow_fraction: Annotated[
        float | None,
        typer.Option(help="Share of the texts answered at full depth too, for `audit`; by default 0.001."),
    ] = None
    shadow_rows: Annotated[
        int | None,
        typer.Option(help="Instead of --shadow-fraction: about how many rows; 3,000 tell 2 % from 1 %."),
    ] = None
    precision: Annotated[
        PrecisionName,
        typer.Option(help="auto: that of the calibration; else bf16 where the processor has it, or fp32."),
    ] = "auto"
    device: WorkersDevice = "auto"
    format: InputFormat = None
    max_rejected: MaxRejected = 1.0
    overwrite: Overwrite = False
    verify: Verify = False
    runner: RunnerConfig = field(default_factory=RunnerConfig)

    def __post_init__(self) -> None:
        """Check the shares, and that there is one policy.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        policies = {
            "max_disagreement": self.max_disagreement,
            "target_speedup": self.target_speedup,
            "speed": self.speed,
            "fixed_exit_layer": self.fixed_exit_layer,
        }
        if sum(value is not None for value in policies.values()) != 1:
            raise ParameterError(f"give exactly one of {', '.join(f'`{name}`' for name in policies)}")
        if self.max_missed and self.max_disagreement is None:
            raise ParameterError("`max_missed` goes with `max_disagreement`")
        if self.promise is not None and self.max_disagreement is None:
            raise ParameterError("`promise` goes with `max_disagreement`")
        if not self.is_calibrated and (self.confidence is not None or self.calibration is not None):
            name = "calibration" if self.confidence is None else "confidence"
            raise ParameterError(f"`{name}` goes with `max_disagreement` or `target_speedup`")
        if self.shadow_fraction is not None:
            check_fraction("shadow_fraction", self.shadow_fraction)
            if self.shadow_rows is not None:
                raise ParameterError("give one of `shadow_fraction` and `shadow_rows`")
        check_fraction("max_rejected", self.max_rejected)

    @property
    def is_calibrated(self) -> bool:
        """Whether thresholds come from a calibration."""
        return self.max_disagreement is not None or self.target_speedup is not None

    @property
    def max_missed_shares(self) -> dict[str, float]:
        """The shares of `max_missed` by label.

        Raises:
            ParameterError: if one of them is not LABEL=SHARE, or a label has two.
        """
        shares: dict[str, float] = {}
        for label, share in map(parse_max_missed, self.max_missed):
            if label in shares:
                raise ParameterError(f"`max_missed` names {label!r} twice; give one share per label")
            shares[label] = share
        return shares


def parse_max_missed(text: str) -> tuple[str, float]:
    """Return the label and the share of a --max-missed.

    Raises:
        ParameterError: if it is not LABEL=SHARE.

    >>> parse_max_missed("spam=0.01")
    ('spam', 0.01)
    """
    label, equals, share = text.rpartition("=")
    try:
        if not (label and equals):
            raise ValueError
        return label, float(share)
    except ValueError:
        raise ParameterError(f"`max_missed` {text!r} is not LABEL=SHARE, as spam=0.01") from None
