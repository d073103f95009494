"""`fastbert-jobs audit`: where scored rows left the network, how sure, and what it saved."""

from collections.abc import Callable
from functools import partial
from typing import BinaryIO

import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from jobs.configs.audit import AuditConfig
from jobs.terminal.console import stdout_console, table
from jobs.terminal.speedup_plot import speedup_plot
from model.answers.task import Task
from model.checks import DEFAULT_CONFIDENCE
from model.errors import InputError, OutputError, ParameterError
from model.guarantee.binomial import interval, p_value
from model.guarantee.risk_constraint import Kind
from model.guarantee.unit import Unit
from model.messages import format_ratio, one_line
from pipeline.contract.certificate import Certificate
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import ScoreManifest, read_manifest
from pipeline.contract.storage import check_file_system, make_directory, write_atomically
from pipeline.results.exit_stats import EXIT_STATS_FILE, ExitLayerStats, ExitStats
from pipeline.results.exit_stats_builder import TrueLabels, collect
from pipeline.results.ground_truth import read_true_labels

SAVED_COMPUTE_PLOT_FILE = "saved_compute.png"
# So unlikely must a shadow sample be under a certificate to contradict it.
CONTRADICTION_P = 0.001
# What is counted of a shadow sample.
_COUNTED = {
    Unit.TEXTS: "distinct shadow texts",
    Unit.ROWS: "shadow rows",
    Unit.GROUPS: "shadow groups, of each one text,",
}


def run(config: AuditConfig) -> ExitStats:
    """Audit scores.

    Raises:
        FastBertJobsError: a mistake that the user can cure.
    """
    layout = OutputLayout(config.scores)
    directory = config.output or layout.audit_directory
    # Before the work.
    check_file_system(directory)
    manifest = read_manifest(layout, ScoreManifest)
    stats = collect(layout, manifest, _true_labels(config, manifest))
    _check_joined(config, stats)
    paths = [_write(directory, EXIT_STATS_FILE, partial(pq.write_table, stats.as_table()))]
    if certificate := manifest.certificate:
        plot = _plot(certificate, stats)
        paths.append(_write(directory, SAVED_COMPUTE_PLOT_FILE, lambda file: file.write(plot)))
    show(stats, manifest)
    stdout_console().print(f"wrote {', '.join(paths)}", soft_wrap=True)
    return stats


def _true_labels(config: AuditConfig, manifest: ScoreManifest) -> TrueLabels | None:
    if not config.labels_input:
        return None
    if (task := manifest.settings.answer.task) is not Task.ONE_LABEL:
        raise ParameterError(
            f"`labels_input` is of models that answer with one label, and this is for {task}"
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


def _plot(certificate: Certificate, stats: ExitStats) -> bytes:
    """Return the plot of saved compute asked for and found, with this job's where it asked for one."""
    asked = certificate.target_speedup
    job = None if asked is None else (asked, stats.saved_compute)
    return speedup_plot(certificate.speed_curve, job=job)


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


def show(stats: ExitStats, manifest: ScoreManifest) -> None:
    """Print exit statistics as a table and a few lines."""
    console = stdout_console()
    total_flops = max(sum(each.flops for each in stats.exits.values()), 1)
    rows = [
        _cells(exit_layer, here, stats, total_flops) for exit_layer, here in stats.exits.items() if here.rows
    ]
    columns = ["exit layer", "rows", "share", "FLOPs", "uncertainty", "median", "p95", "most called"]
    title = f"{stats.rows:,} rows, {manifest.settings.policy}"
    console.print(table(title, columns + (["accuracy"] if stats.num_labelled else []), rows))
    console.print(
        f"mean exit layer {stats.mean_exit_layer:.2f} of {manifest.flops.num_layers}; saved compute "
        f"{format_ratio(stats.saved_compute)} (real lengths, attention and branches counted), "
        f"{format_ratio(stats.paper_saved_compute)} by the paper's count (128 tokens, linear layers only)",
        soft_wrap=True,
    )
    if manifest.certificate:
        _show_certificate(manifest.certificate, stats, manifest.settings.shadow_unit)
    _show_shares(stats, manifest.settings.shadow_unit)


def _cells(exit_layer: int, here: ExitLayerStats, stats: ExitStats, total_flops: int) -> list[object]:
    """Return a row of the table: what left at one exit."""
    cells: list[object] = [
        exit_layer,
        f"{here.rows:,}",
        f"{here.rows / stats.rows:.1%}",
        f"{here.flops / total_flops:.1%}",
        f"{here.uncertainty_sum / here.rows:.3f}",
        f"{here.quantile(0.5):.3f}",
        f"{here.quantile(0.95):.3f}",
        _most_called(here, stats.names),
    ]
    if stats.num_labelled:
        cells.append(f"{here.correct / here.labelled:.2%}" if here.labelled else "-")
    return cells


def _most_called(here: ExitLayerStats, names: tuple[str, ...]) -> str:
    """Return what most rows are called, and their share."""
    if not names:
        return "-"
    most = int(here.called.argmax())
    return f"{names[most]} {here.called[most] / here.rows:.0%}"


def _show_certificate(certificate: Certificate, stats: ExitStats, unit: Unit) -> None:
    """Print what was promised, and what was expected against what came.

    Args:
        certificate: of the policy.
        stats: what came.
        unit: of the shadow sample.
    """
    if certificate.is_certified:
        kind, most = "certified", certificate.max_disagreement
    else:
        kind, most = "not certified", certificate.upper_bound
    promised = certificate.unit.promised
    # "of the texts, one of each group, at 95%".
    comma = "," if "," in promised else ""
    stdout_console().print(
        f"{kind} on {certificate.num_rows:,} test rows, of which {certificate.num_disagreements:,} disagree: "
        f"at most {most:.2%} {promised}{comma} at {certificate.confidence:.0%}; saved compute "
        f"expected {format_ratio(certificate.saved_compute)}, found {format_ratio(stats.saved_compute)}",
        soft_wrap=True,
    )
    if not certificate.is_certified or certificate.max_disagreement is None:
        return
    if certificate.unit is unit:
        _warn_if_contradicted(certificate.max_disagreement, certificate, stats)
    else:
        stdout_console().print(
            f"the shadow sample is drawn by {unit}, and tells nothing of a promise "
            f"{certificate.unit.promised}: score {'without' if unit is Unit.GROUPS else 'with'} "
            "--group-column to hold it against one",
            soft_wrap=True,
        )


def _warn_if_contradicted(max_disagreement: float, certificate: Certificate, stats: ExitStats) -> None:
    """Say so if the shadow sample disagrees more often than a kept certificate would let it."""
    texts = stats.shadow_texts
    parts = [("", texts.num_disagreements, texts.num_texts, max_disagreement)]
    for promise in certificate.per_name:
        place = stats.names.index(promise.name)
        if promise.kind is Kind.MISSED:
            who, wrong, of_all = "full depth calls", texts.missed, texts.by_teacher
        else:
            who, wrong, of_all = "the job calls", texts.false, texts.called
        parts.append((f" that {who} {promise.name}", int(wrong[place]), int(of_all[place]), promise.share))
    level = CONTRADICTION_P / len(parts)
    for which, disagreements, num_texts, allowed in parts:
        if disagreements and 1 - p_value(disagreements - 1, num_texts, allowed) < level:
            stdout_console().print(
                f"the certificate does not hold here: {disagreements:,} of {num_texts:,} "
                f"{_COUNTED[certificate.unit]}{which} disagree, more than {allowed:.2%}; these texts are "
                "not like the calibration's: calibrate with some of them",
                style="bold red",
                soft_wrap=True,
            )


def _show_shares(stats: ExitStats, unit: Unit) -> None:
    console = stdout_console()
    if stats.accuracy is not None:
        console.print(f"accuracy {stats.accuracy:.2%} on {stats.num_labelled:,} labelled rows")
    texts = stats.shadow_texts
    if texts.num_texts:
        share = texts.num_disagreements / texts.num_texts
        low, high = interval(texts.num_disagreements, texts.num_texts, DEFAULT_CONFIDENCE)
        console.print(
            f"full depth answers {texts.num_disagreements:,} of {texts.num_texts:,} {_COUNTED[unit]} "
            f"otherwise: {share:.2%}, at {DEFAULT_CONFIDENCE:.0%} between {low:.2%} and {high:.2%}",
            soft_wrap=True,
        )
