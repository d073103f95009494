"""`fastbert-jobs audit`: where scored rows left the network, how sure, and what it saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.terminal.console import stdout_console, table
from jobs.terminal.options import FormatName

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.contract.manifest import Manifest
    from pipeline.results.exit_stats import ExitStats, TrueLabels


SPEED_PLOT_FILE = "speed_up.png"
# So unlikely must a shadow sample be under a promise to speak against it.
_CONTRADICTION_P = 0.001


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """What `audit` is asked to do.

    Attributes:
        scores: finished output of `score`.
        output: directory of the statistics; None for `_audit` inside the scores.
        labels_input: labelled rows: paths, globs or directories.
        label_column: holds the true labels.
        id_column: joins labels on the shards' `id`; None joins on source and row.
        format: of the labelled rows; None to go by the extensions.
    """

    scores: str
    output: str | None = None
    labels_input: tuple[str, ...] = ()
    label_column: str = "label"
    id_column: str | None = None
    format: FormatName | None = None


def run(config: AuditConfig) -> ExitStats:
    """Audit scores.

    Raises:
        FastBertJobsError: a mistake that the user can cure.
    """
    from functools import partial

    import pyarrow.parquet as pq

    from model.guarantee.calibrated_policy import CERTIFICATE
    from pipeline.contract.layout import OutputLayout
    from pipeline.contract.manifest import read_manifest
    from pipeline.results.exit_stats import EXIT_STATS_FILE, collect

    layout = OutputLayout(config.scores)
    # Before the work: a place that cannot be written is told at once where Beam does not know it.
    directory = OutputLayout(config.output or layout.audit_directory).directory
    manifest = read_manifest(layout, command="score")
    stats = collect(layout, manifest, _true_labels(config, manifest))
    _check_joined(config, stats)
    paths = [_write(directory, EXIT_STATS_FILE, partial(pq.write_table, stats.as_table()))]
    certificate = manifest.environment.get(CERTIFICATE)
    if certificate:
        plot = _speed_plot(certificate, stats)
        paths.append(_write(directory, SPEED_PLOT_FILE, lambda file: file.write(plot)))
    show(stats, manifest)
    stdout_console().print(f"wrote {', '.join(paths)}", markup=False, soft_wrap=True)
    return stats


def _true_labels(config: AuditConfig, manifest: Manifest) -> TrueLabels | None:
    from model.errors import ParameterError
    from pipeline.results.ground_truth import read_true_labels

    if not config.labels_input:
        return None
    if config.id_column is not None and manifest.description["columns"]["id"] is None:
        raise ParameterError(
            f"--id-column {config.id_column}: {config.scores!r} was scored without an id; "
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
    from model.errors import InputError

    if config.labels_input and stats.rows and not any(layer.labelled for layer in stats.layers):
        key = "id" if config.id_column else "path and row (else give --id-column)"
        raise InputError(
            f"--labels-input {', '.join(config.labels_input)}: no row of it was scored, going by {key}"
        )


def _speed_plot(certificate: dict[str, Any], stats: ExitStats) -> bytes:
    """Return the plot of speed-ups asked for and found, with this job's where it asked for one."""
    from jobs.terminal.speedup_plot import speed_plot

    asked = certificate["target_speedup"]
    job = None if asked is None else (asked, stats.saved_compute_speed_up)
    return speed_plot([tuple(pair) for pair in certificate["speed_curve"]], job=job)


def _write(directory: str, name: str, write: Callable[[Any], object]) -> str:
    """Write a file whole or not at all, and return its path."""
    from apache_beam.io.filesystems import FileSystems

    from model.errors import OutputError
    from pipeline.contract.storage import make_directory, write_atomically

    path = str(FileSystems.join(directory, name))
    try:
        make_directory(directory)
        write_atomically(path, write)
    except OSError as error:
        reason = " ".join(str(error).split())
        raise OutputError(f"{directory!r} cannot be written: {reason}; choose another --output") from error
    return path


def show(stats: ExitStats, manifest: Manifest) -> None:
    """Print exit statistics as a table and a few lines."""
    from model.guarantee.calibrated_policy import CERTIFICATE

    console, with_labels = stdout_console(), any(layer.labelled for layer in stats.layers)
    total_flops = max(sum(layer.flops for layer in stats.layers), 1)
    rows = []
    for number, layer in enumerate(stats.layers, start=1):
        if not layer.rows:
            continue
        most = int(layer.predictions.argmax())
        cells = [
            number,
            f"{layer.rows:,}",
            f"{layer.rows / stats.rows:.1%}",
            f"{layer.flops / total_flops:.1%}",
            f"{layer.uncertainty_sum / layer.rows:.3f}",
            f"{layer.quantile(0.5):.3f}",
            f"{layer.quantile(0.95):.3f}",
            f"{stats.labels[most]} {layer.predictions[most] / layer.rows:.0%}",
        ]
        if with_labels:
            cells.append(f"{layer.correct / layer.labelled:.2%}" if layer.labelled else "-")
        rows.append(cells)
    columns = ["exit layer", "rows", "share", "FLOPs", "uncertainty", "median", "p95", "most predicted"]
    title = f"{stats.rows:,} rows, {manifest.description['policy']}"
    console.print(table(title, columns + (["accuracy"] if with_labels else []), rows))
    console.print(
        f"mean exit layer {stats.mean_exit_layer:.2f} of {len(stats.layers)}; FLOPs speed-up "
        f"{stats.saved_compute_speed_up:.2f}x (real lengths, attention and branches counted), "
        f"{stats.paper_speed_up:.2f}x by the paper's count (128 tokens, linear layers only)",
        soft_wrap=True,
    )
    if certificate := manifest.environment.get(CERTIFICATE):
        _show_certificate(certificate, stats)
    _show_shares(stats)


def _show_certificate(certificate: dict[str, Any], stats: ExitStats) -> None:
    """Print what was promised, and what was expected against what came."""
    kind = "certified" if certificate["is_certified"] else "not certified"
    stdout_console().print(
        f"{kind} on {certificate['num_rows']:,} test rows, of which {certificate['num_wrong']:,} differ: "
        f"at most {certificate['wrong_bound']:.2%} at {certificate['confidence']:.0%}; saved compute "
        f"expected {certificate['speed_up']:.2f}x, found {stats.saved_compute_speed_up:.2f}x",
        soft_wrap=True,
    )
    _warn_if_contradicted(certificate, stats)


def _warn_if_contradicted(certificate: dict[str, Any], stats: ExitStats) -> None:
    """Say so if the shadow sample differs from full depth more often than a kept promise would let it."""
    from model.guarantee.binomial import p_value

    promised, agreement = certificate["max_disagreement"], stats.share("agreeing", "shadowed")
    if not certificate["is_certified"] or promised is None or agreement is None:
        return
    shadowed = sum(layer.shadowed for layer in stats.layers)
    differing = shadowed - sum(layer.agreeing for layer in stats.layers)
    if differing and 1 - p_value(differing - 1, shadowed, promised) < _CONTRADICTION_P:
        stdout_console().print(
            f"the certificate does not hold here: {differing:,} of {shadowed:,} shadow rows differ, more "
            f"than {promised:.2%}; these texts are not like the calibration's: calibrate with some of them",
            style="bold red",
            soft_wrap=True,
        )


def _show_shares(stats: ExitStats) -> None:
    console = stdout_console()
    accuracy = stats.share("correct", "labelled")
    if accuracy is not None:
        labelled = sum(layer.labelled for layer in stats.layers)
        console.print(f"accuracy {accuracy:.2%} on {labelled:,} labelled rows")
    agreement = stats.share("agreeing", "shadowed")
    if agreement is not None:
        shadowed = sum(layer.shadowed for layer in stats.layers)
        console.print(f"agreement with full depth {agreement:.2%} on a shadow sample of {shadowed:,} rows")
