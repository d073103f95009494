"""Scores: what a FastBERT answers to every row of a corpus, each leaving where it is sure enough."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from model.answers.rule import AnswerRule
from model.cost.flops import FlopsModel
from model.cost.network_flops import fastbert_flops
from model.engine.elsewhere import EngineElsewhere, execution_elsewhere
from model.engine.engine import Engine
from model.engine.execution import (
    Device,
    Execution,
    Precision,
    are_finite,
    check_same_execution,
    runs_here,
    take_worker_device,
)
from model.engine.stopwatch import Stopwatch
from model.errors import EnvironmentMismatchError
from model.exits.binding import check_policy, execution_for
from model.exits.layer_sweep import predict_tokenized
from model.exits.policy import ExitPolicy, check_speed_or_policy
from model.exits.predictions import Predictions
from model.fastbert import FastBertForSequenceClassification
from model.guarantee.calibrated_policy import CalibratedPolicy
from model.guarantee.unit import Unit
from pipeline.contract import schema
from pipeline.contract.answer_columns import answer_columns
from pipeline.contract.answer_fields import answer_fields, teacher_fields
from pipeline.contract.arrays import source_column
from pipeline.contract.certificate import Certificate
from pipeline.contract.columns import check_kept_names
from pipeline.contract.job import ScoreSettings
from pipeline.contract.manifest import DISTINCT_TEXTS, NOT_FINITE, ScoreManifest
from pipeline.contract.shards import Counts
from pipeline.contract.work_times import Phase, WorkTimes
from pipeline.reading.inputs import Inputs, ReadOptions
from pipeline.reading.remote_checkpoints import find_checkpoint, find_on_worker
from pipeline.sampling.distinct_texts import DistinctTexts
from pipeline.sampling.hash_sampling import HashStream, in_hash_sample
from pipeline.sampling.shadow_sample import (
    check_shadow_sample,
    expected_saved_compute,
    sample_fraction_of,
    shadow_fraction_of,
    shadow_unit,
)
from pipeline.sampling.unit_hashes import unit_hashes
from pipeline.transforms.answered_rows import AnsweredRows
from pipeline.transforms.loaded_models import Holder, hold
from pipeline.transforms.row_task import ProcessedRows

EXIT_COUNT = "exit_layer_{}"
PROCESSED_TOKENS = "processed_token_layers"
REAL_TOKENS = "real_token_layers"
_HASH_TYPE = pa.binary(schema.TEXT_HASH_BYTES)


def _engine_elsewhere(model: FastBertForSequenceClassification, execution: Execution) -> EngineElsewhere:
    return EngineElsewhere(
        execution=execution_elsewhere(model.backbone, execution),
        model_hash=model.model_hash,
        num_layers=model.num_layers,
        exits=fastbert_flops(model.config).exits,
        task=model.task,
    )


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """A loaded FastBERT.

    Attributes:
        engine: runs it.
        tokenizer: its own.
    """

    engine: Engine
    tokenizer: PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class ScoreTask:
    """Scoring rows with a FastBERT.

    Attributes:
        reading: how rows are read.
        model: what the user calls the model.
        directory: of its checkpoint.
        model_hash: of its checkpoint.
        labels: its label names, in the order of its logits.
        max_length: tokens that a text is cut to.
        flops: what its parts cost.
        policy: when a text leaves.
        shadow_fraction: share of the shadow units, drawn by hash, that is also answered at full depth.
        shadow_unit: what these are.
        sample_fraction: share of the units that rows are told of; see `sample_fraction_of`.
        execution: device, precision and micro-batches.
    """

    reading: ReadOptions
    model: str
    directory: str
    model_hash: str
    labels: tuple[str, ...]
    max_length: int
    flops: FlopsModel
    policy: ExitPolicy
    shadow_fraction: float
    shadow_unit: Unit
    sample_fraction: float
    execution: Execution

    @classmethod
    def prepare(
        cls,
        model: str,
        inputs: Inputs,
        *,
        policy: ExitPolicy | None = None,
        speed: float | None = None,
        decide: Sequence[str] = (),
        tolerance: float | None = None,
        shadow_fraction: float | None = None,
        shadow_rows: int | None = None,
        precision: Precision = Precision.AUTO,
        device: Device = Device.AUTO,
    ) -> "tuple[ScoreTask, Holder[Scorer] | None]":
        """Return the task of scoring some files, and the model, loaded to see that it is whole.

        The model is made ready where this machine has the device; else the holder is None.

        Args:
            model: directory, URL or hub name of the FastBERT.
            inputs: the files.
            policy: when a text leaves.
            speed: instead of `policy`, one threshold for all layers; 0 is full depth, as is neither.
            decide: cuts that answers are told by, as `spam>=0.9`, or `>=3` of a score; a policy has its own.
            tolerance: by which two scores may differ, in place of cuts.
            shadow_fraction: share of the texts that are also answered at full depth; None for that of
                `default_shadow_fraction`.
            shadow_rows: instead of `shadow_fraction`, about how many rows.
            precision: number format; AUTO is that of a calibrated policy, and this machine's for any other.
            device: of those who will score; AUTO is a GPU where this machine has one.

        Raises:
            CheckpointError: if the model cannot be used.
            ParameterError: if the speed is outside [0, 1] or given beside a policy, a cut or a tolerance does
                not fit the model or is given beside a policy, a kept column has a name of the shard's own, or
                a group column comes with a policy that was calibrated by rows.
            ArtifactError: if the policy is calibrated for something else than will run.
        """
        check_kept_names(inputs.options.columns)
        check_shadow_sample(shadow_fraction, shadow_rows, inputs.num_rows)
        calibrated = policy.unit if isinstance(policy, CalibratedPolicy) else None
        drawn_by = shadow_unit(calibrated, inputs.options.columns.group)
        check_speed_or_policy(speed, policy)  # before the model is loaded
        directory = find_checkpoint(model)
        loaded = FastBertForSequenceClassification.from_pretrained(directory)
        policy = loaded.policy_of(speed, policy, decide=decide, tolerance=tolerance)
        execution = execution_for(policy, precision, device)
        engine = loaded.engine(execution) if runs_here(execution) else _engine_elsewhere(loaded, execution)
        check_policy(policy, engine, loaded.config.max_length)
        flops, num_rows = fastbert_flops(loaded.config), inputs.num_rows
        shadowed = shadow_fraction_of(
            shadow_fraction,
            shadow_rows,
            num_rows=num_rows,
            saved_compute=expected_saved_compute(policy, flops),
        )
        task = cls(
            reading=inputs.options,
            model=model,
            directory=str(directory),
            model_hash=engine.model_hash,
            labels=loaded.labels,
            max_length=loaded.config.max_length,
            flops=flops,
            policy=policy,
            shadow_fraction=shadowed,
            shadow_unit=drawn_by,
            sample_fraction=sample_fraction_of(shadowed, num_rows),
            execution=engine.execution,
        )
        if isinstance(engine, EngineElsewhere):
            return task, None
        return task, hold(task, Scorer(engine=engine, tokenizer=loaded.tokenizer))

    @property
    def _rule(self) -> AnswerRule:
        """Which answers are the same."""
        assert self.policy.answer is not None, "set by `prepare`"
        return self.policy.answer

    @property
    def schema(self) -> pa.Schema:
        """Schema of a score shard."""
        return schema.score_schema(
            answer=answer_fields(self._rule, len(self.labels)),
            teacher=teacher_fields(self._rule),
            id_type=self.reading.id_type,
            kept=self.reading.kept,
        )

    @property
    def settings(self) -> ScoreSettings:
        """What changes the scores, besides the input files."""
        return ScoreSettings(
            model_hash=self.model_hash,
            **self.execution.fingerprint_fields,
            max_length=self.max_length,
            columns=self.reading.columns,
            rows_per_shard=self.reading.rows_per_shard,
            policy=self.policy.name,
            answer=self._rule,
            thresholds=tuple(map(float, self.policy.thresholds)),
            scalings=self.policy.scalings,
            lexical_threshold=float(self.policy.lexical_threshold),
            lexical_scaling=self.policy.lexical_scaling,
            length_exponent=float(self.policy.length_exponent),
            # 0 and 0.0 are the same job.
            shadow_fraction=float(self.shadow_fraction),
            shadow_unit=self.shadow_unit,
            sample_fraction=float(self.sample_fraction),
        )

    def manifest(self, **fields: Any) -> ScoreManifest:
        """Return the manifest of the finished job."""
        policy = self.policy
        certificate = Certificate.of(policy, self.labels) if isinstance(policy, CalibratedPolicy) else None
        return ScoreManifest(**fields, model=self.model, flops=self.flops, certificate=certificate)

    def load(self) -> Scorer:
        """Load the model and make it ready.

        Raises:
            CheckpointError: if this machine has no such model.
            EnvironmentMismatchError: if this machine has another model or no such device, or would compute
                differently.
        """
        take_worker_device(self.execution)
        directory = find_on_worker(self.directory, self.model)
        model = FastBertForSequenceClassification.from_pretrained(directory)
        if model.model_hash != self.model_hash:
            raise EnvironmentMismatchError(
                f"{self.model!r} is another model on a worker than where the job was started"
            )
        engine = model.engine(self.execution)
        check_same_execution(engine.execution, self.execution)
        return Scorer(engine=engine, tokenizer=model.tokenizer)

    def process(self, rows: pa.Table, source: str, loaded: Scorer) -> ProcessedRows:
        """Score accepted rows; equal texts among them are run once."""
        stopwatch, parts_before = Stopwatch(), loaded.engine.stopwatch.seconds
        with stopwatch.measure(Phase.TOKENIZE):
            distinct = DistinctTexts.of(rows)
            tokenized = distinct.tokenize(loaded.tokenizer, max_length=self.max_length)
        units = unit_hashes(rows, distinct.row_hashes, source, self.shadow_unit)
        shadow = in_hash_sample(units, self.shadow_fraction, HashStream.SHADOW)
        sampled = in_hash_sample(units, self.sample_fraction, HashStream.SHADOW)
        full_depth = np.zeros(len(distinct.texts), dtype=np.bool_)
        full_depth[distinct.inverse[shadow]] = True
        with stopwatch.measure(Phase.NETWORK):
            answers = predict_tokenized(loaded.engine, tokenized, self.policy, full_depth_mask=full_depth)
        has_answer = are_finite(answers.logits)[distinct.inverse]
        # Of the shadow sample the answer at full depth is told too.
        has_answer &= ~shadow | are_finite(answers.full_depth_logits)[distinct.inverse]
        answered = AnsweredRows.of(rows, source, distinct, has_answer)
        num_unknown = tokenized.count(loaded.tokenizer.unk_token_id)[answered.inverse]
        columns = {
            schema.SOURCE: source_column(source, len(answered.rows)),
            **{name: answered.rows[name] for name in rows.column_names},
            schema.NUM_UNKNOWN_TOKENS: pa.array(num_unknown.astype("int32")),
            **self._answer_columns(answers, answered.inverse, shadow[has_answer]),
            schema.UNIT_HASH: pa.array(
                list(compress(units, has_answer)), _HASH_TYPE, mask=~sampled[has_answer]
            ),
            schema.FIRST_UNCERTAINTY: pa.array(
                answers.first_uncertainty[answered.inverse], mask=~sampled[has_answer]
            ),
        }
        table = pa.table([columns[name] for name in self.schema.names], schema=self.schema)
        counts = self._counts(answers, answered, len(distinct.texts))
        times = WorkTimes(phases=stopwatch.seconds, parts=loaded.engine.stopwatch.seconds_since(parts_before))
        return ProcessedRows(rows=table, rejected=answered.rejected, counts=counts, times=times)

    def _answer_columns(
        self,
        answers: Predictions,
        inverse: npt.NDArray[np.int64],
        shadow: npt.NDArray[np.bool_],
    ) -> dict[str, pa.Array]:
        """Return the columns that the model fills.

        Args:
            answers: to distinct texts.
            inverse: (rows,) which of them each row holds.
            shadow: (rows,) whether a row is of the shadow sample.
        """
        # Texts that went to the last layer by themselves have a full-depth answer too, but telling it would
        # bias the sample towards texts that cannot disagree.
        unseen = ~shadow
        teacher = np.where(shadow[:, None], answers.full_depth_logits[inverse], 0)
        return {
            **answer_columns(answers.logits[inverse], self._rule, self.labels),
            schema.EXIT_LAYER: pa.array(answers.exit_layer[inverse]),
            schema.UNCERTAINTY: pa.array(answers.uncertainty[inverse]),
            schema.NUM_TOKENS: pa.array(answers.num_tokens[inverse].astype("int32")),
            schema.TRUNCATED: pa.array(answers.truncated[inverse]),
            **answer_columns(teacher, self._rule, self.labels, prefix=schema.TEACHER, unseen=unseen),
        }

    def _counts(self, answers: Predictions, answered: AnsweredRows, num_distinct: int) -> Counts:
        exits = np.bincount(answers.exit_layer[answered.inverse], minlength=self.flops.exits.stop)
        return {
            DISTINCT_TEXTS: num_distinct,
            NOT_FINITE: len(answered.rejected),
            schema.TRUNCATED: int(answers.truncated[answered.inverse].sum()),
            PROCESSED_TOKENS: answers.num_processed_tokens,
            REAL_TOKENS: answers.num_real_tokens,
            **{EXIT_COUNT.format(exit_layer): int(exits[exit_layer]) for exit_layer in self.flops.exits},
        }
