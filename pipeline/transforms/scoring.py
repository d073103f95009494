"""Scores: what a FastBERT answers to every row of a corpus, each leaving where it is sure enough."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from model.checkpoints.hub import resolve_checkpoint
from model.engine.engine import Engine
from model.engine.execution import Execution, Precision, check_same_execution, resolve_execution
from model.exits.layer_sweep import predict_tokenized
from model.exits.policy import ExitPolicy
from model.exits.predictions import Predictions, probabilities
from model.fastbert import FastBertForSequenceClassification
from pipeline.contract import schema
from pipeline.contract.arrays import fixed_size_list, nullable_list, source_column
from pipeline.contract.shards import Counts
from pipeline.reading.columns import check_kept_names
from pipeline.reading.inputs import Inputs
from pipeline.sampling.distinct_texts import DistinctTexts
from pipeline.sampling.hash_sampling import HashStream, in_hash_sample
from pipeline.transforms.write_shards import DISTINCT_TEXTS, ReadOptions, WriteShards

EXIT_COUNT = "exit_layer_{}"
PROCESSED_TOKENS = "processed_token_layers"
REAL_TOKENS = "real_token_layers"


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
        model: directory of the FastBERT checkpoint.
        labels: its label names, in the order of its logits.
        max_length: tokens that a text is cut to.
        policy: when a text leaves.
        shadow_fraction: share of the texts, drawn by hash, that are also answered at full depth.
        execution: device, precision and micro-batches.
    """

    reading: ReadOptions
    model: str
    labels: tuple[str, ...]
    max_length: int
    policy: ExitPolicy
    shadow_fraction: float
    execution: Execution

    @classmethod
    def for_model(
        cls,
        model: str | Path,
        inputs: Inputs,
        *,
        policy: ExitPolicy | None = None,
        speed: float = 0.0,
        shadow_fraction: float = 0.0,
        precision: Precision = Precision.AUTO,
    ) -> "ScoreTask":
        """Return the task of scoring some files, the model loaded once to see that it is whole.

        Args:
            model: directory or hub name of the FastBERT.
            inputs: the files.
            policy: when a text leaves.
            speed: instead of `policy`, one threshold for all layers; 0 is full depth.
            shadow_fraction: share of the texts that are also answered at full depth.
            precision: number format.

        Raises:
            CheckpointError: if the model cannot be used.
            ParameterError: if the speed is outside [0, 1], or a kept column has a name of the shard's own.
        """
        check_kept_names(inputs.columns)
        directory = resolve_checkpoint(str(model))
        loaded = FastBertForSequenceClassification.from_pretrained(directory)
        return cls(
            reading=ReadOptions.of(inputs),
            model=str(directory),
            labels=loaded.labels,
            max_length=loaded.config.max_length,
            policy=policy or ExitPolicy.from_speed(speed, num_layers=loaded.num_layers),
            shadow_fraction=shadow_fraction,
            execution=loaded.engine(resolve_execution(precision)).execution,
        )

    @property
    def schema(self) -> pa.Schema:
        """Schema of a score shard."""
        return schema.score_schema(
            num_labels=len(self.labels), id_type=self.reading.id_type, kept=self.reading.kept
        )

    def load(self) -> Scorer:
        """Load the model onto the device and make it ready."""
        model = FastBertForSequenceClassification.from_pretrained(self.model)
        engine = model.engine(self.execution)
        check_same_execution(engine.execution, self.execution)
        return Scorer(engine=engine, tokenizer=model.tokenizer)

    def process(self, rows: pa.Table, source: str, loaded: Scorer) -> tuple[pa.Table, Counts]:
        """Score accepted rows; equal texts among them are run once."""
        distinct = DistinctTexts.of(rows)
        tokenized = distinct.tokenize(loaded.tokenizer, max_length=self.max_length)
        shadow = in_hash_sample(distinct.hashes, self.shadow_fraction, HashStream.SHADOW)
        answers = predict_tokenized(loaded.engine, tokenized, self.policy, full_depth_mask=shadow)
        columns = {
            schema.SOURCE: source_column(source, len(rows)),
            **{name: rows[name] for name in rows.column_names},
            **self._answer_columns(answers, shadow, distinct.inverse),
        }
        table = pa.table([columns[name] for name in self.schema.names], schema=self.schema)
        return table, self._counts(answers, distinct)

    def _answer_columns(
        self, answers: Predictions, shadow: npt.NDArray[np.bool_], inverse: npt.NDArray[np.int64]
    ) -> dict[str, pa.Array]:
        """Return the columns that the model fills, a row for each entry of `inverse`."""
        names = pa.array(self.labels)
        # Texts that went to the last layer by themselves have a full-depth answer too, but telling it would
        # bias the sample towards texts that cannot disagree.
        unseen = ~shadow[inverse]
        teacher = np.where(shadow[:, None], answers.full_depth_logits, 0)[inverse]
        return {
            schema.PREDICTION: names.take(pa.array(answers.label_ids[inverse])),
            schema.PROBABILITIES: fixed_size_list(answers.probabilities[inverse]),
            schema.EXIT_LAYER: pa.array(answers.exit_layer[inverse]),
            schema.UNCERTAINTY: pa.array(answers.uncertainty[inverse]),
            schema.NUM_TOKENS: pa.array(answers.num_tokens[inverse].astype("int32")),
            schema.TRUNCATED: pa.array(answers.truncated[inverse]),
            schema.TEACHER_PREDICTION: names.take(pa.array(teacher.argmax(axis=1), mask=unseen)),
            schema.TEACHER_PROBABILITIES: nullable_list(probabilities(teacher), unseen),
        }

    def _counts(self, answers: Predictions, distinct: DistinctTexts) -> Counts:
        exits = np.bincount(answers.exit_layer[distinct.inverse], minlength=self.policy.num_layers + 1)
        return {
            DISTINCT_TEXTS: len(distinct.texts),
            schema.TRUNCATED: int(answers.truncated[distinct.inverse].sum()),
            PROCESSED_TOKENS: answers.num_processed_tokens,
            REAL_TOKENS: answers.num_real_tokens,
            **{EXIT_COUNT.format(layer): int(exits[layer]) for layer in range(1, self.policy.num_layers + 1)},
        }


class ScoreWithEarlyExit(WriteShards):
    """Work items to score shards; returns a PCollection of `ShardReport`."""
