"""What answers are worth against true labels."""

from jobs.report.audit_figures import confusion_figure
from jobs.report.content import Block, Section, Table, figures_of
from pipeline.results.audit.labelled import Labelled

# Confusion exit by exit: of more labels the tables tell enough.
_MOST_LABELS_BY_EXIT = 8


def labelled_section(labelled: Labelled) -> Section:
    """Return how rows whose label is known were answered: all of them, and exit by exit."""
    return Section(title="True labels", blocks=_labelled(labelled))


def _labelled(labelled: Labelled) -> tuple[Block, ...]:
    overall = labelled.overall
    names = [each.label for each in overall.by_label]
    figures = [confusion_figure(overall, which="All labelled rows")]
    if len(names) <= _MOST_LABELS_BY_EXIT:
        figures += [
            confusion_figure(rows, which=f"Those that left at exit {exit_layer}")
            for exit_layer, rows in labelled.by_exit.items()
        ]
    by_label = Table(
        columns=("label", "rows", "answered", "precision", "recall", "F1"),
        rows=tuple(
            (
                each.label,
                f"{each.num_true:,}",
                f"{each.num_predicted:,}",
                f"{each.precision:.2%}",
                f"{each.recall:.2%}",
                f"{each.f1:.3f}",
            )
            for each in overall.by_label
        ),
        caption=f"All exits: accuracy {overall.accuracy}, macro F1 {overall.macro_f1:.3f}",
    )
    by_exit = Table(
        columns=("exit layer", "rows", "accuracy", "macro F1", *(f"F1 {name}" for name in names)),
        rows=tuple(
            (
                exit_layer,
                f"{rows.accuracy.whole:,}",
                str(rows.accuracy),
                f"{rows.macro_f1:.3f}",
                *(f"{each.f1:.3f}" if each.num_true or each.num_predicted else "-" for each in rows.by_label),
            )
            for exit_layer, rows in labelled.by_exit.items()
        ),
        caption="Exit by exit",
    )
    return (*figures_of(figures), by_label, by_exit)
