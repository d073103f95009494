"""Configuration of `score`."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import typer

from jobs.configs.decide import Decide, Tolerance
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
    max_false: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="LABEL=SHARE",
            help="Of the rows that this job calls LABEL, the share that full depth may not call so; of all "
            "texts like the calibration's.",
        ),
    ] = ()
    decide: Decide = ()
    tolerance: Tolerance = None
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
        typer.Option(
            help="Share of the texts answered at full depth too, for `audit`; by default 0.001, but of small "
            "corpora 1,000 texts, or as many as 5 % more compute buys."
        ),
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
        for name in ("max_missed", "max_false", "promise"):
            if getattr(self, name) and self.max_disagreement is None:
                raise ParameterError(f"`{name}` goes with `max_disagreement`")
        if self.max_false and self.promise == "corpus":
            raise ParameterError(
                "`max_false` is promised of all texts like the calibration's: say `promise` population"
            )
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
        return _shares("max_missed", self.max_missed)

    @property
    def max_false_shares(self) -> dict[str, float]:
        """The shares of `max_false` by label; raises as `max_missed_shares`."""
        return _shares("max_false", self.max_false)


def _shares(option: str, texts: tuple[str, ...]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for label, share in (parse_share(option, text) for text in texts):
        if label in shares:
            raise ParameterError(f"`{option}` names {label!r} twice; give one share per label")
        shares[label] = share
    return shares


def parse_share(option: str, text: str) -> tuple[str, float]:
    """Return the label, or the cut, and the share of a --max-missed or a --max-false.

    Raises:
        ParameterError: if it is not LABEL=SHARE.

    >>> parse_share("max_missed", "spam=0.01"), parse_share("max_false", ">=3=0.02")
    (('spam', 0.01), ('>=3', 0.02))
    """
    label, equals, share = text.rpartition("=")
    try:
        # A cut without a share ends in a number too.
        if not (label and equals) or label.endswith(">"):
            raise ValueError
        return label, float(share)
    except ValueError:
        raise ParameterError(f"`{option}` {text!r} is not LABEL=SHARE, as spam=0.01") from None
