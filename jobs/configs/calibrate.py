"""Configuration of `calibrate`."""

from dataclasses import dataclass
from typing import Annotated

import typer

from jobs.configs.decide import Decide, Tolerance
from jobs.configs.options import Device, FastBert, Precision, SoftLabelDirectories
from model.checks import DEFAULT_CONFIDENCE, MIN_CALIBRATION_ROWS, check_at_least, check_confidence


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """Find out how many answers disagree at which speed, for what score is to promise."""

    model: FastBert
    labels: SoftLabelDirectories
    confidence: Annotated[float, typer.Option(help="Of the table of targets.")] = DEFAULT_CONFIDENCE
    decide: Decide = ()
    tolerance: Tolerance = None
    output: Annotated[str | None, typer.Option(help="Directory to write; by default the model's.")] = None
    rows: Annotated[int, typer.Option(help="Most rows of the calibration split.")] = 20_000
    precision: Precision = "auto"
    device: Device = "auto"

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ParameterError: naming the parameter and the rule.
        """
        check_confidence(self.confidence)
        check_at_least("rows", self.rows, MIN_CALIBRATION_ROWS)
