"""What is seen of a scored job."""

from collections.abc import Sequence

import numpy as np

from jobs.report.content import Figure
from jobs.report.plots.agreement_bins import AgreementBins
from jobs.report.plots.bars import bars
from jobs.report.plots.heat_map import heat_map
from jobs.report.plots.histograms import histograms
from jobs.report.plots.intervals import Interval, intervals
from jobs.report.plots.lines import Line, lines
from jobs.report.plots.luha import luha
from model.guarantee.drift import FeatureDrift
from model.guarantee.histogram import Histogram
from model.guarantee.policy_reference import CURVE_BINS, Feature, PolicyReference
from pipeline.results.audit.agreement import Part
from pipeline.results.audit.labelled import LabelledRows
from pipeline.results.audit.report import AuditReport, ExitFigures, LengthBin

_EDGES = np.linspace(0, 1, CURVE_BINS + 1).tolist()
# More labels make a plot that nobody reads; the tables have them all.
_MOST_NAMED = 30


def exits_figure(exits: Sequence[ExitFigures]) -> Figure:
    """Return rows and cost by exit."""
    rows = max(sum(each.rows for each in exits), 1)
    return Figure(
        plot=bars(
            [str(each.exit_layer) for each in exits],
            {
                "share of rows": [each.rows / rows for each in exits],
                "share of FLOPs": [each.flops_share for each in exits],
            },
            x_label="exit layer", y_label="share", is_share=True,
            description="Share of rows that left at each exit, and of the FLOPs that these took",
        ),
        caption="Where rows left, and what those that left there cost, all that they ran through counted.",
    )  # fmt: skip


def uncertainty_figure(exits: Sequence[ExitFigures], *, length_exponent: float) -> Figure:
    """Return the spread of uncertainty at each exit, thresholds drawn in."""
    drawn = [
        Interval(
            name=str(each.exit_layer),
            value=each.quantiles[2],
            low=each.quantiles[0],
            high=each.quantiles[4],
            mark=_threshold(each, length_exponent),
        )
        for each in exits
        if each.rows
    ]
    scaled = ", of a text of the mean length of those that left there" if length_exponent else ""
    return Figure(
        plot=intervals(
            drawn, x_label="exit layer", y_label="uncertainty", mark_name="threshold",
            description="Uncertainty of what left at each exit: median, 5 and 95 %, and the threshold",
        ),
        caption=f"Median of the uncertainty where rows left, and what 5 and 95 % of them do not exceed. A "
        f"row leaves below the threshold{scaled}; the last layer has none.",
    )  # fmt: skip


def _threshold(here: ExitFigures, length_exponent: float) -> float | None:
    if not here.threshold or here.mean_tokens is None:
        return None
    threshold = here.threshold * here.mean_tokens**length_exponent
    # Of one that lets all leave nothing is to be seen.
    return threshold if threshold <= 1 else None


def uncertainty_histogram(exits: Sequence[ExitFigures]) -> Figure:
    """Return the rows by their uncertainty, on each other by exit."""
    return Figure(
        plot=histograms(
            _EDGES,
            {f"exit {each.exit_layer}": each.uncertainty for each in exits if each.rows},
            x_label="uncertainty", is_stacked=True, is_ordered=True,
            description="Rows by their uncertainty where they left, on each other by exit",
        ),
        caption="All rows of the job, by their uncertainty where they left.",
    )  # fmt: skip


def luha_figure(reference: PolicyReference) -> Figure:
    """Return agreement by uncertainty of every exit, on the calibration's test rows."""
    centres = (np.arange(CURVE_BINS) + 0.5) / CURVE_BINS
    by_exit = {}
    for curve in reference.curves[:-1]:
        rows = np.array(curve.rows)
        places = np.flatnonzero(rows)
        by_exit[f"exit {curve.exit_layer}"] = AgreementBins(
            mean=centres[places],
            agreement=np.array(curve.agreeing)[places] / rows[places],
            num_rows=rows[places],
            places=places,
        )
    return Figure(
        plot=luha(by_exit, description="Agreement with full depth by uncertainty, a line an exit"),
        caption="Lower uncertainty, higher accuracy: on the calibration's test rows, whichever exit they "
        "take.",
    )


def speeds_figures(reference: PolicyReference) -> tuple[Figure, ...]:
    """Return where the calibration's test rows leave at several of the paper's speeds, and how unsure."""
    by_speed = {f"speed {each.speed:g}": each for each in reference.speeds}
    names = [str(layer + 1) for layer in range(len(reference.speeds[0].exits))]
    return (
        Figure(
            plot=bars(
                names,
                {name: _shares(each.exits) for name, each in by_speed.items()},
                x_label="exit layer", y_label="share of test rows", is_share=True,
                description="Where test rows leave at several speeds",
            ),
            caption="Where the calibration's test rows would leave with --speed, one threshold for all.",
        ),
        Figure(
            plot=histograms(
                _EDGES,
                {name: _shares(each.uncertainty) for name, each in by_speed.items()},
                x_label="uncertainty", y_label="share of test rows", is_share=True,
                description="Uncertainty of test rows where they leave at several speeds",
            ),
            caption="And how unsure they would be there.",
        ),
    )  # fmt: skip


def _shares(counts: Sequence[int]) -> list[float]:
    total = max(sum(counts), 1)
    return [count / total for count in counts]


def agreement_figure(parts: Sequence[Part], *, by: str, promised: float | None) -> Figure | None:
    """Return agreement of some parts of the shadow sample, with exact intervals; None of too many parts.

    Args:
        parts: of the sample.
        by: what they are told apart by.
        promised: least agreement that was promised of all of them together; None for none.
    """
    if not parts or len(parts) > _MOST_NAMED:
        return None
    drawn = [
        Interval(
            name=part.name,
            value=part.agreement.value or 0.0,
            low=part.agreement.low,
            high=part.agreement.high,
        )
        for part in parts
    ]
    return Figure(
        plot=intervals(
            drawn, x_label=by, y_label="agreement with full depth", is_share=True, limit=promised,
            limit_name="promised of all", description=f"Agreement with full depth by {by}",
        ),
        caption=f"By {by}: {sum(part.agreement.whole for part in parts):,} texts of the shadow sample, exact "
        "intervals at 95%.",
    )  # fmt: skip


def confusion_figure(rows: LabelledRows, *, which: str) -> Figure | None:
    """Return the confusion of answers; None of too many labels."""
    names = [each.label for each in rows.by_label]
    if len(names) > _MOST_NAMED:
        return None
    return Figure(
        plot=heat_map(
            rows.confusion, row_names=names, column_names=names, row_label="true label",
            column_label="answer", description=f"{which}: true labels and answers",
        ),
        caption=f"{which}: {rows.accuracy.whole:,} rows; a cell is shaded by its share of its row.",
    )  # fmt: skip


def drift_figure(drift: FeatureDrift, names: Sequence[str]) -> Figure | None:
    """Return how the calibration and the job are spread over one feature; None where there is one bin.

    Args:
        drift: of the feature.
        names: what a text may be called.
    """
    bins = _bin_names(drift.feature, drift.calibration, names)
    if not 1 < len(bins) <= _MOST_NAMED:
        return None
    return Figure(
        plot=bars(
            bins,
            {
                "calibration": _shares(drift.calibration.counts),
                "this job": _shares(drift.job.counts),
            },
            x_label=drift.feature, y_label="share", is_share=True,
            is_horizontal=drift.feature is not Feature.EXIT,
            description=f"{drift.feature} in the calibration and in this job",
        ),
        caption=f"{drift.feature}: stability index {drift.index:.3f}, "
        f"{'drifted' if drift.is_drifted else 'not drifted'}.",
    )  # fmt: skip


def _bin_names(feature: Feature, histogram: Histogram, names: Sequence[str]) -> list[str]:
    edges = histogram.edges
    if feature is Feature.EXIT:
        return [str(place) for place in range(len(edges) + 1)]
    if feature is Feature.ANSWER:
        is_labels = len(names) == len(edges) + 1
        return list(names) if is_labels else [f"{place} of them" for place in range(len(edges) + 1)]
    if feature is Feature.FIRST_EXIT:
        return [*(f"to {edge:.2g}" for edge in edges), "more"]
    if feature is Feature.UNKNOWN:
        return ["none", *(f"to {edge:.0%}" for edge in edges[1:]), "more"]
    return [*(f"below {edge:.0f}" for edge in edges), f"{edges[-1]:.0f} and more"] if edges else []


def lengths_figure(lengths: Sequence[LengthBin]) -> Figure:
    """Return the rows by their tokens."""
    edges = [float(each.first) for each in lengths] + [float(lengths[-1].last + 1)]
    return Figure(
        plot=histograms(
            edges, {"rows": [each.rows for each in lengths]}, x_label="tokens",
            description="Rows by their tokens",
        ),
        caption="All rows of the job, by their tokens.",
    )  # fmt: skip


def speedup_figure(report: AuditReport, curve: Sequence[tuple[float, float]]) -> Figure | None:
    """Return saved compute asked for and found, with this job's; None where none was asked for."""
    if report.savings.asked is None or not curve:
        return None
    asked, found = zip(*curve, strict=True)
    drawn = [
        Line(name="test rows of the calibration", x=asked, y=found),
        Line(name="this job", x=[report.savings.asked], y=[report.savings.found]),
    ]
    return Figure(
        plot=lines(
            drawn, x_label="--target-speedup", y_label="saved compute found", diagonal=True,
            description="Saved compute asked for and found, of the calibration and of this job",
        ),
        caption="On the dashed line what was asked for is found.",
    )  # fmt: skip


def comparison_figures(one: AuditReport, other: AuditReport) -> list[Figure | None]:
    """Return where the rows of two jobs left, and what they were called."""
    both = {"first": one, "other": other}
    exits = sorted({each.exit_layer for report in both.values() for each in report.exits})
    left = {
        name: _shares([_rows_at(report, exit_layer) for exit_layer in exits]) for name, report in both.items()
    }
    names = list(one.exits[0].called)
    drawn: list[Figure | None] = [
        Figure(
            plot=bars(
                list(map(str, exits)), left, x_label="exit layer", y_label="share of rows", is_share=True,
                description="Where the rows of both jobs left",
            ),
            caption="Where the rows of both jobs left.",
        )
    ]  # fmt: skip
    if 0 < len(names) <= _MOST_NAMED:
        called = {
            name: [
                sum(each.called[label] for each in report.exits) / max(report.job.rows, 1) for label in names
            ]
            for name, report in both.items()
        }
        drawn.append(
            Figure(
                plot=bars(
                    names, called, x_label="answer", y_label="share of rows", is_share=True,
                    is_horizontal=True, description="What the rows of both jobs are called",
                ),
                caption="What the rows of both jobs are called.",
            )
        )  # fmt: skip
    return drawn


def _rows_at(report: AuditReport, exit_layer: int) -> int:
    return sum(each.rows for each in report.exits if each.exit_layer == exit_layer)
