"""Where a job's time went."""

from jobs.report.content import Block, Figure, Note, Section, Table, figures_of
from jobs.report.plots.bars import bars
from jobs.terminal.audit_summary import describe_times
from pipeline.results.audit.times import JobTimes


def times_section(times: JobTimes | None) -> Section:
    """Return what workers were at, and every layer's seconds.

    Args:
        times: of the job; None where nothing is known.
    """
    return Section(title="Where the time went", blocks=_times(times))


def _times(times: JobTimes | None) -> tuple[Block, ...]:
    if times is None:
        return (Note(text="Nothing is known: the runner of this job tells no times."),)
    parts = Table(
        columns=("workers were at", "seconds", "share"),
        rows=tuple((each.name, f"{each.seconds:,.2f}", f"{each.share:.1%}") for each in times.parts),
    )
    layers = Table(
        columns=("layer", "seconds", "its branch"),
        rows=tuple(
            (str(each.layer), f"{each.seconds:,.2f}", f"{each.branch_seconds:,.2f}") for each in times.layers
        ),
    )
    figures = figures_of([_parts_figure(times), _layers_figure(times) if times.layers else None])
    return (Note(text=f"{describe_times(times)}."), *figures, parts, *([layers] if times.layers else []))


def _parts_figure(times: JobTimes) -> Figure:
    return Figure(
        plot=bars(
            [each.name for each in times.parts],
            {"share of seconds": [each.share for each in times.parts]},
            y_label="share of the seconds", is_share=True, is_horizontal=True,
            description="What the workers were at, as shares of their seconds",
        ),
        caption="What the workers were at.",
    )  # fmt: skip


def _layers_figure(times: JobTimes) -> Figure:
    return Figure(
        plot=bars(
            [str(each.layer) for each in times.layers],
            {
                "layer": [each.seconds for each in times.layers],
                "its branch": [each.branch_seconds for each in times.layers],
            },
            x_label="layer", y_label="seconds", description="Seconds of every layer and of its branch",
        ),
        caption="Seconds of every layer and of the branch after it: fewer where rows have left.",
    )  # fmt: skip
