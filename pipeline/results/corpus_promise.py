"""A promise of the very corpus that is scored: its policy is known once its texts are counted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from model.checks import DEFAULT_CONFIDENCE
from model.errors import ParameterError
from model.guarantee.calibrated_policy import CalibratedPolicy
from model.guarantee.finite_corpus import CorpusSize
from model.guarantee.unit import Unit
from pipeline.reading.inputs import Inputs
from pipeline.results.calibration import Calibration
from pipeline.results.corpus_size import corpus_size, ignore_rows


@dataclass(frozen=True, kw_only=True)
class CorpusPromise:
    """At most so many of the texts of one corpus disagree; what `score` and `ScoreWithEarlyExit` take.

    Attributes:
        calibration: what it rests on.
        max_disagreement: share of the corpus' distinct texts, or rows, that may disagree.
        max_missed: by label, likewise of the texts that full depth gives it.
        confidence: with which all of it is kept.

    Raises:
        ParameterError: if the calibration is of groups: the texts of one disagree together, so that their
            share in a corpus may be anything.
    """

    calibration: Calibration
    max_disagreement: float
    max_missed: Mapping[str, float] = field(default_factory=dict)
    confidence: float = DEFAULT_CONFIDENCE

    def __post_init__(self) -> None:
        if self.calibration.exits.unit is Unit.GROUPS:
            raise ParameterError(
                "`promise` corpus does not go with a calibration of groups, whose texts disagree together: "
                "say population"
            )

    @cached_property
    def of_population(self) -> CalibratedPolicy:
        """The policy for the same promise of all texts like the calibration's, which saves a little more."""
        return self.calibration.policy(
            max_disagreement=self.max_disagreement, max_missed=self.max_missed, confidence=self.confidence
        )

    @property
    def saved_compute(self) -> float:
        """What may be hoped for before the texts are counted."""
        return self.of_population.saved_compute

    def policy(self, inputs: Inputs, *, on_rows: Callable[[int], None] = ignore_rows) -> CalibratedPolicy:
        """Count the distinct texts, or the rows, of some files, and return the policy for them.

        Args:
            inputs: the files.
            on_rows: told how many rows more are read.

        Raises:
            ParameterError: if they are so few that not one answer might disagree.
            InputError: if a file cannot be read.
        """
        return self.policy_for(self.size_of(inputs, on_rows=on_rows))

    def size_of(self, inputs: Inputs, *, on_rows: Callable[[int], None] = ignore_rows) -> CorpusSize:
        """Count the distinct texts, or the rows, of some files.

        Args:
            inputs: the files.
            on_rows: told how many rows more are read.

        Raises:
            InputError: if a file cannot be read.
        """
        return corpus_size(inputs, self.calibration.exits.unit, on_rows=on_rows)

    def policy_for(self, size: CorpusSize) -> CalibratedPolicy:
        """Return the policy for a corpus of some size.

        Raises:
            ParameterError: if it is so small that not one answer might disagree.
        """
        return self.calibration.policy(
            max_disagreement=self.max_disagreement,
            max_missed=self.max_missed,
            confidence=self.confidence,
            corpus=size,
        )
