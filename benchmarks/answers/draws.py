"""Calibrations of some of the rows at hand, and what their policies do to others."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.answers.kinds import AnswerKind
from benchmarks.guarantee.run import resamples
from model.answers.scaling import Scaling
from model.guarantee.calibrated_policy import CalibratedPolicy
from model.guarantee.exit_calibration import ExitCalibration
from model.guarantee.temperature_scaling import exit_uncertainty, fit_exits

Rows = np.ndarray
Draw = tuple[Rows, Rows]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a policy does to some rows: the shares are those that promises are made of.

    Attributes:
        saved_compute: full depth's FLOPs over its.
        disagreement: of all rows.
        parts: of each name that something was promised of, the share of its rows that are answered wrongly.
    """

    saved_compute: float
    disagreement: float
    parts: tuple[float, ...]

    def breaks(self, share: float, part_factor: float) -> bool:
        """Return whether any part of a promise is broken."""
        return self.disagreement > share or any(each > part_factor * share for each in self.parts)


def parted(is_held_out: Rows, *, fresh: float, redraws: int) -> Iterator[Draw]:
    """Yield rows that calibrate, in random order, and fresh ones: the rows at hand, parted.

    Args:
        is_held_out: (rows,) those that training has looked at, which calibrate in every redraw.
        fresh: share of the others that are fresh.
        redraws: how many.
    """
    num_unseen = int((~is_held_out).sum())
    calibration_rows = num_unseen - int(fresh * num_unseen)
    for search, test, others in resamples(is_held_out, calibration_rows=calibration_rows, redraws=redraws):
        yield np.random.default_rng(0).permutation(np.concatenate([search, test])), others


def from_population(is_held_out: Rows, *, calibration_rows: int, redraws: int) -> Iterator[Draw]:
    """Yield rows that calibrate and all rows: these are taken for the population, and drawn with replacement.

    So what a promise is of is known exactly, and calibrations are independent of each other.

    Args:
        is_held_out: (rows,) those that training has looked at, which are not of the population.
        calibration_rows: that are drawn.
        redraws: how many.
    """
    population = np.flatnonzero(~is_held_out)
    for seed in range(redraws):
        yield np.random.default_rng([1, seed]).choice(population, calibration_rows), population


def calibrate_with(calibration: ExitCalibration, rows: Rows) -> ExitCalibration:
    """Return what `calibrate` makes of these rows: scalings of its own, uncertainties by them."""
    logits, teacher_logits = calibration.logits[rows], calibration.teacher_logits[rows]
    drawn = replace(
        calibration,
        is_held_out=calibration.is_held_out[rows],
        num_tokens=calibration.num_tokens[rows],
        num_unknown=calibration.num_unknown[rows],
        teacher_logits=teacher_logits,
        logits=logits,
        uncertainty=calibration.uncertainty[rows],
    )
    scalings, uncertainty = fit_exits(logits, teacher_logits, drawn.answer, is_search=drawn.is_search)
    return replace(drawn, scalings=scalings, uncertainty=uncertainty)


class Fresh:
    """Rows as a calibration's policies meet them."""

    def __init__(self, calibration: ExitCalibration, scalings: tuple[Scaling, ...], rows: Rows) -> None:
        """Let the exits answer.

        Args:
            calibration: of all rows.
            scalings: of the calibration that is tried.
            rows: which of them.
        """
        self._answer = calibration.answer
        self._logits, teacher_logits = calibration.logits[rows], calibration.teacher_logits[rows]
        self._full_depth = torch.from_numpy(teacher_logits)
        answered = replace(
            calibration,
            is_held_out=calibration.is_held_out[rows],
            num_tokens=calibration.num_tokens[rows],
            num_unknown=calibration.num_unknown[rows],
            teacher_logits=teacher_logits,
            logits=self._logits,
            uncertainty=exit_uncertainty(self._logits, scalings, self._answer),
        )
        self._outcomes = answered.flops_outcomes

    def found(self, policy: CalibratedPolicy, kind: AnswerKind) -> Found:
        """Return what a policy does, counted from the answers themselves."""
        has_lexical = self._outcomes.num_exits - 1 > len(policy.thresholds)
        thresholds = np.array(
            [policy.lexical_threshold, *policy.thresholds] if has_lexical else policy.thresholds, np.float32
        )
        exits = self._outcomes.exits_taken(thresholds)
        taken = torch.from_numpy(self._logits[np.arange(len(exits)), exits])
        called, by_teacher = (self._answer.calls(each).numpy() for each in (taken, self._full_depth))
        differs = self._answer.differs(taken, self._full_depth).numpy()
        place = self._answer.names.index
        missed = [1 - _share(called, by_teacher[:, place(name)], place(name)) for name in kind.missed]
        false = [1 - _share(by_teacher, called[:, place(name)], place(name)) for name in kind.false]
        return Found(
            saved_compute=self._outcomes.saved_compute(thresholds),
            disagreement=float(differs.mean()),
            parts=(*missed, *false),
        )


def _share(called: Rows, among: Rows, place: int) -> float:
    """Return which share of some rows is called something; 1 where there are no rows."""
    return float(called[among, place].mean()) if among.any() else 1.0
