"""Soft labels: what the teacher answers to every row of a corpus."""

from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
import pyarrow as pa

from model.answers.rule import AnswerRule
from model.answers.task import Task
from model.checkpoints.fingerprint import checkpoint_hash
from model.checkpoints.loading import label_names, load_classifier, load_tokenizer, task_of
from model.checks import check_fraction
from model.engine.execution import (
    Device,
    Execution,
    Precision,
    are_finite,
    check_same_execution,
    resolve_execution,
    runs_here,
    take_worker_device,
)
from model.engine.stopwatch import Stopwatch
from model.errors import EnvironmentMismatchError
from model.exits.teacher import Teacher
from model.guarantee.unit import Unit
from model.tokens.max_length import choose_max_length, position_limit
from pipeline.contract import schema
from pipeline.contract.answer_columns import answer_columns
from pipeline.contract.answer_fields import soft_label_field
from pipeline.contract.arrays import fixed_size_list, source_column
from pipeline.contract.columns import check_kept_names
from pipeline.contract.defaults import default_calibration_fraction
from pipeline.contract.job import LabelSettings
from pipeline.contract.manifest import DISTINCT_TEXTS, NOT_FINITE, LabelManifest
from pipeline.contract.work_times import Phase, WorkTimes
from pipeline.reading.inputs import Inputs, ReadOptions
from pipeline.reading.remote_checkpoints import find_checkpoint, find_on_worker
from pipeline.sampling.distinct_texts import DistinctTexts
from pipeline.sampling.hash_sampling import HashStream, in_hash_sample
from pipeline.sampling.unit_hashes import unit_hashes
from pipeline.transforms.answered_rows import AnsweredRows
from pipeline.transforms.loaded_models import Holder, hold
from pipeline.transforms.row_task import ProcessedRows
from pipeline.transforms.teacher_texts import TeacherTexts

# Rows that were drawn for calibration and are not used for it.
LEARNT_BY_TEACHER = "learnt_by_teacher"

_OUTPUT_NAMES = {schema.INPUT_TEXT: schema.TEXT, schema.INPUT_TEXT_PAIR: schema.TEXT_PAIR}


@dataclass(frozen=True, kw_only=True)
class Labeller:
    """A loaded teacher.

    Attributes:
        teacher: it.
        texts: what it was fine-tuned on, as far as that is known.
    """

    teacher: Teacher
    texts: TeacherTexts


@dataclass(frozen=True, kw_only=True)
class LabelTask:
    """Labelling rows with a teacher.

    Attributes:
        reading: how rows are read.
        teacher: what the user calls the teacher.
        directory: of its checkpoint.
        model_hash: of its checkpoint.
        labels: its label names, in the order of its logits.
        task: what these mean.
        max_length: tokens that a text is cut to.
        calibration_fraction: share of the units, drawn by hash, that training never sees.
        unit: what these are; groups go with a group column.
        training_inputs: files of texts that the teacher was fine-tuned on, besides those that it remembers.
        teacher_texts: digest of all of these.
        num_teacher_texts: how many they are; None where nothing says what the teacher was fine-tuned on.
        execution: device, precision and micro-batches.
    """

    reading: ReadOptions
    teacher: str
    directory: str
    model_hash: str
    labels: tuple[str, ...]
    task: Task
    max_length: int
    calibration_fraction: float
    unit: Unit
    training_inputs: Inputs | None = None
    teacher_texts: str = ""
    num_teacher_texts: int | None = None
    execution: Execution

    @classmethod
    def prepare(
        cls,
        teacher: str,
        inputs: Inputs,
        *,
        max_length: int | None = None,
        calibration_fraction: float | None = None,
        unit: Unit = Unit.TEXTS,
        training_inputs: Inputs | None = None,
        precision: Precision = Precision.AUTO,
        device: Device = Device.AUTO,
    ) -> "tuple[LabelTask, Holder[Labeller] | None]":
        """Return the task of labelling some files, and the teacher, loaded to see that it is whole.

        The teacher is made ready where this machine has the device; else the holder is None.

        Args:
            teacher: directory, URL or hub name of any sequence classifier.
            inputs: the files.
            max_length: tokens that a text is cut to; None for what the teacher takes, at most 512.
            calibration_fraction: share of the texts that training never sees; None for
                `default_calibration_fraction` of the files' rows.
            unit: what a promise is to be of; groups go with a group column.
            training_inputs: files of texts that the teacher was fine-tuned on, which it need not remember.
            precision: number format.
            device: of those who will label; AUTO is a GPU where this machine has one.

        Raises:
            CheckpointError: if the teacher cannot be used.
            ArtifactError: if what it remembers is damaged.
            ParameterError: if `max_length` is more than the teacher takes, or a kept column's name is taken.
        """
        check_kept_names(inputs.options.columns, is_labelling=True)
        if calibration_fraction is None:
            calibration_fraction = default_calibration_fraction(inputs.num_rows)
        check_fraction("calibration_fraction", calibration_fraction)
        directory = find_checkpoint(teacher)
        model, tokenizer = load_classifier(directory), load_tokenizer(directory)
        execution = resolve_execution(precision, device=device)
        ready = Teacher.of(model, tokenizer, execution) if runs_here(execution) else None
        texts = TeacherTexts.of(directory, training_inputs)
        task = cls(
            reading=inputs.options,
            teacher=teacher,
            directory=str(directory),
            model_hash=checkpoint_hash(directory),
            labels=label_names(model.config),
            task=task_of(model.config, teacher),
            max_length=choose_max_length(max_length, position_limit(model, tokenizer)),
            calibration_fraction=calibration_fraction,
            unit=unit,
            training_inputs=training_inputs,
            teacher_texts=texts.digest,
            num_teacher_texts=len(texts.hashes) if texts.is_known else None,
            execution=ready.execution if ready else Teacher.execution_elsewhere(model, execution),
        )
        return task, hold(task, Labeller(teacher=ready, texts=texts)) if ready else None

    @property
    def schema(self) -> pa.Schema:
        """Schema of a soft-label shard."""
        return schema.label_schema(
            num_labels=len(self.labels),
            answer=[soft_label_field(self.task)],
            id_type=self.reading.id_type,
            with_pair=self.reading.columns.text_pair is not None,
            kept=self.reading.kept,
        )

    @property
    def settings(self) -> LabelSettings:
        """What changes the soft labels, besides the input files."""
        return LabelSettings(
            model_hash=self.model_hash,
            **self.execution.fingerprint_fields,
            max_length=self.max_length,
            columns=self.reading.columns,
            rows_per_shard=self.reading.rows_per_shard,
            # 0 and 0.0 are the same job.
            calibration_fraction=float(self.calibration_fraction),
            unit=self.unit,
            task=self.task,
            teacher_texts=self.teacher_texts,
        )

    def manifest(self, **fields: Any) -> LabelManifest:
        """Return the manifest of the finished job."""
        return LabelManifest(**fields, teacher=self.teacher)

    def load(self) -> Labeller:
        """Load the teacher onto the device, and what it was fine-tuned on.

        Raises:
            CheckpointError: if this machine has no such teacher.
            EnvironmentMismatchError: if this machine has another teacher, other texts or no such device, or
                would compute differently.
        """
        take_worker_device(self.execution)
        directory = find_on_worker(self.directory, self.teacher)
        if checkpoint_hash(directory) != self.model_hash:
            raise EnvironmentMismatchError(
                f"{self.teacher!r} is another model on a worker than where the job was started"
            )
        teacher = Teacher.of(load_classifier(directory), load_tokenizer(directory), self.execution)
        check_same_execution(teacher.execution, self.execution)
        texts = TeacherTexts.of(directory, self.training_inputs)
        if texts.digest != self.teacher_texts:
            raise EnvironmentMismatchError(
                f"{self.teacher!r} was fine-tuned on other texts on a worker than where the job was started"
            )
        return Labeller(teacher=teacher, texts=texts)

    def process(self, rows: pa.Table, source: str, loaded: Labeller) -> ProcessedRows:
        """Label accepted rows; equal texts among them are run once."""
        stopwatch = Stopwatch()
        with stopwatch.measure(Phase.TOKENIZE):
            distinct = DistinctTexts.of(rows)
            tokenized = distinct.tokenize(loaded.teacher.tokenizer, max_length=self.max_length)
        with stopwatch.measure(Phase.NETWORK):
            logits = loaded.teacher.logits(tokenized)
        has_answer = are_finite(logits)[distinct.inverse]
        answered = AnsweredRows.of(rows, source, distinct, has_answer)
        rows, inverse = answered.rows, answered.inverse
        text_hashes = list(compress(distinct.row_hashes, has_answer))
        units = unit_hashes(rows, text_hashes, source, self.unit)
        is_drawn = in_hash_sample(units, self.calibration_fraction, HashStream.CALIBRATION)
        is_learnt = np.array([each in loaded.texts.hashes for each in text_hashes], dtype=np.bool_)
        is_calibration = is_drawn & ~is_learnt
        splits = pa.array([schema.TRAIN_SPLIT, schema.CALIBRATION_SPLIT])
        hash_type = pa.binary(schema.TEXT_HASH_BYTES)
        columns = {
            schema.SOURCE: source_column(source, len(rows)),
            **{_OUTPUT_NAMES.get(name, name): rows[name] for name in rows.column_names},
            schema.TEXT_HASH: pa.array(text_hashes, hash_type),
            schema.UNIT_HASH: pa.array(units, hash_type),
            schema.SPLIT: splits.take(pa.array(is_calibration.astype("int8"))),
            schema.TEACHER_LOGITS: fixed_size_list(logits[inverse]),
            **answer_columns(logits[inverse], AnswerRule(task=self.task), self.labels, prefix=schema.TEACHER),
            schema.NUM_TOKENS: pa.array(tokenized.lengths[inverse].astype("int32")),
            schema.TRUNCATED: pa.array(tokenized.truncated[inverse]),
        }
        counts = {
            DISTINCT_TEXTS: len(distinct.texts),
            NOT_FINITE: len(answered.rejected),
            schema.CALIBRATION_SPLIT: int(is_calibration.sum()),
            schema.TRAIN_SPLIT: int((~is_calibration).sum()),
            LEARNT_BY_TEACHER: int((is_drawn & is_learnt).sum()),
            schema.TRUNCATED: int(tokenized.truncated[inverse].sum()),
        }
        table = pa.table([columns[name] for name in self.schema.names], schema=self.schema)
        times = WorkTimes(phases=stopwatch.seconds)
        return ProcessedRows(rows=table, rejected=answered.rejected, counts=counts, times=times)
