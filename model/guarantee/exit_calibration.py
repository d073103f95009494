"""What a model's exits answer to texts that training never saw, and the policies that this allows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from model.answers.answer import Answer, answer_of
from model.answers.rule import AnswerRule, check_decidable
from model.answers.scaling import UNSCALED, Scaling
from model.checks import DEFAULT_CONFIDENCE, check_confidence
from model.cost.flops import FlopsModel
from model.cost.latency import RunCost
from model.errors import ParameterError
from model.exits.policy import CalibratedFor, length_scales
from model.guarantee.calibrated_policy import CalibratedPolicy
from model.guarantee.calibration_split import search_rows
from model.guarantee.exit_outcomes import Calls, ExitOutcomes, Thresholds
from model.guarantee.failure import explain_failure
from model.guarantee.finite_corpus import CorpusSize, CorpusTest, corpus_test
from model.guarantee.policy_reference import AnsweredTexts, PolicyReference, policy_reference
from model.guarantee.risk_constraint import ConstraintPart, Kind, RiskConstraint, shares_by_number
from model.guarantee.risk_control import RiskEstimate, certify
from model.guarantee.target_speedup import SpeedupPath, highest_saved_compute
from model.guarantee.temperature_scaling import (
    ExitReliability,
    exit_reliability,
    fit_exits,
)
from model.guarantee.threshold_search import SearchEffort
from model.guarantee.unit import Unit

# A wrong answer costs the same of a text of any length, and a right one saves more of a long one. Chosen by
# measurement (docs/performance.md); exits that were fitted one of their own had 0.45 to 0.8.
LENGTH_EXPONENT = 0.5

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class ExitCalibration:
    """What `calibrate` found out about one model in one precision on one backend.

    Rows are one text of each unit, in the order of the units' hashes. `is_search` says which of them are for
    the search; the others test what it finds.

    Attributes:
        labels: label names in the order of the logits.
        is_held_out: (rows,) bool, texts that training judged the branches by. They test nothing.
        num_tokens: (rows,) int64.
        num_unknown: (rows,) int64, those of them that the tokenizer has no word for.
        teacher_logits: (rows, num_labels) float32 from the soft labels.
        logits: (rows, num_exits, num_outputs) float32 of every exit, as they come: of the lexical branch
            where there is one, and of the layers.
        rule: which answers are the same.
        scalings: (num_exits - 1,) one per branch, fitted on the search rows.
        uncertainty: (rows, num_exits) float32 of every exit, its scaling applied.
        flops: of the model.
        cost: what its parts take here.
        calibrated_for: model, device, precision, backend and length of all this.
        unit: what shares are shares of.
    """

    labels: tuple[str, ...]
    is_held_out: npt.NDArray[np.bool_]
    num_tokens: npt.NDArray[np.int64]
    num_unknown: npt.NDArray[np.int64]
    teacher_logits: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]
    rule: AnswerRule
    scalings: tuple[Scaling, ...]
    uncertainty: npt.NDArray[np.float32]
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
    def answer(self) -> Answer:
        """What is compared."""
        return answer_of(self.rule, self.labels)

    def deciding(self, rule: AnswerRule) -> "ExitCalibration":
        """Return the same rows for another rule of the same task.

        Raises:
            ParameterError: if the answer is a score, and the rule does not say when two of them are the same.
        """
        check_decidable(rule)
        if rule == self.rule:
            return self
        scalings, uncertainty = fit_exits(
            self.logits, self.teacher_logits, answer_of(rule, self.labels), is_search=self.is_search
        )
        return replace(self, rule=rule, scalings=scalings, uncertainty=uncertainty)

    @cached_property
    def is_search(self) -> npt.NDArray[np.bool_]:
        """(rows,) whether thresholds are sought with a row; else it tests them."""
        return search_rows(self.is_held_out)

    @cached_property
    def flops_outcomes(self) -> ExitOutcomes:
        """Outcomes whose costs are FLOPs: saved compute, as `audit` counts it."""
        return ExitOutcomes(
            uncertainty=self.uncertainty[:, :-1] / length_scales(self.num_tokens, LENGTH_EXPONENT)[:, None],
            disagrees=self.answer.differs(*self._tensors).numpy(),
            exit_cost=self.flops.to_exits(self.num_tokens).astype(np.float64),
            branch_cost=self.flops.of_branches(self.num_tokens).astype(np.float64),
        )

    @property
    def _tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of the exits, and the teacher's, which are broadcast to them."""
        return torch.from_numpy(self.logits), torch.from_numpy(self.teacher_logits)[:, None]

    @cached_property
    def _called(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """What every exit calls the rows, (rows, num_exits, K), and the teacher, (rows, 1, K)."""
        by_exit, by_teacher = (self.answer.calls(logits).numpy() for logits in self._tensors)
        return by_exit, by_teacher

    def _with_calls(self, outcomes: ExitOutcomes, names: Collection[int]) -> ExitOutcomes:
        """Return outcomes that say too which rows are called by some names, told by their numbers."""
        if not names:
            return outcomes
        by_exit, by_teacher = self._called
        calls = {name: Calls(by_exit=by_exit[..., name], by_teacher=by_teacher[:, 0, name]) for name in names}
        return replace(outcomes, calls=calls)

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
        max_false: Mapping[str, float] | None = None,
        target_speedup: float | None = None,
        confidence: float = DEFAULT_CONFIDENCE,
        corpus: CorpusSize | None = None,
        effort: SearchEffort = SearchEffort(),  # noqa: B008 - frozen
    ) -> CalibratedPolicy:
        """Return the policy for what is asked for, exactly one of `max_disagreement` and `target_speedup`.

        Args:
            max_disagreement: share of answers that may disagree with the teacher's; certified.
            max_missed: by label, or by cut as `>=3`, the share of the rows that the teacher calls so which
                may not be called so; certified together with `max_disagreement`.
            max_false: likewise of the rows that are called so, those that the teacher does not; not of one
                corpus.
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
            constraint = RiskConstraint(
                max_disagreement=max_disagreement,
                max_missed=shares_by_number(Kind.MISSED, max_missed or {}, self.rule, self.labels),
                max_false=shares_by_number(Kind.FALSE, max_false or {}, self.rule, self.labels),
                confidence=confidence,
            )
            return self._certified_policy(constraint, corpus, effort)
        assert target_speedup is not None
        for name, given in {"max_missed": max_missed, "max_false": max_false, "corpus": corpus}.items():
            if given:
                raise ParameterError(f"`{name}` goes with `max_disagreement`")
        check_confidence(confidence)
        search, _ = self._search_and_test(self.flops_outcomes)
        thresholds = self._speedup_path.thresholds_for(target_speedup, search)
        return self._policy(
            thresholds,
            f"{self._decided}target speed-up {target_speedup:g}",
            confidence=confidence,
            is_certified=False,
            target_speedup=target_speedup,
        )

    def _certified_policy(
        self, constraint: RiskConstraint, corpus: CorpusSize | None, effort: SearchEffort
    ) -> CalibratedPolicy:
        if corpus is not None and corpus.unit is not self.unit:
            raise ParameterError(f"`corpus` counts {corpus.unit}, and the calibration is of {self.unit}")
        search, test = self._search_and_test(self._with_calls(self.latency_outcomes, constraint.names))
        tested = None if corpus is None else corpus_test(constraint, corpus, test)
        to_keep = tested.constraint if tested else constraint
        fastest = certify(search, test, to_keep, effort=effort)
        full_depth = np.zeros(len(self.exits) - 1, dtype=np.float32)
        promised = f"of {tested.size}" if tested else self.unit.promised
        return self._policy(
            full_depth if fastest is None else fastest.thresholds,
            f"{self._decided}{constraint.describe(self.answer.names)}, {promised}",
            confidence=constraint.confidence,
            parts=constraint.parts,
            is_certified=fastest is not None,
            max_disagreement=constraint.max_disagreement,
            corpus=tested,
            note="" if fastest else explain_failure(to_keep, search, test, self.answer.names, effort=effort),
        )

    def _policy(
        self,
        thresholds: Thresholds,
        name: str,
        *,
        confidence: float,
        is_certified: bool,
        parts: Sequence[ConstraintPart] = (),
        max_disagreement: float | None = None,
        target_speedup: float | None = None,
        corpus: CorpusTest | None = None,
        note: str = "",
    ) -> CalibratedPolicy:
        names = {part.name for part in parts if part.name is not None}
        _, test = self._search_and_test(self._with_calls(self.flops_outcomes, names))
        taken = test.exits_taken(thresholds)
        lexical_threshold, layer_thresholds = self._lexical_and_layers(thresholds.tolist(), without=0.0)
        lexical_scaling, layer_scalings = self._lexical_and_layers(self.scalings, without=UNSCALED)
        return CalibratedPolicy(
            thresholds=layer_thresholds,
            scalings=layer_scalings,
            lexical_threshold=lexical_threshold,
            lexical_scaling=lexical_scaling,
            length_exponent=LENGTH_EXPONENT,
            name=name,
            answer=self.rule,
            calibrated_for=self.calibrated_for,
            is_certified=is_certified,
            saved_compute=test.saved_compute(thresholds),
            risk=RiskEstimate.from_test_rows(test, taken, parts=parts, confidence=confidence),
            reference=self._reference(thresholds, taken, ~test.disagrees),
            num_calibration_rows=len(self),
            max_disagreement=max_disagreement,
            target_speedup=target_speedup,
            corpus=corpus,
            unit=self.unit,
            note=note,
        )

    def _reference(
        self, thresholds: Thresholds, taken: npt.NDArray[np.int64], agrees: npt.NDArray[np.bool_]
    ) -> PolicyReference:
        """Return what the test rows are like that leave at the places `taken`, (test rows,)."""
        is_test = ~self.is_search
        logits = torch.from_numpy(self.logits[is_test])
        uncertainty, rows = self.uncertainty[is_test], np.arange(len(taken))
        # The last layer runs in any case.
        first = int(np.argmax(np.append(thresholds > 0, True)))
        return policy_reference(
            AnsweredTexts(
                exit_layer=taken + self.exits.start,
                first_uncertainty=uncertainty[:, first].astype(np.float64),
                num_tokens=self.num_tokens[is_test],
                num_unknown=self.num_unknown[is_test],
                called=self.answer.calls(logits[rows, taken]).numpy(),
                one_holds=self.rule.calls_one_label,
            ),
            exits=self.exits,
            uncertainty=uncertainty,
            uncertainty_of_speeds=self.answer.uncertainty(logits[:, -self.flops.num_layers :]).numpy(),
            agrees=agrees,
        )

    @property
    def _decided(self) -> str:
        """What is decided, in front of a policy's name; nothing where it is the task's own answer."""
        return "" if self.rule == AnswerRule(task=self.rule.task) else f"{self.rule}: "

    @cached_property
    def _speedup_path(self) -> SpeedupPath:
        return SpeedupPath(self.flops_outcomes.take(self.is_search))

    def _search_and_test(self, outcomes: ExitOutcomes) -> tuple[ExitOutcomes, ExitOutcomes]:
        return outcomes.take(self.is_search), outcomes.take(~self.is_search)

    def _lexical_and_layers(
        self, values: Sequence[Value], *, without: Value
    ) -> tuple[Value, tuple[Value, ...]]:
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
                self.teacher_logits[is_test],
                self.answer,
                exit_layer=exit_layer,
                scaling=scaling,
            )
            for place, (exit_layer, scaling) in enumerate(
                zip(self.exits, (*self.scalings, UNSCALED), strict=True)
            )
        ]
