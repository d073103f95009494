"""`fastbert-jobs score`: a corpus to predictions, each text leaving where the model is sure enough."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from jobs.driver.beam_driver import BeamJob, JobOutcome, describe_input, run_beam_job
from jobs.driver.runner import DEFAULT_ROWS_PER_SHARD, RunnerConfig
from jobs.terminal.console import print_next_step, stdout_console, table
from jobs.terminal.options import FormatName, PrecisionName
from model.checks import check_fraction

if TYPE_CHECKING:
    from model.cost.flops import FlopsModel
    from model.exits.policy import ExitPolicy
    from pipeline.results.calibration import Calibration
    from pipeline.transforms.scoring import ScoreTask

COMMAND = "score"


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """What `score` is asked to do.

    Attributes:
        input: paths, globs or directories.
        text_column: column to classify.
        text_pair_column: second text of a pair.
        id_column: passed through as `id`.
        keep: columns passed through under their own names.
        model: directory or hub name of the FastBERT.
        output: directory of the shards.
        speed: a text leaves where its uncertainty is below this.
        max_disagreement: instead of `speed`: share of answers that may differ from full depth's.
        max_missed: with `max_disagreement`, LABEL=SHARE: share of the rows that the teacher gives this label
            that may be answered otherwise.
        target_speedup: instead of `speed`: saved compute as a multiple of full depth's.
        confidence: of what is certified; None for 0.95.
        calibration: directory of the calibration; None for the model's.
        fixed_exit_layer: instead of `speed`: every text leaves here.
        rows_per_shard: most rows of a shard.
        shadow_fraction: share of the texts that are answered at full depth too.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        format: of the input; None to go by the extensions.
        max_rejected: largest share of rows that may be rejected.
        overwrite: whether another job's output may be deleted.
        runner: where it runs.
    """

    input: tuple[str, ...]
    text_column: str
    model: str
    output: str
    rows_per_shard: int = DEFAULT_ROWS_PER_SHARD
    speed: float | None = None
    max_disagreement: float | None = None
    max_missed: tuple[str, ...] = ()
    target_speedup: float | None = None
    confidence: float | None = None
    calibration: str | None = None
    fixed_exit_layer: int | None = None
    text_pair_column: str | None = None
    id_column: str | None = None
    keep: tuple[str, ...] = ()
    shadow_fraction: float = 0.001
    precision: PrecisionName = "auto"
    format: FormatName | None = None
    max_rejected: float = 1.0
    overwrite: bool = False
    runner: RunnerConfig = field(default_factory=RunnerConfig)

    def __post_init__(self) -> None:
        """Check the shares, and that there is one policy.

        Raises:
            ParameterError: naming the option and the rule.
        """
        from model.errors import ParameterError

        policies = {
            "--max-disagreement": self.max_disagreement,
            "--target-speedup": self.target_speedup,
            "--speed": self.speed,
            "--fixed-exit-layer": self.fixed_exit_layer,
        }
        if sum(value is not None for value in policies.values()) != 1:
            raise ParameterError(f"give exactly one of {', '.join(policies)}")
        if self.max_missed and self.max_disagreement is None:
            raise ParameterError("--max-missed goes with --max-disagreement")
        if not self.is_calibrated and (self.confidence is not None or self.calibration is not None):
            name = "--calibration" if self.confidence is None else "--confidence"
            raise ParameterError(f"{name} goes with --max-disagreement or --target-speedup")
        check_fraction("shadow_fraction", self.shadow_fraction)
        check_fraction("max_rejected", self.max_rejected)

    @property
    def is_calibrated(self) -> bool:
        """Whether thresholds come from a calibration."""
        return self.max_disagreement is not None or self.target_speedup is not None

    def policy(self, num_layers: int, calibration: Calibration | None = None) -> ExitPolicy:
        """Return the exit policy for a model of `num_layers` layers.

        Args:
            num_layers: of the model.
            calibration: the model's, where `is_calibrated`.

        Raises:
            ParameterError: if a number is out of range, or there is no such layer or label.
        """
        from model.exits.policy import ExitPolicy
        from model.guarantee.risk_control import DEFAULT_CONFIDENCE

        if calibration is not None:
            return calibration.policy(
                max_disagreement=self.max_disagreement,
                max_missed=dict(map(parse_max_missed, self.max_missed)),
                target_speedup=self.target_speedup,
                confidence=DEFAULT_CONFIDENCE if self.confidence is None else self.confidence,
            )
        if self.fixed_exit_layer is not None:
            return ExitPolicy.from_exit_layer(self.fixed_exit_layer, num_layers=num_layers)
        assert self.speed is not None
        return ExitPolicy.from_speed(self.speed, num_layers=num_layers)


def parse_max_missed(text: str) -> tuple[str, float]:
    """Return the label and the share of a --max-missed.

    Raises:
        ParameterError: if it is not LABEL=SHARE.

    >>> parse_max_missed("spam=0.01")
    ('spam', 0.01)
    """
    from model.errors import ParameterError

    label, equals, share = text.rpartition("=")
    try:
        if not (label and equals):
            raise ValueError
        return label, float(share)
    except ValueError:
        raise ParameterError(f"--max-missed {text!r} is not LABEL=SHARE, as spam=0.01") from None


def run(config: ScoreConfig) -> JobOutcome:
    """Score a corpus.

    Raises:
        FastBertJobsError: a mistake that the user can cure; nothing is written then.
    """
    from model.checkpoints.hub import resolve_checkpoint
    from model.cost.flops import fastbert_flops
    from model.engine.execution import Precision
    from model.fastbert import check_fastbert
    from pipeline.reading.inputs import Columns, inspect_inputs
    from pipeline.transforms.scoring import ScoreTask, ScoreWithEarlyExit

    columns = Columns(
        text=config.text_column,
        text_pair=config.text_pair_column,
        id=config.id_column,
        keep=config.keep,
    )
    model_config = check_fastbert(resolve_checkpoint(config.model))
    flops = fastbert_flops(model_config)
    calibration = _calibration(config)
    policy = config.policy(flops.num_layers, calibration)
    inputs = inspect_inputs(config.input, columns, rows_per_shard=config.rows_per_shard, format=config.format)
    task = ScoreTask.for_model(
        config.model,
        inputs,
        policy=policy,
        shadow_fraction=config.shadow_fraction,
        precision=Precision(config.precision),
    )
    settings = _settings(config, task)
    if calibration is not None:
        calibration.check_fits(
            config.calibration or config.model,
            model=settings["model"],
            execution=task.execution.fingerprint_fields,
            max_length=task.max_length,
        )
    outcome = run_beam_job(
        BeamJob(
            command=COMMAND,
            output=config.output,
            overwrite=config.overwrite,
            settings=settings,
            inputs=inputs,
            task=task,
            transform=ScoreWithEarlyExit,
            facts={"model": config.model, "flops": asdict(flops), **_evidence(policy, calibration)},
            runner=config.runner,
            decisions={
                "model": f"{config.model}, {flops.num_layers} layers, {len(task.labels)} labels",
                "input": describe_input(inputs),
                "policy": describe_policy(policy),
                "runs on": f"{task.execution.summary()}, {config.runner.runner}",
            },
            max_rejected=config.max_rejected,
        )
    )
    _summarise(config, outcome, flops)
    return outcome


def _calibration(config: ScoreConfig) -> Calibration | None:
    from model.checkpoints.hub import resolve_checkpoint
    from pipeline.results.calibration import Calibration

    if not config.is_calibrated:
        return None
    return Calibration.load(config.calibration or str(resolve_checkpoint(config.model)))


def describe_policy(policy: ExitPolicy) -> str:
    """Return one line about a policy, and what it rests on."""
    from model.guarantee.calibrated_policy import CalibratedPolicy

    if not isinstance(policy, CalibratedPolicy):
        return policy.name
    if policy.note:
        return f"{policy.name}: not attainable; {policy.note}"
    found = policy.evidence
    kind = "certified" if policy.is_certified else "not certified"
    return (
        f"{policy.name}: {kind}, {found.num_wrong:,} of {found.num_rows:,} test rows differ, at most "
        f"{found.wrong_bound:.2%} at {found.confidence:.0%}; expect {policy.speed_up:.2f}x saved compute"
    )


def _evidence(policy: ExitPolicy, calibration: Calibration | None) -> dict[str, Any]:
    """Return what the manifest tells of a calibrated policy."""
    from model.guarantee.calibrated_policy import CERTIFICATE, CalibratedPolicy

    if not isinstance(policy, CalibratedPolicy) or calibration is None:
        return {}
    return {
        CERTIFICATE: {
            **policy.as_json(calibration.labels),
            "calibration_rows": len(calibration.rows),
            "model": calibration.model,
            "execution": dict(calibration.execution),
            "speed_curve": calibration.facts["speed_curve"],
        }
    }


def _settings(config: ScoreConfig, task: ScoreTask) -> dict[str, Any]:
    """Return what changes the scores, besides the input files."""
    from pathlib import Path

    from model.checkpoints.fingerprint import checkpoint_hash

    return {
        "model": checkpoint_hash(Path(task.model)),
        "policy": task.policy.name,
        "thresholds": list(task.policy.thresholds),
        "temperatures": list(task.policy.temperatures),
        **task.execution.fingerprint_fields,
        "max_length": task.max_length,
        "columns": vars(task.reading.columns),
        "rows_per_shard": config.rows_per_shard,
        "shadow_fraction": config.shadow_fraction,
    }


def _summarise(config: ScoreConfig, outcome: JobOutcome, flops: FlopsModel) -> None:
    from pipeline.transforms.scoring import EXIT_COUNT, PROCESSED_TOKENS, REAL_TOKENS

    console, counts = stdout_console(), outcome.manifest.counts
    console.print(outcome.describe_rows())
    if not outcome.num_rows:
        return
    exits = [counts[EXIT_COUNT.format(layer)] for layer in range(1, flops.num_layers + 1)]
    rows = [
        (layer, f"{count:,}", f"{count / outcome.num_rows:.1%}")
        for layer, count in enumerate(exits, start=1)
        if count
    ]
    console.print(table("where the rows left", ("exit layer", "rows", "share"), rows))
    mean = sum(layer * count for layer, count in enumerate(exits, start=1)) / outcome.num_rows
    padding = counts[PROCESSED_TOKENS] / max(counts[REAL_TOKENS], 1) - 1
    console.print(f"mean exit layer {mean:.2f} of {flops.num_layers}, padding {padding:.1%}")
    print_next_step(console, f"fastbert-jobs audit {config.output}")
