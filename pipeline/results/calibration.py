"""A model's calibration: what its exits answer to unseen rows, and the policies that this allows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from model.checks import check_confidence
from model.cost.flops import FlopsModel
from model.cost.latency import RunCost
from model.errors import ArtifactError, OutputError, ParameterError
from model.guarantee.binomial import p_value, rows_needed
from model.guarantee.calibrated_policy import CalibratedPolicy
from model.guarantee.exit_outcomes import ExitOutcomes, Thresholds
from model.guarantee.risk_control import (
    DEFAULT_CONFIDENCE,
    Evidence,
    Promise,
    candidates,
    certified,
)
from model.guarantee.target_speedup import highest_speed_up, thresholds_for
from model.messages import first_line, shown_labels
from pipeline.contract.manifest import differences
from pipeline.contract.shards import COMPRESSION
from pipeline.contract.storage import make_directory, read_json, write_atomically, write_json
from pipeline.results.calibration_table import SEARCH, TEST, CalibrationRows

CALIBRATION_FILE = "calibration.json"
ROWS_FILE = "calibration.parquet"
_FINGERPRINT = "calibration"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What `calibrate` found out about one model in one precision on one backend.

    Attributes:
        labels: label names in the order of the logits.
        rows: the calibration rows.
        temperatures: (num_layers - 1,) one a branch, fitted on the search half.
        flops: of the model.
        cost: what its parts take here.
        model: hash of the checkpoint.
        execution: device, precision and backend, as manifests have them.
        max_length: tokens that texts were cut to.
        facts: what else is told of it, in its file.
    """

    labels: tuple[str, ...]
    rows: CalibrationRows
    temperatures: tuple[float, ...]
    flops: FlopsModel
    cost: RunCost
    model: str
    execution: Mapping[str, str]
    max_length: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_layers(self) -> int:
        """Exits, the last layer's included."""
        return self.flops.num_layers

    @cached_property
    def by_flops(self) -> ExitOutcomes:
        """Outcomes whose costs are FLOPs: saved compute, as `audit` counts it."""
        rows = self.rows
        return ExitOutcomes(
            uncertainty=rows.uncertainty[:, :-1],
            is_wrong=rows.is_wrong,
            layer_cost=self.flops.to_layers(rows.num_tokens).astype(np.float64),
            branch_cost=self.flops.branch(rows.num_tokens).astype(np.float64),
            teacher_labels=rows.teacher_labels,
        )

    @cached_property
    def by_time(self) -> ExitOutcomes:
        """Outcomes whose costs are time: a branch's FLOPs take longer than a layer's."""
        return replace(
            self.by_flops, branch_cost=self.by_flops.branch_cost * self.cost.branch_to_layer_time_per_flop
        )

    def policy(
        self,
        *,
        max_disagreement: float | None = None,
        max_missed: Mapping[str, float] | None = None,
        target_speedup: float | None = None,
        confidence: float = DEFAULT_CONFIDENCE,
    ) -> CalibratedPolicy:
        """Return the policy for what is asked for, exactly one of `max_disagreement` and `target_speedup`.

        Args:
            max_disagreement: share of answers that may differ from the teacher's; certified.
            max_missed: by label, the share of the rows that the teacher gives it that may be answered
                otherwise; certified together with `max_disagreement`.
            target_speedup: saved compute as a multiple of full depth's; not certified.
            confidence: of the certificate, and of the bounds that are told.

        Raises:
            ParameterError: if a number is out of range, a label is unknown, or not exactly one was given.
        """
        if (max_disagreement is None) == (target_speedup is None):
            raise ParameterError("give exactly one of max_disagreement and target_speedup")
        if max_disagreement is not None:
            missed = {self._label_id(label): share for label, share in (max_missed or {}).items()}
            return self._promised(
                Promise(max_disagreement=max_disagreement, max_missed=missed, confidence=confidence)
            )
        assert target_speedup is not None
        if max_missed:
            raise ParameterError("`max_missed` goes with `max_disagreement`")
        check_confidence(confidence)
        thresholds = thresholds_for(target_speedup, self.by_flops.take(SEARCH), self.by_flops)
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
                f"`max_missed` {label}: the model has no such label; it has {shown_labels(self.labels)}"
            )
        return self.labels.index(label)

    def _promised(self, promise: Promise) -> CalibratedPolicy:
        search, test = self.by_time.take(SEARCH), self.by_time.take(TEST)
        found = certified(search, test, promise)
        full_depth = np.zeros(self.num_layers - 1, dtype=np.float32)
        return self._policy(
            full_depth if found is None else found.thresholds,
            promise.describe(self.labels),
            confidence=promise.confidence,
            missed=tuple(promise.max_missed),
            is_certified=found is not None,
            max_disagreement=promise.max_disagreement,
            note="" if found else self._why_not(promise, search, test),
        )

    def _why_not(self, promise: Promise, search: ExitOutcomes, test: ExitOutcomes) -> str:
        """Say in one line why nothing but full depth keeps the promise, and what would help."""
        safest = next(iter(candidates(search, promise)), None)
        if safest is None:
            return "no exit saves any time: full depth"
        wrong = test.is_wrong_at(test.exits(safest.thresholds))
        parts = [("", wrong, promise.max_disagreement)]
        for label, share in promise.max_missed.items():
            own = wrong[test.teacher_labels == label]
            parts.append((f" that the teacher calls {self.labels[label]}", own, share))
        name, own, share = max(parts, key=lambda part: p_value(int(part[1].sum()), len(part[1]), part[2]))
        rate = float(own.mean()) if len(own) else 0.0
        needed = rows_needed(share, promise.confidence, error_rate=rate if rate < share else 0.0)
        often = "answered so often otherwise" if 0 < rate < share else "none of them answered otherwise"
        tested = f"even the safest exits answer {own.sum():,} of {len(own):,} test rows{name} otherwise"
        takes = f"{share:g} at {promise.confidence:g} takes {needed:,} test rows{name}"
        return f"{tested}: full depth; {takes}, {often}, and as many to search with"

    def _policy(
        self,
        thresholds: Thresholds,
        name: str,
        *,
        confidence: float,
        is_certified: bool,
        missed: tuple[int, ...] = (),
        max_disagreement: float | None = None,
        target_speedup: float | None = None,
        note: str = "",
    ) -> CalibratedPolicy:
        test = self.by_flops.take(TEST)
        wrong = test.is_wrong_at(test.exits(thresholds))
        return CalibratedPolicy(
            thresholds=tuple(thresholds.tolist()),
            temperatures=self.temperatures,
            name=name,
            is_certified=is_certified,
            speed_up=test.speed_up(thresholds),
            evidence=Evidence.of(wrong, test.teacher_labels, labels=missed, confidence=confidence),
            max_disagreement=max_disagreement,
            target_speedup=target_speedup,
            note=note,
        )

    def speed_curve(self, targets: tuple[float, ...]) -> list[tuple[float, float]]:
        """Return what thresholds that were set by the search half give on the test half.

        Args:
            targets: speed-ups to ask for; those out of reach are left out.

        Returns:
            Pairs of speed-ups, asked for and found.
        """
        search, test = self.by_flops.take(SEARCH), self.by_flops.take(TEST)
        highest = highest_speed_up(search)
        return [
            (target, test.speed_up(thresholds_for(target, search, search)))
            for target in targets
            if target <= highest
        ]

    def save(self, directory: str) -> None:
        """Write the rows, and then the rest, each whole or not at all.

        Raises:
            OutputError: if the directory cannot be written.
        """
        content = {
            "labels": list(self.labels),
            "temperatures": list(self.temperatures),
            "flops": asdict(self.flops),
            "cost": asdict(self.cost),
            "model": self.model,
            "execution": dict(self.execution),
            "max_length": self.max_length,
            "num_rows": len(self.rows),
            **self.facts,
        }
        path = str(FileSystems.join(directory, ROWS_FILE))
        try:
            make_directory(directory)
            table = self.rows.as_table(self.labels)
            write_atomically(path, lambda file: pq.write_table(table, file, compression=COMPRESSION))
            write_json(
                str(FileSystems.join(directory, CALIBRATION_FILE)),
                {**content, _FINGERPRINT: self._fingerprint},
            )
        except OSError as error:
            reason = " ".join(str(error).split())
            raise OutputError(
                f"the calibration cannot be written to {directory!r}: {reason}; give another `output`"
            ) from error

    @cached_property
    def _fingerprint(self) -> str:
        """What rows and file have in common."""
        digest = blake2b(digest_size=16)
        digest.update(
            json.dumps([self.model, dict(self.execution), self.temperatures], sort_keys=True).encode()
        )
        for values in (self.rows.rows, self.rows.teacher_labels, self.rows.logits):
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()

    @classmethod
    def load(cls, directory: str) -> Calibration:
        """Read what `calibrate` wrote.

        Raises:
            ArtifactError: if there is none, or it is damaged.
        """
        path = str(FileSystems.join(directory, CALIBRATION_FILE))
        if not FileSystems.exists(path):
            raise ArtifactError(
                f"{directory!r} has no {CALIBRATION_FILE}; make it with `fastbert-jobs calibrate`"
            )
        try:
            content = read_json(path)
            with FileSystems.open(str(FileSystems.join(directory, ROWS_FILE))) as file:
                table = pq.read_table(file)
            labels = tuple(content.pop("labels"))
            fingerprint = content.pop(_FINGERPRINT)
            content.pop("num_rows")
            calibration = cls(
                labels=labels,
                rows=CalibrationRows.from_table(table, labels),
                temperatures=tuple(content.pop("temperatures")),
                flops=FlopsModel.from_json(content.pop("flops")),
                cost=RunCost(**content.pop("cost")),
                model=content.pop("model"),
                execution=content.pop("execution"),
                max_length=content.pop("max_length"),
                facts=content,
            )
        # What a file that was changed by hand, cut short or left out may raise.
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"the calibration in {directory!r} cannot be read: {first_line(error)}; "
                "run `fastbert-jobs calibrate` again"
            ) from error
        if calibration._fingerprint != fingerprint:
            raise ArtifactError(
                f"{CALIBRATION_FILE} and {ROWS_FILE} in {directory!r} do not belong together; "
                "run `fastbert-jobs calibrate` again"
            )
        return calibration

    def check_fits(
        self, directory: str, *, model: str, execution: Mapping[str, str], max_length: int
    ) -> None:
        """Refuse to answer for another model, or for one that computes otherwise.

        Args:
            directory: where this calibration came from.
            model: hash of the checkpoint that is to score.
            execution: what it is to run on.
            max_length: tokens that it cuts texts to.

        Raises:
            ArtifactError: naming what differs.
        """
        there = {**self.execution, "max_length": self.max_length}
        here = {**execution, "max_length": max_length}
        if self.model != model:
            raise ArtifactError(
                f"the calibration in {directory!r} is another model's; run `fastbert-jobs calibrate`"
            )
        if there != here:
            raise ArtifactError(
                f"the calibration in {directory!r} was made otherwise: {differences(here, there)}; "
                "run `fastbert-jobs calibrate` as you want to score"
            )
