"""`fastbert-jobs calibrate`: soft labels to temperatures, thresholds, and what each target gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.driver.compatibility import check_labels_match_model
from jobs.terminal.console import print_next_step, print_settings, progress_bar, stdout_console, table
from jobs.terminal.options import PrecisionName

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from model.engine.engine import Engine
    from model.fastbert import FastBertForSequenceClassification
    from model.guarantee.calibrated_policy import CalibratedPolicy
    from model.tokens.tokenization import TokenizedTexts
    from pipeline.results.calibration import Calibration
    from pipeline.results.soft_labels import SoftLabels

DISAGREEMENTS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05)
SPEED_UPS = (1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
# Of fewer, neither half says anything.
MIN_ROWS = 100
_ROWS_PER_STEP = 2048
_COST_TOKENS = 1 << 15
# Rounding in 16 bits moves logits by some hundredths of their spread, another fine-tuning by some tenths.
_MAX_RELATIVE_LOGIT_ERROR = 0.15


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """What `calibrate` is asked to do.

    Attributes:
        model: directory or hub name of the FastBERT.
        labels: finished output of `label-teacher` by the FastBERT's own backbone.
        output: directory of the calibration; None for the model's.
        rows: most rows, taken in hash order from the calibration split.
        confidence: of the table of targets.
        precision: number format; a certificate is for one.
    """

    model: str
    labels: str
    output: str | None = None
    rows: int = 20_000
    confidence: float = 0.95
    precision: PrecisionName = "auto"

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ParameterError: naming the option and the rule.
        """
        from model.checks import check_confidence
        from model.errors import ParameterError

        check_confidence(self.confidence)
        if self.rows < MIN_ROWS:
            raise ParameterError(f"--rows {self.rows} is not at least {MIN_ROWS}")


def run(config: CalibrateConfig) -> Calibration:
    """Calibrate a FastBERT.

    Raises:
        FastBertJobsError: a mistake that the user can cure; nothing is written then.
    """
    from model.checkpoints.hub import resolve_checkpoint
    from model.engine.execution import Precision, resolve_execution
    from model.errors import ParameterError
    from model.fastbert import FastBertForSequenceClassification
    from pipeline.results.soft_labels import SoftLabels

    if config.output is None and not Path(config.model).is_dir():
        raise ParameterError(f"{config.model!r} is no local directory; give its calibration an --output")
    directory = resolve_checkpoint(config.model)
    labels = SoftLabels.open(config.labels)
    model = FastBertForSequenceClassification.from_pretrained(directory)
    _check_labels(config, model, labels)
    rows, num_texts = labels.calibration(config.rows)
    training = _check_rows(config, directory, rows)
    engine = model.engine(resolve_execution(Precision(config.precision)))
    print_settings(
        stdout_console(),
        {
            "model": f"{config.model}, {model.num_layers} layers, {len(model.labels)} labels",
            "labels": f"{config.labels}, {labels.num_calibration_rows:,} rows for calibration, "
            f"{num_texts:,} distinct texts",
            "rows": f"{len(rows):,} of these texts, half to find thresholds with and half to test them",
            "training": training,
            "runs on": engine.execution.summary(),
        },
    )
    calibration = _calibrate(config, directory, model, engine, rows)
    output = config.output or str(directory)
    calibration.save(output)
    _show(config, calibration)
    console = stdout_console()
    console.print(f"wrote {output}/calibration.json and calibration.parquet", markup=False, soft_wrap=True)
    elsewhere = f" --calibration {config.output}" if config.output else ""
    print_next_step(
        console,
        f"fastbert-jobs score --input CORPUS --text-column text --model {config.model} "
        f"--output scores --max-disagreement 0.01{elsewhere}",
    )
    return calibration


def _check_labels(
    config: CalibrateConfig, model: FastBertForSequenceClassification, labels: SoftLabels
) -> None:
    from model.errors import CheckpointError

    check_labels_match_model(model, config.model, labels, config.labels)
    if labels.max_length != model.config.max_length:
        raise CheckpointError(
            f"{config.model!r} cuts texts to {model.config.max_length} tokens, but {config.labels!r} to "
            f"{labels.max_length}; label again with --max-length {model.config.max_length}"
        )


def _check_rows(config: CalibrateConfig, directory: Path, rows: pa.Table) -> str:
    """Refuse too few rows, and rows that training has seen; say in a line what could be told of that."""
    from model.errors import InputError
    from pipeline.contract import schema
    from pipeline.sampling.training_hashes import TRAINING_HASHES_FILE, overlapping_rows

    if len(rows) < MIN_ROWS:
        raise InputError(
            f"{config.labels!r} holds {len(rows)} distinct texts for calibration, and at least {MIN_ROWS} "
            "are needed (1 % at 95 % takes 598); label more, or with a larger --calibration-fraction"
        )
    seen = overlapping_rows(directory, rows[schema.TEXT_HASH].to_pylist())
    if seen is None:
        return (
            f"{config.model!r} has no {TRAINING_HASHES_FILE}: "
            "whether it was trained on these texts is not known"
        )
    if seen:
        source, row = rows[schema.SOURCE][seen[0]].as_py(), rows[schema.ROW][seen[0]].as_py()
        raise InputError(
            f"{config.labels!r} holds for calibration what {config.model!r} was trained on, "
            f"{len(seen):,} of {len(rows):,} texts, such as row {row} of {source!r}; calibrate with the soft "
            "labels that it was distilled from, or label other texts"
        )
    return "has seen none of them"


def _calibrate(
    config: CalibrateConfig,
    directory: Path,
    model: FastBertForSequenceClassification,
    engine: Engine,
    table: pa.Table,
) -> Calibration:
    from dataclasses import replace

    import numpy as np

    from model.checkpoints.fingerprint import checkpoint_hash
    from model.cost.flops import fastbert_flops
    from model.cost.latency import measure_cost
    from model.guarantee.temperature_scaling import fit_temperature
    from model.tokens.tokenization import tokenize
    from pipeline.contract import schema
    from pipeline.results.calibration import Calibration
    from pipeline.results.calibration_table import SEARCH, CalibrationRows

    pairs = table[schema.TEXT_PAIR].to_pylist() if schema.TEXT_PAIR in table.column_names else None
    texts = tokenize(
        model.tokenizer, table[schema.TEXT].to_pylist(), pairs, max_length=model.config.max_length
    )
    logits = _run_all_exits(engine, texts)
    soft = table[schema.TEACHER_LOGITS].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    _check_same_model(config, logits[:, -1], soft)
    teacher_labels = soft.argmax(axis=1).astype(np.int64)
    temperatures = tuple(
        fit_temperature(logits[SEARCH, layer], teacher_labels[SEARCH])
        for layer in range(engine.num_layers - 1)
    )
    rows = CalibrationRows(
        sources=table[schema.SOURCE].to_pylist(),
        rows=table[schema.ROW].to_numpy(),
        num_tokens=texts.lengths,
        teacher_labels=teacher_labels,
        logits=logits,
        uncertainty=_uncertainty(logits, temperatures),
    )
    flops = fastbert_flops(model.config)
    step = max(1, len(texts.input_ids) // _COST_TOKENS)
    calibration = Calibration(
        labels=model.labels,
        rows=rows,
        temperatures=temperatures,
        flops=flops,
        cost=measure_cost(engine, texts.take(np.arange(0, len(texts), step)), flops),
        model=checkpoint_hash(directory),
        execution=engine.execution.fingerprint_fields,
        max_length=model.config.max_length,
    )
    return replace(calibration, facts=_facts(config, calibration))


def _run_all_exits(engine: Engine, texts: TokenizedTexts) -> npt.NDArray[np.float32]:
    import numpy as np

    from model.engine.execution import check_finite
    from model.exits.exit_logits import all_exit_logits

    logits = np.empty((len(texts), engine.num_layers, len(engine.labels)), dtype=np.float32)
    with progress_bar(rate="rate") as progress:
        bar = progress.add_task("calibrate", total=len(texts), rate="")
        for first in range(0, len(texts), _ROWS_PER_STEP):
            part = np.arange(first, min(first + _ROWS_PER_STEP, len(texts)))
            logits[part] = all_exit_logits(engine, texts.take(part))
            progress.update(bar, completed=int(part[-1]) + 1)
    check_finite(logits.reshape(len(texts), -1))
    return logits


def _check_same_model(
    config: CalibrateConfig, full_depth: npt.NDArray[np.float32], soft: npt.NDArray[np.float32]
) -> None:
    """Refuse soft labels that are not what the model's own last layer answers."""
    import numpy as np

    from model.engine.execution import check_finite
    from model.errors import CheckpointError

    check_finite(soft)
    spread = float(np.sqrt(np.mean((soft - soft.mean(axis=0)) ** 2)))
    apart = float(np.sqrt(np.mean((full_depth - soft) ** 2)))
    if apart > _MAX_RELATIVE_LOGIT_ERROR * max(spread, 1e-6):
        differ = float(np.mean(full_depth.argmax(axis=1) != soft.argmax(axis=1)))
        raise CheckpointError(
            f"{config.labels!r} holds another model's answers: {config.model!r} at full depth gives other "
            f"logits, and another label to {differ:.1%} of the texts; label with the model's own backbone"
        )


def _uncertainty(logits: npt.NDArray[np.float32], temperatures: tuple[float, ...]) -> npt.NDArray[np.float32]:
    """Return (rows, num_layers), as the layer sweep computes it."""
    import torch

    from model.network.uncertainty import normalised_entropy

    scales = torch.tensor([*temperatures, 1.0], dtype=torch.float32)[:, None]
    uncertainty: npt.NDArray[np.float32] = normalised_entropy(torch.from_numpy(logits) / scales).numpy()
    return uncertainty


def _facts(config: CalibrateConfig, calibration: Calibration) -> dict[str, Any]:
    """Return what the file tells besides what it is read for."""
    return {
        "confidence": config.confidence,
        "exits": _exits(calibration),
        "max_disagreement": [
            {
                "asked": share,
                **_describe(calibration.policy(max_disagreement=share, confidence=config.confidence)),
            }
            for share in DISAGREEMENTS
        ],
        "speed_curve": calibration.speed_curve(SPEED_UPS),
    }


def _exits(calibration: Calibration) -> list[dict[str, float]]:
    """Return every exit's agreement and reliability on the test half."""
    import numpy as np
    import torch

    from model.guarantee.temperature_scaling import expected_calibration_error
    from pipeline.results.calibration_table import TEST

    rows = calibration.rows
    is_right = ~rows.is_wrong[TEST]
    found = []
    for layer, temperature in enumerate((*calibration.temperatures, 1.0)):
        logits = torch.from_numpy(np.ascontiguousarray(rows.logits[TEST, layer]))
        before, after = (
            expected_calibration_error(
                (logits / scale).softmax(dim=1).amax(dim=1).numpy(), is_right[:, layer]
            )
            for scale in (1.0, temperature)
        )
        found.append(
            {
                "exit_layer": layer + 1,
                "agreement": float(is_right[:, layer].mean()),
                "temperature": temperature,
                "ece_before": before,
                "ece_after": after,
            }
        )
    return found


def _describe(policy: CalibratedPolicy) -> dict[str, Any]:
    return {
        "is_certified": policy.is_certified,
        "thresholds": list(policy.thresholds),
        "speed_up": policy.speed_up,
        "num_wrong": policy.evidence.num_wrong,
        "num_rows": policy.evidence.num_rows,
        "wrong_bound": policy.evidence.wrong_bound,
    }


def _show(config: CalibrateConfig, calibration: Calibration) -> None:
    console, facts = stdout_console(), calibration.facts
    num_test = facts["max_disagreement"][0]["num_rows"]
    exits = [
        (
            each["exit_layer"],
            f"{each['agreement']:.2%}",
            f"{each['temperature']:.2f}",
            f"{each['ece_before']:.2%}",
            f"{each['ece_after']:.2%}",
        )
        # The last layer is the one that the others are held against.
        for each in facts["exits"][:-1]
    ]
    reliability = ("exit layer", "agreement", "temperature", "ECE before", "after")
    console.print(table(f"exits on {num_test:,} test rows", reliability, exits))
    cost = calibration.cost
    console.print(
        f"a branch takes {cost.branch_seconds / cost.layer_seconds:.1%} of a layer's time, "
        f"{cost.branch_flops / cost.layer_flops:.1%} of its FLOPs"
    )
    promises = [
        (
            f"{each['asked']:.2%}",
            f"{each['speed_up']:.2f}x" if each["is_certified"] else "full depth",
            f"{each['num_wrong']:,}",
            f"{each['wrong_bound']:.2%}",
        )
        for each in facts["max_disagreement"]
    ]
    title = f"--max-disagreement at {config.confidence:.0%} confidence"
    columns = ("at most", "saved compute", "test rows that differ", "bound")
    console.print(table(title, columns, promises))
    speeds = [(f"{asked:g}x", f"{found:.2f}x") for asked, found in facts["speed_curve"]]
    console.print(table("--target-speedup", ("asked", "on test rows"), speeds))
