"""A model's calibration on disk: `calibration.parquet`, its rows, and `calibration.json`, what they gave."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from model.answers.rule import AnswerRule
from model.checkpoints.hub import CALIBRATION_FILE, CALIBRATION_ROWS_FILE
from model.checks import DEFAULT_CONFIDENCE
from model.cost.latency import RunCost
from model.errors import ArtifactError, OutputError
from model.exits.policy import CalibratedFor
from model.guarantee.calibrated_policy import CalibratedPolicy
from model.guarantee.exit_calibration import ExitCalibration
from model.guarantee.finite_corpus import CorpusSize
from model.messages import first_line, one_line
from pipeline.contract import schema
from pipeline.contract.shards import COMPRESSION
from pipeline.contract.storage import check_file_system, exists, make_directory, open_file, write_atomically
from pipeline.contract.typed_json import read_typed, write_typed
from pipeline.results.calibration_report import SPEEDUPS, CalibrationReport
from pipeline.results.calibration_table import (
    calibration_table,
    float_array,
    held_out_flags,
)
from pipeline.results.near_copies import NearCopies


def known_cost(directory: str, calibrated_for: CalibratedFor) -> RunCost | None:
    """Return what an earlier calibration measured the same engine's exits to cost; None where there is none.

    Args:
        directory: where the calibration is that may be replaced.
        calibrated_for: the engine.
    """
    path = _path(directory, CALIBRATION_FILE)
    if not exists(path):
        return None
    try:
        report = read_typed(path, CalibrationReport, cure="")
    except ArtifactError:
        # Damaged or of another version: it is about to be replaced by one that is neither.
        return None
    return report.cost if report.calibrated_for == calibrated_for else None


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What `calibrate` found out about one model in one precision on one backend.

    Attributes:
        exits: every exit's answers, and the policies that they allow.
        sources: (rows,) input file of each calibration row.
        row_numbers: (rows,) int64, its row there.
        report: what is told of it.
    """

    exits: ExitCalibration
    sources: Sequence[str]
    row_numbers: npt.NDArray[np.int64]
    report: CalibrationReport

    @classmethod
    def of(
        cls,
        exits: ExitCalibration,
        *,
        sources: Sequence[str],
        row_numbers: npt.NDArray[np.int64],
        confidence: float = DEFAULT_CONFIDENCE,
        near_copies: NearCopies | None = None,
    ) -> "Calibration":
        """Return the calibration with its report.

        Args:
            exits: from `calibrate`.
            sources: (rows,) input file of each row.
            row_numbers: (rows,) its row there.
            confidence: of the report's targets.
            near_copies: for the report.
        """
        report = CalibrationReport.of(
            exits,
            fingerprint=_fingerprint(exits, row_numbers),
            confidence=confidence,
            near_copies=near_copies,
        )
        return cls(exits=exits, sources=sources, row_numbers=row_numbers, report=report)

    def policy(
        self,
        *,
        max_disagreement: float | None = None,
        max_missed: Mapping[str, float] | None = None,
        max_false: Mapping[str, float] | None = None,
        target_speedup: float | None = None,
        confidence: float = DEFAULT_CONFIDENCE,
        corpus: CorpusSize | None = None,
    ) -> CalibratedPolicy:
        """Return the policy for what is asked for; see `ExitCalibration.policy`.

        Raises:
            ParameterError: if a number is out of range, there is no such label, or the corpus is so small
                that not one of its answers might disagree.
        """
        policy = self.exits.policy(
            max_disagreement=max_disagreement,
            max_missed=max_missed,
            max_false=max_false,
            target_speedup=target_speedup,
            confidence=confidence,
            corpus=corpus,
        )
        if self.exits.rule == self.report.rule:
            return replace(policy, speed_curve=self.report.speed_curve)
        if target_speedup is None:
            return policy
        return replace(policy, speed_curve=tuple(self.exits.speed_curve(SPEEDUPS)))

    def deciding(self, rule: AnswerRule) -> "Calibration":
        """Return the same rows for another rule of the same task; what is told of them stays as it was.

        Raises:
            ParameterError: if the answer is a score, and the rule does not say when two of them are the same.
        """
        return replace(self, exits=self.exits.deciding(rule))

    def save(self, directory: str) -> None:
        """Write the rows, and then the report, each whole or not at all.

        Raises:
            OutputError: if the directory cannot be written.
        """
        table = calibration_table(self.exits, self.sources, self.row_numbers)
        try:
            make_directory(directory)
            write_atomically(
                _path(directory, CALIBRATION_ROWS_FILE),
                lambda file: pq.write_table(table, file, compression=COMPRESSION),
            )
            write_typed(_path(directory, CALIBRATION_FILE), self.report)
        except OSError as error:
            reason = one_line(error)
            raise OutputError(
                f"the calibration cannot be written to {directory!r}: {reason}; give another `output`"
            ) from error

    @classmethod
    def load(cls, directory: str) -> "Calibration":
        """Read what `calibrate` wrote.

        Raises:
            ArtifactError: if there is none, or it is damaged or of another version.
        """
        check_file_system(directory, ArtifactError)
        path = _path(directory, CALIBRATION_FILE)
        if not exists(path):
            raise ArtifactError(
                f"{directory!r} has no {CALIBRATION_FILE}; make it with `fastbert-jobs calibrate`"
            )
        report = read_typed(path, CalibrationReport, cure="run `fastbert-jobs calibrate` again")
        try:
            calibration = cls._with_rows(directory, report)
        # What a file that was changed by hand, cut short or left out may raise.
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"the calibration in {directory!r} cannot be read: {first_line(error)}; "
                "run `fastbert-jobs calibrate` again"
            ) from error
        if _fingerprint(calibration.exits, calibration.row_numbers) != report.fingerprint:
            raise ArtifactError(
                f"{CALIBRATION_FILE} and {CALIBRATION_ROWS_FILE} in {directory!r} do not belong together; "
                "run `fastbert-jobs calibrate` again"
            )
        return calibration

    @classmethod
    def _with_rows(cls, directory: str, report: CalibrationReport) -> "Calibration":
        with open_file(_path(directory, CALIBRATION_ROWS_FILE)) as file:
            table = pq.read_table(file)
        num_rows, num_outputs = len(table), report.rule.task.num_outputs(len(report.labels))
        exits = ExitCalibration(
            labels=report.labels,
            is_held_out=held_out_flags(table),
            num_tokens=table[schema.NUM_TOKENS].to_numpy().astype(np.int64),
            num_unknown=table[schema.NUM_UNKNOWN_TOKENS].to_numpy().astype(np.int64),
            teacher_logits=float_array(table[schema.TEACHER_LOGITS]).reshape(num_rows, -1),
            logits=float_array(table[schema.EXIT_LOGITS]).reshape(num_rows, -1, num_outputs),
            rule=report.rule,
            uncertainty=float_array(table[schema.EXIT_UNCERTAINTY]).reshape(num_rows, -1),
            scalings=report.scalings,
            flops=report.flops,
            cost=report.cost,
            calibrated_for=report.calibrated_for,
            unit=report.unit,
        )
        row_numbers = table[schema.ROW].to_numpy()
        return cls(
            exits=exits, sources=table[schema.SOURCE].to_pylist(), row_numbers=row_numbers, report=report
        )


def _path(directory: str, name: str) -> str:
    return str(FileSystems.join(directory, name))


def _fingerprint(exits: ExitCalibration, row_numbers: npt.NDArray[np.int64]) -> str:
    """Return what rows and report have in common: everything that a policy is made of."""
    digest = blake2b(digest_size=16)
    scalings = [asdict(each) for each in exits.scalings]
    facts = asdict(exits.calibrated_for), scalings, asdict(exits.flops), asdict(exits.cost)
    digest.update(json.dumps([exits.labels, asdict(exits.rule), exits.unit, *facts], sort_keys=True).encode())
    answers = exits.teacher_logits, exits.logits, exits.uncertainty
    for values in (row_numbers, exits.is_held_out, exits.num_tokens, exits.num_unknown, *answers):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
