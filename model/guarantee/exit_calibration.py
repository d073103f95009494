"""What a model's exits answer to texts that training never saw, and the policies that this allows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from model.checks import DEFAULT_CONFIDENCE, check_confidence
from model.cost.flops import FlopsModel
from model.cost.latency import RunCost
from model.errors import ParameterError
from model.exits.policy import CalibratedFor, length_scales
from model.guarantee.binomial import p_value, rows_needed
from model.guarantee.calibrated_policy import CalibratedPolicy
from model.guarantee.exit_outcomes import ExitOutcomes, Thresholds
from model.guarantee.finite_corpus import CorpusSize, CorpusTest, corpus_test
from model.guarantee.risk_control import RiskConstraint, RiskEstimate, candidate_thresholds, certify
from model.guarantee.target_speedup import SpeedupPath, highest_saved_compute
from model.guarantee.temperature_scaling import ExitReliability, exit_reliability
from model.guarantee.threshold_search import SearchEffort
from model.guarantee.unit import Unit
from model.messages import format_labels

# Share of the rows that thresholds are sought with. Chosen by measurement, as is the next
# (docs/performance.md): the others bound the risk, and are worth more.
SEARCH_SHARE = 1 / 3
# A wrong answer costs the same of a text of any length, and a right one saves more of a long one. Chosen by
# measurement; exits that were fitted one of their own had 0.45 to 0.8.
LENGTH_EXPONENT = 0.5


@dataclass(frozen=True, kw_only=True)
class ExitCalibration:
    """What `calibrate` found out about one model in one precision on one backend.

    Rows are one text of each unit, in the order of the units' hashes. `is_search` says which of them are for
    the search; the others test what it finds.

    Attributes:
        labels: label names in the order of the logits.
        is_held_out: (rows,) bool, texts that training judged the branches by. They test nothing.
        num_tokens: (rows,) int64.
        teacher_labels: (rows,) int64 label ids from the soft labels.
        logits: (rows, num_exits, num_labels) float32 of every exit, as they come: of the lexical branch where
            there is one, and of the layers.
        uncertainty: (rows, num_exits) float32 of every exit, its temperature applied.
        temperatures: (num_exits - 1,) one per branch, fitted on the search rows.
        flops: of the model.
        cost: what its parts take here.
        calibrated_for: model, device, precision, backend and length of all this.
        unit: what shares are shares of.
    """

    labels: tuple[str, ...]
    is_held_out: npt.NDArray[np.bool_]
    num_tokens: npt.NDArray[np.int64]
    teacher_labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]
    uncertainty: npt.NDArray[np.float32]
    temperatures: tuple[float, ...]
    flops: FlopsModel
    cost: RunCost
    calibrated_for: CalibratedFor
    unit: Unit = Unit.TEXTS

    def __len__(self) -> int:
        return len(self.num_tokens)

    @property
    def exits(self) -> range:
        """The exits that the columns are of: 0 where there is a lexical branch, and the layers, from 1."""
        return self.flops.exits

    @cached_property
    def is_search(self) -> npt.NDArray[np.bool_]:
        """(rows,) whether thresholds are sought with a row; else it tests them."""
        return search_rows(self.is_held_out)

    @cached_property
    def flops_outcomes(self) -> ExitOutcomes:
        """Outcomes whose costs are FLOPs: saved compute, as `audit` counts it."""
        return ExitOutcomes(
            uncertainty=self.uncertainty[:, :-1] / length_scales(self.num_tokens, LENGTH_EXPONENT)[:, None],
            disagrees=self.logits.argmax(axis=2) != self.teacher_labels[:, None],
            exit_cost=self.flops.to_exits(self.num_tokens).astype(np.float64),
            branch_cost=self.flops.of_branches(self.num_tokens).astype(np.float64),
            teacher_labels=self.teacher_labels,
        )

    @cached_property
    def latency_outcomes(self) -> ExitOutcomes:
        """Outcomes whose costs are time: a branch's FLOPs take longer than a layer's."""
        factors = np.full(len(self.exits) - 1, self.cost.branch_to_layer_time_per_flop)
        if 0 in self.exits:
            factors[0] = self.cost.lexical_to_layer_time_per_flop
        return replace(self.flops_outcomes, branch_cost=self.flops_outcomes.branch_cost * factors)

    def policy(
        self,
        *,
        max_disagreement: float | None = None,
        max_missed: Mapping[str, float] | None = None,
        target_speedup: float | None = None,
        confidence: float = DEFAULT_CONFIDENCE,
        corpus: CorpusSize | None = None,
        effort: SearchEffort = SearchEffort(),  # noqa: B008 - frozen
    ) -> CalibratedPolicy:
        """Return the policy for what is asked for, exactly one of `max_disagreement` and `target_speedup`.

        Args:
            max_disagreement: share of answers that may disagree with the teacher's; certified.
            max_missed: by label, the share of the rows that the teacher gives it that may get another
                answer; certified together with `max_disagreement`.
            target_speedup: saved compute as a multiple of full depth's; not certified.
            confidence: of the certificate, and of the bounds that are told.
            corpus: whose shares are to be kept; None for the risk, over all texts like the calibration's.
            effort: how many thresholds are tried for `max_disagreement`; with fewer less is saved.

        Raises:
            ParameterError: if a number is out of range, there is no such label, or the corpus is so small
                that not one of its answers might disagree, or counted by another unit.
        """
        if (max_disagreement is None) == (target_speedup is None):
            raise ParameterError("give exactly one of `max_disagreement` and `target_speedup`")
        if max_disagreement is not None:
            missed = {self._label_id(label): share for label, share in (max_missed or {}).items()}
            return self._certified_policy(
                RiskConstraint(max_disagreement=max_disagreement, max_missed=missed, confidence=confidence),
                corpus,
                effort,
            )
        assert target_speedup is not None
        if max_missed or corpus:
            raise ParameterError(f"`{'max_missed' if max_missed else 'corpus'}` goes with `max_disagreement`")
        check_confidence(confidence)
        search, _ = self._search_and_test(self.flops_outcomes)
        thresholds = self._speedup_path.thresholds_for(target_speedup, search)
        return self._policy(
            thresholds,
            f"target speed-up {target_speedup:g}",
            confidence=confidence,
            is_certified=False,
            target_speedup=target_speedup,
        )

    def _label_id(self, label: str) -> int:
        if label not in self.labels:
            raise ParameterError(
                f"`max_missed` {label}: the model has no such label; it has {format_labels(self.labels)}"
            )
        return self.labels.index(label)

    def _certified_policy(
        self, constraint: RiskConstraint, corpus: CorpusSize | None, effort: SearchEffort
    ) -> CalibratedPolicy:
        if corpus is not None and corpus.unit is not self.unit:
            raise ParameterError(f"`corpus` counts {corpus.unit}, and the calibration is of {self.unit}")
        search, test = self._search_and_test(self.latency_outcomes)
        tested = None if corpus is None else corpus_test(constraint, corpus, test.teacher_labels)
        to_keep = tested.constraint if tested else constraint
        fastest = certify(search, test, to_keep, effort=effort)
        full_depth = np.zeros(len(self.exits) - 1, dtype=np.float32)
        return self._policy(
            full_depth if fastest is None else fastest.thresholds,
            f"{constraint.describe(self.labels)}, {f'of {tested.size}' if tested else self.unit.promised}",
            confidence=constraint.confidence,
            max_missed=constraint.max_missed,
            is_certified=fastest is not None,
            max_disagreement=constraint.max_disagreement,
            corpus=tested,
            note="" if fastest else explain_failure(to_keep, search, test, self.labels, effort=effort),
        )

    def _policy(
        self,
        thresholds: Thresholds,
        name: str,
        *,
        confidence: float,
        is_certified: bool,
        max_missed: Mapping[int, float] | None = None,
        max_disagreement: float | None = None,
        target_speedup: float | None = None,
        corpus: CorpusTest | None = None,
        note: str = "",
    ) -> CalibratedPolicy:
        _, test = self._search_and_test(self.flops_outcomes)
        disagrees = test.disagrees_at(test.exits_taken(thresholds))
        lexical_threshold, layer_thresholds = self._lexical_and_layers(thresholds.tolist(), without=0.0)
        lexical_temperature, layer_temperatures = self._lexical_and_layers(self.temperatures, without=1.0)
        return CalibratedPolicy(
            thresholds=layer_thresholds,
            temperatures=layer_temperatures,
            lexical_threshold=lexical_threshold,
            lexical_temperature=lexical_temperature,
            length_exponent=LENGTH_EXPONENT,
            name=name,
            calibrated_for=self.calibrated_for,
            is_certified=is_certified,
            saved_compute=test.saved_compute(thresholds),
            risk=RiskEstimate.from_test_rows(
                disagrees, test.teacher_labels, max_missed=max_missed, confidence=confidence
            ),
            num_calibration_rows=len(self),
            max_disagreement=max_disagreement,
            target_speedup=target_speedup,
            corpus=corpus,
            unit=self.unit,
            note=note,
        )

    @cached_property
    def _speedup_path(self) -> SpeedupPath:
        return SpeedupPath(self.flops_outcomes.take(self.is_search))

    def _search_and_test(self, outcomes: ExitOutcomes) -> tuple[ExitOutcomes, ExitOutcomes]:
        return outcomes.take(self.is_search), outcomes.take(~self.is_search)

    def _lexical_and_layers(
        self, values: Sequence[float], *, without: float
    ) -> tuple[float, tuple[float, ...]]:
        """Return the lexical branch's value, and those of the layers' branches, (num_layers - 1,).

        Args:
            values: (num_exits - 1,).
            without: the value for a model that has no lexical branch.
        """
        lexical, *layers = values if 0 in self.exits else (without, *values)
        return lexical, tuple(layers)

    def speed_curve(self, targets: Sequence[float]) -> list[tuple[float, float]]:
        """Return what thresholds that were set by the search rows give on the test rows.

        Args:
            targets: saved compute to ask for; what is out of reach is left out.

        Returns:
            Pairs of saved compute, asked for and found.
        """
        search, test = self._search_and_test(self.flops_outcomes)
        highest = highest_saved_compute(search)
        return [
            (target, test.saved_compute(self._speedup_path.thresholds_for(target, search)))
            for target in targets
            if target <= highest
        ]

    def reliability(self) -> list[ExitReliability]:
        """Return every exit's agreement and calibration error on the test rows."""
        is_test = ~self.is_search
        return [
            exit_reliability(
                self.logits[is_test, place],
                self.teacher_labels[is_test],
                exit_layer=exit_layer,
                temperature=temperature,
            )
            for place, (exit_layer, temperature) in enumerate(
                zip(self.exits, (*self.temperatures, 1.0), strict=True)
            )
        ]


def search_rows(is_held_out: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which rows thresholds are sought with, (rows,): held-out ones, and others up to `SEARCH_SHARE`.

    Those others are spread evenly, so they are drawn by hash where the rows stand in that order.

    >>> search_rows(np.array([False] * 6)).tolist()
    [False, False, True, False, False, True]
    >>> search_rows(np.array([True, False, False, True, False, False])).tolist()
    [True, False, False, True, False, False]
    """
    is_search = is_held_out.copy()
    others = np.flatnonzero(~is_held_out)
    missing = max(0, int(len(is_held_out) * SEARCH_SHARE) - int(is_held_out.sum()))
    if missing:
        is_search[others[np.diff(np.arange(len(others) + 1) * missing // len(others)) > 0]] = True
    return is_search


def explain_failure(
    constraint: RiskConstraint,
    search: ExitOutcomes,
    test: ExitOutcomes,
    labels: tuple[str, ...],
    *,
    effort: SearchEffort = SearchEffort(),  # noqa: B008 - frozen
) -> str:
    """Say in one line why nothing but full depth keeps a constraint, and what would help."""
    safest = next(iter(candidate_thresholds(search, constraint, effort=effort)), None)
    if safest is None:
        return "no exit saves any time: full depth"
    disagrees = test.disagrees_at(test.exits_taken(safest.thresholds))
    parts = [("", disagrees, constraint.max_disagreement)]
    for label, share in constraint.max_missed.items():
        of_label = disagrees[test.teacher_labels == label]
        parts.append((f" that the teacher calls {labels[label]}", of_label, share))
    name, rows, share = max(parts, key=lambda part: p_value(int(part[1].sum()), len(part[1]), part[2]))
    rate = float(rows.mean()) if len(rows) else 0.0
    needed = rows_needed(share, constraint.confidence, error_rate=rate if rate < share else 0.0)
    often = "of which as many disagree" if 0 < rate < share else "none of which disagrees"
    tested = f"even the safest exits disagree on {rows.sum():,} of {len(rows):,} test rows{name}"
    takes = f"{share:.3g} at {constraint.confidence:g} takes {needed:,} test rows{name}"
    return f"{tested}: full depth; {takes}, {often}, and half as many to search with"
