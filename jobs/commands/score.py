"""`fastbert-jobs score`: a corpus to predictions, each text leaving where the model is sure enough."""

from jobs.configs.score import ScoreConfig
from jobs.driver.beam_driver import run_corpus_job
from jobs.driver.dask_cluster import check_dask
from jobs.driver.dataflow import check_dataflow
from jobs.driver.job_options import job_options
from jobs.driver.job_outcome import JobOutcome, describe_input
from jobs.driver.planned_job import PlannedJob, open_plan
from jobs.driver.runner import take_device
from jobs.terminal.console import counting_progress, print_next_step, stdout_console, table
from model.answers.rule import answer_rule
from model.checkpoints.loading import label_names, task_of
from model.checks import DEFAULT_CONFIDENCE
from model.cost.network_flops import checkpoint_flops
from model.errors import ParameterError
from model.exits.policy import ExitPolicy, policy_of
from model.guarantee.calibrated_policy import CalibratedPolicy
from model.guarantee.unit import Unit
from model.messages import format_ratio, format_share
from model.network.config import load_fastbert_config
from pipeline.contract.columns import Columns
from pipeline.contract.manifest import ScoreManifest
from pipeline.reading.inputs import Inputs
from pipeline.reading.remote_checkpoints import find_checkpoint
from pipeline.results.calibration import Calibration
from pipeline.results.corpus_promise import CorpusPromise
from pipeline.sampling.shadow_sample import shadow_unit
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.score_task import (
    EXIT_COUNT,
    PROCESSED_TOKENS,
    REAL_TOKENS,
    ScoreTask,
)
from pipeline.transforms.scoring import PolicyOfCorpus, score_job


def run(config: ScoreConfig) -> JobOutcome[ScoreManifest] | None:
    """Score a corpus, or do what is asked of it.

    Returns:
        The finished job; None where there is none yet.

    Raises:
        FastBertJobsError: a mistake that the user can cure; nothing is written then.
    """
    # All of it before the input is read, which may take long.
    check_dataflow(
        config.runner,
        inputs={"input": config.input},
        outputs={"output": config.output},
        model=config.model,
    )
    asked = choose_policy(config)
    planned = open_plan(config)
    check_dask(config.runner)
    take_device(config.runner, config.device)
    promise = _WatchedPromise(asked, planned) if isinstance(asked, CorpusPromise) else None
    job = _job(config, asked if promise is None else promise, planned)
    outcome = run_corpus_job(
        job, config, _banner(config, job), corpus=None if promise is None else promise.size
    )
    if outcome is not None:
        _summarise(config, outcome)
    return outcome


def _job(
    config: ScoreConfig, policy: ExitPolicy | PolicyOfCorpus, planned: PlannedJob | None
) -> CorpusJob[ScoreManifest]:
    return score_job(
        input=config.input,
        columns=Columns(
            text=config.text_column,
            text_pair=config.text_pair_column,
            id=config.id_column,
            keep=config.keep,
            group=config.group_column,
        ),
        model=config.model,
        output=config.output,
        policy=policy,
        shadow_fraction=config.shadow_fraction,
        shadow_rows=config.shadow_rows,
        **job_options(config, planned),
    )


def _banner(config: ScoreConfig, job: CorpusJob[ScoreManifest]) -> dict[str, object]:
    task = job.task
    assert isinstance(task, ScoreTask)
    assert task.policy.answer is not None
    answers = task.policy.answer.task.describe(len(task.labels))
    return {
        "model": f"{config.model}, {task.policy.num_layers} layers, {answers}",
        "input": describe_input(job),
        "policy": describe_policy(task.policy),
        "runs on": f"{task.execution.summary()}, {config.runner.runner}",
    }


class _WatchedPromise:
    """A promise whose counting of texts is shown, unless they were counted for the plan."""

    def __init__(self, promise: CorpusPromise, planned: PlannedJob | None) -> None:
        self._promise = promise
        self.size = planned.corpus if planned else None

    @property
    def saved_compute(self) -> float:
        return self._promise.saved_compute

    def policy(self, inputs: Inputs) -> ExitPolicy:
        if self.size is None:
            with counting_progress("count texts", unit="rows") as on_rows:
                self.size = self._promise.size_of(inputs, on_rows=on_rows)
        return self._promise.policy_for(self.size)


def choose_policy(config: ScoreConfig) -> ExitPolicy | CorpusPromise:
    """Return the exit policy that was asked for, or what gives it once the corpus is known.

    Raises:
        CheckpointError: if the model is no FastBERT.
        ArtifactError: if there is no calibration, or it is damaged.
        ParameterError: if a number is out of range, or there is no such exit or label.
    """
    directory = find_checkpoint(config.model)
    flops = checkpoint_flops(directory)
    network = load_fastbert_config(directory)
    rule = answer_rule(
        task_of(network, config.model),
        label_names(network),
        decide=config.decide,
        tolerance=config.tolerance,
    )
    if config.is_calibrated:
        calibration = Calibration.load(config.calibration or str(directory))
        if config.decide or config.tolerance is not None:
            calibration = calibration.deciding(rule)
        # Whether they go together.
        shadow_unit(calibration.exits.unit, config.group_column)
        confidence = DEFAULT_CONFIDENCE if config.confidence is None else config.confidence
        if config.target_speedup is not None:
            return calibration.policy(target_speedup=config.target_speedup, confidence=confidence)
        return _promised(config, calibration, confidence)
    if config.fixed_exit_layer is not None:
        if config.fixed_exit_layer == 0 and 0 not in flops.exits:
            raise ParameterError(
                f"`fixed_exit_layer` 0 is the lexical branch, and {config.model!r} has none; "
                "`fastbert-jobs distill` makes one"
            )
        return ExitPolicy.from_exit_layer(config.fixed_exit_layer, num_layers=flops.num_layers, answer=rule)
    assert config.speed is not None
    return policy_of(config.speed, None, num_layers=flops.num_layers, answer=rule)


def _promised(
    config: ScoreConfig, calibration: Calibration, confidence: float
) -> CalibratedPolicy | CorpusPromise:
    """Return the policy of all texts like the calibration's, or the promise of this corpus."""
    assert config.max_disagreement is not None
    # Of groups and of what is called so falsely there is no promise of one corpus: who asks for it is told.
    is_of_all = calibration.exits.unit is Unit.GROUPS or bool(config.max_false)
    default = "population" if is_of_all else "corpus"
    if (config.promise or default) == "population":
        return calibration.policy(
            max_disagreement=config.max_disagreement,
            max_missed=config.max_missed_shares,
            max_false=config.max_false_shares,
            confidence=confidence,
        )
    promise = CorpusPromise(
        calibration=calibration,
        max_disagreement=config.max_disagreement,
        max_missed=config.max_missed_shares,
        confidence=confidence,
    )
    # Made in any case: what is wrong with the promise is told before the input is read.
    _ = promise.of_population
    return promise


def describe_policy(policy: ExitPolicy) -> str:
    """Return one line about a policy, and what it rests on."""
    if not isinstance(policy, CalibratedPolicy):
        return policy.name
    if policy.note:
        return f"{policy.name}: not attainable; {policy.note}"
    risk = policy.risk
    found = f"{risk.num_disagreements:,} of {risk.num_rows:,} test rows disagree"
    # Of a certificate what was asked for is what holds: a bound from the rows that chose it does not.
    kind = "certified" if policy.is_certified else "not certified"
    confidence = format_share(risk.confidence, 0)
    bound = "" if policy.is_certified else f", at most {risk.upper_bound:.2%} at {confidence}"
    if policy.is_certified and policy.corpus:
        kind = f"certified, as a risk of {policy.corpus.max_risk:.3%} at {policy.corpus.confidence:.4g}"
    return f"{policy.name}: {kind}, {found}{bound}; expect {format_ratio(policy.saved_compute)} saved compute"


def _summarise(config: ScoreConfig, outcome: JobOutcome[ScoreManifest]) -> None:
    console, counts = stdout_console(), outcome.manifest.counts
    console.print(outcome.describe_rows())
    if not outcome.num_rows:
        return
    flops = outcome.manifest.flops
    exits = {exit_layer: counts[EXIT_COUNT.format(exit_layer)] for exit_layer in flops.exits}
    rows = [
        (layer, f"{count:,}", f"{count / outcome.num_rows:.1%}") for layer, count in exits.items() if count
    ]
    console.print(table("where the rows left", ("exit layer", "rows", "share"), rows))
    mean = sum(layer * count for layer, count in exits.items()) / outcome.num_rows
    # Where all left before the first layer, nothing was padded.
    padding = counts[PROCESSED_TOKENS] / counts[REAL_TOKENS] - 1 if counts[REAL_TOKENS] else 0.0
    console.print(f"mean exit layer {mean:.2f} of {flops.num_layers}, padding {padding:.1%}")
    print_next_step(console, "audit", config.output)
