"""Soft labels: what the teacher answers to every row of a corpus."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from model.checkpoints.hub import resolve_checkpoint
from model.checkpoints.loading import label_names, load_classifier, load_tokenizer
from model.engine.execution import Execution, Precision, check_same_execution, resolve_execution
from model.exits.teacher import Teacher
from model.tokens.tokenization import choose_max_length, position_limit
from pipeline.contract import schema
from pipeline.contract.arrays import fixed_size_list, source_column
from pipeline.contract.shards import Counts
from pipeline.reading.inputs import Inputs
from pipeline.sampling.distinct_texts import DistinctTexts
from pipeline.sampling.hash_sampling import HashStream, in_hash_sample
from pipeline.transforms.write_shards import DISTINCT_TEXTS, ReadOptions, WriteShards

_OUTPUT_NAMES = {schema.INPUT_TEXT: schema.TEXT, schema.INPUT_TEXT_PAIR: schema.TEXT_PAIR}


@dataclass(frozen=True, kw_only=True)
class LabelTask:
    """Labelling rows with a teacher.

    Attributes:
        reading: how rows are read.
        teacher: directory of the teacher's checkpoint.
        labels: its label names, in the order of its logits.
        max_length: tokens that a text is cut to.
        calibration_fraction: share of the texts, drawn by hash, that training never sees.
        execution: device, precision and micro-batches.
    """

    reading: ReadOptions
    teacher: str
    labels: tuple[str, ...]
    max_length: int
    calibration_fraction: float
    execution: Execution

    @classmethod
    def for_teacher(
        cls,
        teacher: str | Path,
        inputs: Inputs,
        *,
        max_length: int | None = None,
        calibration_fraction: float = 0.1,
        precision: Precision = Precision.AUTO,
    ) -> "LabelTask":
        """Return the task of labelling some files, the teacher loaded once to see that it is whole.

        Args:
            teacher: directory or hub name of any sequence classifier.
            inputs: the files.
            max_length: tokens that a text is cut to; None for what the teacher takes, at most 512.
            calibration_fraction: share of the texts that training never sees.
            precision: number format.

        Raises:
            CheckpointError: if the teacher cannot be used.
            ParameterError: if `max_length` is more than the teacher takes.
        """
        directory = resolve_checkpoint(str(teacher))
        model, tokenizer = load_classifier(directory), load_tokenizer(directory)
        return cls(
            reading=ReadOptions.of(inputs),
            teacher=str(directory),
            labels=label_names(model.config),
            max_length=choose_max_length(max_length, position_limit(model, tokenizer)),
            calibration_fraction=calibration_fraction,
            execution=Teacher.of(model, tokenizer, resolve_execution(precision)).execution,
        )

    @property
    def schema(self) -> pa.Schema:
        """Schema of a soft-label shard."""
        return schema.label_schema(
            num_labels=len(self.labels),
            id_type=self.reading.id_type,
            with_pair=self.reading.columns.text_pair is not None,
        )

    def load(self) -> Teacher:
        """Load the teacher onto the device."""
        directory = Path(self.teacher)
        teacher = Teacher.of(load_classifier(directory), load_tokenizer(directory), self.execution)
        check_same_execution(teacher.execution, self.execution)
        return teacher

    def process(self, rows: pa.Table, source: str, loaded: Teacher) -> tuple[pa.Table, Counts]:
        """Label accepted rows; equal texts among them are run once."""
        distinct = DistinctTexts.of(rows)
        tokenized = distinct.tokenize(loaded.tokenizer, max_length=self.max_length)
        logits = loaded.logits(tokenized)
        inverse = distinct.inverse
        is_calibration = in_hash_sample(distinct.hashes, self.calibration_fraction, HashStream.CALIBRATION)[
            inverse
        ]
        splits = pa.array([schema.TRAIN_SPLIT, schema.CALIBRATION_SPLIT])
        columns = {
            schema.SOURCE: source_column(source, len(rows)),
            **{_OUTPUT_NAMES.get(name, name): rows[name] for name in rows.column_names},
            schema.TEXT_HASH: pa.array(distinct.hashes, type=pa.binary(schema.TEXT_HASH_BYTES)).take(
                pa.array(inverse)
            ),
            schema.SPLIT: splits.take(pa.array(is_calibration.astype("int8"))),
            schema.TEACHER_LOGITS: fixed_size_list(logits[inverse]),
            schema.TEACHER_PREDICTION: pa.array(self.labels).take(pa.array(logits.argmax(axis=1)[inverse])),
            schema.NUM_TOKENS: pa.array(tokenized.lengths[inverse].astype("int32")),
            schema.TRUNCATED: pa.array(tokenized.truncated[inverse]),
        }
        counts = {
            DISTINCT_TEXTS: len(distinct.texts),
            schema.CALIBRATION_SPLIT: int(is_calibration.sum()),
            schema.TRAIN_SPLIT: int((~is_calibration).sum()),
            schema.TRUNCATED: int(tokenized.truncated[inverse].sum()),
        }
        return pa.table([columns[name] for name in self.schema.names], schema=self.schema), counts


class LabelWithTeacher(WriteShards):
    """Work items to soft-label shards; returns a PCollection of `ShardReport`."""
