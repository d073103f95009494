"""`fastbert-jobs audit`: whether a job kept its promise, where its rows left the network, what it saved."""

import json
from dataclasses import dataclass
from functools import cached_property, partial

import pyarrow.parquet as pq

from jobs.configs.audit import AuditConfig
from jobs.report.audit_page import AUDIT_PAGE_FILE, audit_page
from jobs.report.page import write_page
from jobs.terminal.audit_summary import show, show_comparison
from jobs.terminal.console import stdout_console
from model.answers.task import Task
from model.errors import InputError, ParameterError
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import ScoreManifest, read_manifest
from pipeline.contract.result_files import check_holds_no_job, write_result
from pipeline.contract.storage import check_file_system
from pipeline.contract.typed_json import as_plain
from pipeline.results.audit.alarms import Condition
from pipeline.results.audit.comparison import Comparison, FinishedJob, compare_jobs
from pipeline.results.audit.report import AuditReport, make_report
from pipeline.results.collected_stats import collect
from pipeline.results.exit_stats import EXIT_STATS_FILE, ExitStats
from pipeline.results.ground_truth import GroundTruth, read_true_labels

AUDIT_FILE = "audit.json"


@dataclass(frozen=True, kw_only=True)
class AuditOutcome:
    """What `audit` found.

    Attributes:
        report: all that is said of the job.
        comparison: with another job; None where there is none.
        alarms: a line for each condition of `--fail-on` that it fails.
        labels_left_out: rows of `--labels-input` that have no id or no label, or cannot be read.
    """

    report: AuditReport
    comparison: Comparison | None
    alarms: tuple[str, ...]
    labels_left_out: int = 0

    @cached_property
    def json(self) -> str:
        """All of it as it is written."""
        more: dict[str, object] = {"labels_left_out": self.labels_left_out}
        if self.comparison is not None:
            more["comparison"] = as_plain(self.comparison)
        return json.dumps(as_plain(self.report) | more, indent=1, ensure_ascii=False)

    @property
    def exit_status(self) -> int:
        """1 where there is an alarm, for schedulers."""
        return 1 if self.alarms else 0


def run(config: AuditConfig) -> AuditOutcome:
    """Audit scores.

    Raises:
        FastBertJobsError: a mistake that the user can cure.
    """
    conditions = [Condition.parse(text) for text in config.fail_on]
    layout = OutputLayout(config.scores)
    directory = config.output or layout.audit_directory
    # Before the work.
    check_file_system(directory)
    check_holds_no_job(directory)
    job, stats, truth = _look_at(config, config.scores)
    _check_joined(config, stats)
    comparison = None
    if config.other is not None:
        other, _, _ = _look_at(config, config.other)
        comparison = compare_jobs(job, other)
    alarms = tuple(line for each in conditions if (line := each.alarm(job.report)))
    outcome = AuditOutcome(
        report=job.report,
        comparison=comparison,
        alarms=alarms,
        labels_left_out=0 if truth is None else truth.num_left_out,
    )
    told = _write(directory, outcome, job.manifest, stats)
    if config.json:
        stdout_console().print(outcome.json, soft_wrap=True)
    else:
        _show(outcome, told)
    return outcome


def _write(directory: str, outcome: AuditOutcome, manifest: ScoreManifest, stats: ExitStats) -> list[str]:
    """Write all files, and return a line for each kind."""
    page = write_page(directory, AUDIT_PAGE_FILE, audit_page(outcome.report, manifest, outcome.comparison))
    content = outcome.json.encode("utf-8", "backslashreplace")
    paths = [
        write_result(directory, EXIT_STATS_FILE, partial(pq.write_table, stats.as_table())),
        write_result(directory, AUDIT_FILE, lambda file: file.write(content)),
    ]
    return [f"wrote {', '.join(paths)}", f"to look at: {page}"]


def _show(outcome: AuditOutcome, told: list[str]) -> None:
    console = stdout_console()
    show(outcome.report)
    if outcome.labels_left_out:
        console.print(
            f"{outcome.labels_left_out:,} rows of --labels-input have no id or no label, and are left out",
            soft_wrap=True,
        )
    if outcome.comparison:
        show_comparison(outcome.report, outcome.comparison)
    for line in told:
        console.print(line, soft_wrap=True)
    for line in outcome.alarms:
        console.print(f"failed on {line}", style="bold red", soft_wrap=True)


def _look_at(config: AuditConfig, scores: str) -> tuple[FinishedJob, ExitStats, GroundTruth | None]:
    layout = OutputLayout(scores)
    manifest = read_manifest(layout, ScoreManifest)
    truth = _ground_truth(config, scores, manifest)
    collected = collect(layout, manifest, None if truth is None else truth.of_rows)
    report = make_report(layout, manifest, collected)
    return FinishedJob(layout=layout, manifest=manifest, report=report), collected.stats, truth


def _ground_truth(config: AuditConfig, scores: str, manifest: ScoreManifest) -> GroundTruth | None:
    """Return the true labels of a job's rows; None where none are given."""
    if not config.labels_input:
        return None
    if (task := manifest.settings.answer.task) is not Task.ONE_LABEL:
        raise ParameterError(
            f"`labels_input` is of models that answer with one label, and this is for {task}: leave it out, "
            "and compare with true answers by hand"
        )
    if config.id_column is not None and manifest.settings.columns.id is None:
        raise ParameterError(
            f"`id_column` {config.id_column}: {scores!r} was scored without an id; "
            "leave it out to join on source and row"
        )
    return read_true_labels(
        config.labels_input,
        label_column=config.label_column,
        id_column=config.id_column,
        labels=manifest.labels,
        format=config.format,
    )


def _check_joined(config: AuditConfig, stats: ExitStats) -> None:
    if config.labels_input and stats.rows and not stats.num_labelled:
        key = "id" if config.id_column else "path and row (else give `id_column`)"
        raise InputError(
            f"`labels_input` {', '.join(config.labels_input)}: no row of it was scored, going by {key}"
        )
