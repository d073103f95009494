"""A FastBERT for Beam's RunInference, where texts come as a PCollection and not as files.

RunInference answers a batch before it sees the next, so texts that are not sure enough cannot wait for a
fuller batch; `ScoreWithEarlyExit` is the faster way through files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from model.answers.task import Task
from model.engine.engine import Engine
from model.engine.execution import Precision
from model.exits.binding import execution_for
from model.exits.policy import ExitPolicy, check_speed_or_policy
from model.fastbert import FastBertForSequenceClassification
from pipeline.reading.remote_checkpoints import find_checkpoint
from pipeline.transforms.prepared_job import as_strings

Text = str | tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a FastBERT answers to one text.

    Attributes:
        prediction: label name; the names of all that hold, or the score, of models that answer so.
        probabilities: a float per label; none of a score.
        decisions: the cuts that are reached, where some were given; labels, or such as `>=3`.
        exit_layer: from 1; 0 for the lexical branch.
        uncertainty: at the exit taken, in [0, 1].
    """

    prediction: str | tuple[str, ...] | float
    probabilities: tuple[float, ...]
    decisions: tuple[str, ...]
    exit_layer: int
    uncertainty: float


@dataclass(frozen=True, kw_only=True)
class LoadedFastBert:
    """What a worker holds.

    Attributes:
        model: the FastBERT.
        engine: the same made ready.
    """

    model: FastBertForSequenceClassification
    engine: Engine


class FastBertModelHandler(ModelHandler[Text, PredictionResult, LoadedFastBert]):
    """Texts, or pairs of texts, to `PredictionResult`s whose inference is an `Answer`."""

    def __init__(
        self,
        model: str,
        *,
        speed: float | None = None,
        policy: ExitPolicy | None = None,
        decide: str | Sequence[str] = (),
        tolerance: float | None = None,
        precision: str = "auto",
        max_batch_size: int = 2048,
    ) -> None:
        """Say which model answers.

        Args:
            model: directory, URL or hub name of a FastBERT.
            speed: a text leaves where its uncertainty is below this; 0 is full depth, as is neither.
            policy: thresholds per layer; excludes `speed`.
            decide: cuts that answers are told by, as `spam>=0.9`, or `>=3` of a score; a policy has its own.
            tolerance: by which two scores may differ, in place of cuts.
            precision: `auto`, `fp32`, `bf16` or `fp16`; of a calibrated policy, `auto` is its own.
            max_batch_size: texts per batch; large ones are sorted by length and pad little.

        Raises:
            ParameterError: if the speed is outside [0, 1] or given beside a policy, or there is no such
                precision.
        """
        super().__init__()
        check_speed_or_policy(speed, policy)
        self._model, self._speed, self._policy = model, speed, policy
        self._decide, self._tolerance = as_strings(decide), tolerance
        self._precision, self._max_batch_size = Precision.parse(precision), max_batch_size

    def load_model(self) -> LoadedFastBert:
        """Load the model onto the device and make it ready."""
        model = FastBertForSequenceClassification.from_pretrained(find_checkpoint(self._model))
        return LoadedFastBert(model=model, engine=model.engine(execution_for(self._policy, self._precision)))

    def run_inference(
        self,
        batch: Sequence[Text],
        model: LoadedFastBert,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[PredictionResult]:
        """Answer a batch; all of it single texts, or all of it pairs."""
        pairs = None if isinstance(batch[0], str) else [pair[1] for pair in batch]
        texts = [text if isinstance(text, str) else text[0] for text in batch]
        answers = model.model.predict(
            texts,
            pairs,
            speed=self._speed,
            policy=self._policy,
            decide=self._decide,
            tolerance=self._tolerance,
            engine=model.engine,
        )
        is_score = answers.rule.task is Task.SCORE
        shares = [()] * len(answers) if is_score else answers.probabilities.tolist()
        names = answers.answer.names
        has_cuts = bool(answers.rule.cuts)
        reached = (
            [tuple(compress(names, row)) for row in answers.decisions] if has_cuts else [()] * len(answers)
        )
        return [
            PredictionResult(
                example=text,
                inference=Answer(
                    prediction=prediction,
                    probabilities=tuple(probabilities),
                    decisions=decisions,
                    exit_layer=int(layer),
                    uncertainty=float(uncertainty),
                ),
            )
            for text, prediction, probabilities, decisions, layer, uncertainty in zip(
                batch,
                answers.predictions,
                shares,
                reached,
                answers.exit_layer,
                answers.uncertainty,
                strict=True,
            )
        ]

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """Return how Beam is to batch texts."""
        return {"min_batch_size": 1, "max_batch_size": self._max_batch_size}

    def get_num_bytes(self, batch: Sequence[Text]) -> int:
        """Return the size of a batch; Beam would pickle it to find out."""
        return sum(len(text) if isinstance(text, str) else len(text[0]) + len(text[1]) for text in batch)

    def get_metrics_namespace(self) -> str:
        """Return the namespace of RunInference's metrics."""
        return "FastBert"
