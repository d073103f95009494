"""How a fine-tuned classifier does, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from jobs.terminal.console import table

if TYPE_CHECKING:
    from model.training.finetuning.quality import Quality, QualityReport

# Of many labels the worst tell most.
_SHOWN_LABELS = 12


def describe_quality(quality: Quality) -> str:
    """Return a classifier's numbers in a line."""
    parts = [f"loss {quality.loss:.4f}"]
    if quality.accuracy is not None:
        parts.append(f"accuracy {quality.accuracy:.2%}")
    if quality.macro_f1 is not None:
        parts.append(f"macro F1 {quality.macro_f1:.4f}")
    if quality.spearman is not None:
        parts.append(f"Spearman {quality.spearman:.4f}")
    return ", ".join(parts)


def label_table(report: QualityReport) -> Table | None:
    """Return precision, recall and F1 of each label that rows have, of many the worst; None without."""
    held = [each for each in report.by_label if each.num_true or each.num_predicted]
    if not held:
        return None
    worst = sorted(held, key=lambda each: each.f1)[:_SHOWN_LABELS]
    shown = held if len(held) <= _SHOWN_LABELS else worst
    rows = [
        (
            each.label,
            f"{each.precision:.2%}",
            f"{each.recall:.2%}",
            f"{each.f1:.4f}",
            f"{each.num_true:,}",
            f"{each.num_predicted:,}",
        )
        for each in shown
    ]
    which = "" if shown is held else f", the {len(shown)} worst of {len(held)} labels"
    columns = ("label", "precision", "recall", "F1", "rows", "answers")
    return table(f"on {report.num_rows:,} rows{which}", columns, rows)
