"""`fastbert-jobs score`: a corpus to predictions, each text leaving where the model is sure enough."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from jobs.beam_job import BeamJob, JobOutcome, describe_input, run_beam_job
from jobs.console import next_command, results, table
from jobs.label_teacher import check_share
from jobs.options import FormatName, PrecisionName
from jobs.runner import DEFAULT_ROWS_PER_SHARD, RunnerConfig

if TYPE_CHECKING:
    from model.flops import FlopsModel
    from model.policy import ExitPolicy
    from pipeline.scoring import ScoreTask

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
            OptionError: naming the option and the rule.
        """
        from model.errors import OptionError

        if (self.speed is None) == (self.fixed_exit_layer is None):
            raise OptionError("give exactly one of --speed and --fixed-exit-layer")
        check_share("--shadow-fraction", self.shadow_fraction)
        check_share("--max-rejected", self.max_rejected)

    def policy(self, num_layers: int) -> ExitPolicy:
        """Return the exit policy for a model of `num_layers` layers.

        Raises:
            OptionError: if the speed is outside [0, 1] or there is no such layer.
        """
        from model.policy import ExitPolicy

        if self.fixed_exit_layer is not None:
            return ExitPolicy.from_exit_layer(self.fixed_exit_layer, num_layers=num_layers)
        assert self.speed is not None
        return ExitPolicy.from_speed(self.speed, num_layers=num_layers)


def run(config: ScoreConfig) -> JobOutcome:
    """Score a corpus.

    Raises:
        FastBertJobsError: a mistake that the user can cure; nothing is written then.
    """
    from model.checkpoint import resolve_checkpoint
    from model.fastbert import check_fastbert
    from model.flops import flops_model
    from model.precision import Precision
    from pipeline.scoring import ScoreTask, ScoreWithEarlyExit
    from pipeline.sources import Columns, inspect_inputs

    columns = Columns(
        text=config.text_column,
        text_pair=config.text_pair_column,
        id=config.id_column,
        keep=config.keep,
    )
    model_config = check_fastbert(resolve_checkpoint(config.model))
    flops = flops_model(
        model_config.backbone_config,
        branch_size=model_config.branch_size,
        branch_heads=model_config.branch_heads,
    )
    policy = config.policy(flops.num_layers)
    inputs = inspect_inputs(config.input, columns, rows_per_shard=config.rows_per_shard, format=config.format)
    task = ScoreTask.for_model(
        config.model,
        inputs,
        policy=policy,
        shadow_fraction=config.shadow_fraction,
        precision=Precision(config.precision),
    )
    outcome = run_beam_job(
        BeamJob(
            command=COMMAND,
            output=config.output,
            overwrite=config.overwrite,
            settings=_settings(config, task),
            inputs=inputs,
            task=task,
            transform=ScoreWithEarlyExit,
            facts={"model": config.model, "flops": asdict(flops)},
            runner=config.runner,
            decisions={
                "model": f"{config.model}, {flops.num_layers} layers, {len(task.labels)} labels",
                "input": describe_input(inputs),
                "policy": policy.name,
                "runs on": f"{task.execution.describe()}, {config.runner.runner}",
            },
            max_rejected=config.max_rejected,
        )
    )
    _summarise(config, outcome, flops)
    return outcome


def _settings(config: ScoreConfig, task: ScoreTask) -> dict[str, Any]:
    """Return what changes the scores, besides the input files."""
    from pathlib import Path

    from model.checkpoint import checkpoint_hash

    return {
        "model": checkpoint_hash(Path(task.model)),
        "policy": task.policy.name,
        "thresholds": list(task.policy.thresholds),
        **task.execution.settings,
        "max_length": task.max_length,
        "columns": vars(task.reading.columns),
        "rows_per_shard": config.rows_per_shard,
        "shadow_fraction": config.shadow_fraction,
    }


def _summarise(config: ScoreConfig, outcome: JobOutcome, flops: FlopsModel) -> None:
    from pipeline.scoring import EXIT_COUNT, PROCESSED_TOKENS, REAL_TOKENS

    console, counts = results(), outcome.manifest.counts
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
    next_command(console, f"fastbert-jobs audit {config.output}")
