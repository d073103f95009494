"""Our systems: the whole `score` command, the bare engine, and static students in that engine."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.speed.measurements import ENGINE, SCORE, STUDENT
from benchmarks.speed.system import Answers, Rows, label_ids_of
from benchmarks.terminal import silently
from jobs.commands.score import run as score
from jobs.configs.options import PrecisionName
from jobs.configs.score import ScoreConfig
from model.answers.uncertainty import normalised_entropy
from model.checkpoints.loading import load_classifier, load_tokenizer
from model.cost.network_flops import fastbert_flops
from model.engine.execution import Precision, resolve_execution
from model.exits.exit_logits import all_exit_logits
from model.exits.layer_sweep import predict_tokenized
from model.exits.policy import ExitPolicy
from model.fastbert import FastBertForSequenceClassification
from model.network.config import load_fastbert_config
from pipeline.transforms.score_task import PROCESSED_TOKENS, REAL_TOKENS

BARE = "bare: texts are tokenised"


class Score:
    """`fastbert-jobs score` from file to file, start-up (Beam, loading and packing the model) not counted."""

    series, note, is_slow = SCORE, "file to file", False

    def __init__(
        self, model: Path, precision: PrecisionName, *, speed: float, target: float, home: Path
    ) -> None:
        self.name = f"score --speed {speed:.3g}"
        self._model, self._precision, self._speed, self._target = model, precision, speed, target
        self._home = home
        self._flops = fastbert_flops(load_fastbert_config(model))

    def run(self, rows: Rows) -> Answers:
        texts, output = self._home / "texts.parquet", self._home / "scores"
        pd.DataFrame({"text": rows.texts}).to_parquet(texts)
        config = ScoreConfig(
            input=(str(texts),),
            text_column="text",
            model=str(self._model),
            output=str(output),
            rows_per_shard=1_000_000,
            speed=self._speed,
            precision=self._precision,
            overwrite=True,
        )
        outcome = silently(lambda: score(config))
        answers = pd.read_parquet(output)
        policy = ExitPolicy.from_speed(self._speed, num_layers=self._flops.num_layers)
        counts = outcome.manifest.counts
        num_tokens, exit_layer = answers["num_tokens"].to_numpy("int64"), answers["exit_layer"].to_numpy()
        full_depth = self._flops.full_depth(num_tokens).sum()
        return Answers(
            label_ids=label_ids_of(answers["prediction"], outcome.manifest.labels),
            seconds=outcome.busy_seconds,
            facts={
                "speed": self._speed,
                "target": self._target,
                "mean_exit_layer": exit_layer.mean(),
                "saved_compute": full_depth / self._flops.with_exits(num_tokens, exit_layer, policy).sum(),
                "padding": counts[PROCESSED_TOKENS] / counts[REAL_TOKENS] - 1,
            },
        )


class Bare:
    """`predict_tokenized`: sorted, run, put back into order."""

    is_slow = False

    def __init__(
        self,
        model: FastBertForSequenceClassification,
        precision: str,
        *,
        speed: float = 0.0,
        target: float = 1.0,
        series: str = ENGINE,
        name: str | None = None,
    ) -> None:
        self.series, self.name, self.note = series, name or f"engine, speed {speed:.3g}", BARE
        self._engine = model.engine(resolve_execution(Precision(precision)))
        self._flops, self._speed, self._target = fastbert_flops(model.config), speed, target

    def run(self, rows: Rows) -> Answers:
        policy = ExitPolicy.from_speed(self._speed, num_layers=self._engine.num_layers)
        answers = predict_tokenized(self._engine, rows.tokenized, policy)
        done = self._flops.with_exits(answers.num_tokens, answers.exit_layer, policy).sum()
        return Answers(
            label_ids=answers.label_ids,
            facts={
                "speed": self._speed,
                "target": self._target,
                "mean_exit_layer": answers.exit_layer.mean(),
                "saved_compute": self._flops.full_depth(answers.num_tokens).sum() / done,
                "padding": answers.num_processed_tokens / answers.num_real_tokens - 1,
                "flops": float(done),
            },
        )


def student(directory: Path, precision: str, *, max_length: int) -> Bare:
    """Return a static student, run as fast as we run anything."""
    model = FastBertForSequenceClassification.from_backbone(
        load_classifier(directory), load_tokenizer(directory), max_length=max_length
    )
    return Bare(model, precision, series=STUDENT, name=f"student, {model.num_layers} layers")


def speeds_for(model: Path, rows: Rows, targets: Sequence[float]) -> dict[float, float]:
    """Return for each wanted saving of compute the speed that comes nearest to it on these rows."""
    loaded = FastBertForSequenceClassification.from_pretrained(model)
    engine = loaded.engine(resolve_execution(Precision.FP32))
    exits = torch.from_numpy(all_exit_logits(engine, rows.tokenized))
    uncertainty = normalised_entropy(exits).numpy()
    # At the last layer every text leaves.
    uncertainty[:, -1] = -1
    flops, lengths = fastbert_flops(loaded.config), rows.tokenized.lengths

    def saved(speed: float) -> float:
        policy = ExitPolicy.from_speed(speed, num_layers=flops.num_layers)
        exit_layer = ((uncertainty < speed).argmax(axis=1) + 1).astype(np.int16)
        return float(flops.full_depth(lengths).sum() / flops.with_exits(lengths, exit_layer, policy).sum())

    savings = {speed: saved(speed) for speed in np.geomspace(1e-3, 1, 700).round(4).tolist()}
    return {target: min(savings, key=lambda speed: abs(savings[speed] - target)) for target in targets}
