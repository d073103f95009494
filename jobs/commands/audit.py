"""`fastbert-jobs audit`: whether a job kept its promise, where its rows left the network, what it saved."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from jobs.configs.audit import AuditConfig
from jobs.report.audit_page import AUDIT_PAGE_FILE, audit_page
from jobs.report.page import write_page
from jobs.terminal.audit_summary import show, show_comparison
from jobs.terminal.console import stdout_console
from model.answers.task import Task
from model.errors import InputError, OutputError, ParameterError
from model.messages import one_line
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import ScoreManifest, read_manifest
from pipeline.contract.storage import check_file_system, make_directory, write_atomically
from pipeline.contract.typed_json import as_plain
from pipeline.results.audit.alarms import Condition
from pipeline.results.audit.comparison import Comparison, FinishedJob, compare_jobs
from pipeline.results.audit.report import AuditReport, make_report
from pipeline.results.exit_stats import EXIT_STATS_FILE, ExitStats
from pipeline.results.exit_stats_builder import TrueLabels, collect
from pipeline.results.ground_truth import read_true_labels

AUDIT_FILE = "audit.json"


@dataclass(frozen=True, kw_only=True)
class AuditOutcome:
    """What `audit` found.

    Attributes:
        report: all that is said of the job.
        comparison: with another job; None where there is none.
        alarms: a line for each condition of `--fail-on` that it fails.
    """

    report: AuditReport
    comparison: Comparison | None
    alarms: tuple[str, ...]

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
    job, stats = _look_at(config, config.scores)
    _check_joined(config, stats)
    comparison = None
    if config.other is not None:
        other, _ = _look_at(config, config.other)
        comparison = compare_jobs(job, other)
    report = job.report
    alarms = tuple(line for each in conditions if (line := each.alarm(report)))
    said = as_plain(report) | ({"comparison": as_plain(comparison)} if comparison else {})
    plain = json.dumps(said, indent=1, ensure_ascii=False)
    page = write_page(directory, AUDIT_PAGE_FILE, audit_page(report, job.manifest, comparison))
    paths = [
        _write(directory, EXIT_STATS_FILE, partial(pq.write_table, stats.as_table())),
        _write(directory, AUDIT_FILE, lambda file: file.write(plain.encode("utf-8", "backslashreplace"))),
    ]
    console = stdout_console()
    if config.json:
        console.print(plain, soft_wrap=True)
    else:
        show(report)
        if comparison:
            show_comparison(report, comparison)
        console.print(f"wrote {', '.join(paths)}", soft_wrap=True)
        console.print(f"to look at: {page}", soft_wrap=True)
        for line in alarms:
            console.print(f"failed on {line}", style="bold red", soft_wrap=True)
    return AuditOutcome(report=report, comparison=comparison, alarms=alarms)


def _look_at(config: AuditConfig, scores: str) -> tuple[FinishedJob, ExitStats]:
    layout = OutputLayout(scores)
    manifest = read_manifest(layout, ScoreManifest)
    collected = collect(layout, manifest, _true_labels(config, manifest))
    report = make_report(layout, manifest, collected)
    return FinishedJob(layout=layout, manifest=manifest, report=report), collected.stats


def _true_labels(config: AuditConfig, manifest: ScoreManifest) -> TrueLabels | None:
    if not config.labels_input:
        return None
    if (task := manifest.settings.answer.task) is not Task.ONE_LABEL:
        raise ParameterError(
            f"`labels_input` is of models that answer with one label, and this is for {task}: leave it out, "
            "and compare with true answers by hand"
        )
    if config.id_column is not None and manifest.settings.columns.id is None:
        raise ParameterError(
            f"`id_column` {config.id_column}: {config.scores!r} was scored without an id; "
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


def _write(directory: str, name: str, write: Callable[[BinaryIO], object]) -> str:
    """Write a file whole or not at all, and return its path."""
    path = str(FileSystems.join(directory, name))
    try:
        make_directory(directory)
        write_atomically(path, write)
    except OSError as error:
        reason = one_line(error)
        raise OutputError(f"{directory!r} cannot be written: {reason}; choose another `output`") from error
    return path
