"""What a job's answers are worth against true labels: by label, and by where the rows left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.training.finetuning.label_quality import LabelQuality, judge_labels, macro_f1
from pipeline.results.audit.share import Share
from pipeline.results.exit_stats import Counts, ExitStats


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """Answers to rows whose true label is known.

    Attributes:
        accuracy: share of them that was answered right.
        macro_f1: the mean over labels that the rows hold, or are answered with.
        by_label: in the order of the logits.
        confusion: rows by their label (first) and their answer, in the order of the logits.
    """

    accuracy: Share
    macro_f1: float
    by_label: tuple[LabelQuality, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """All rows whose true label is known, and those that left at each exit.

    Attributes:
        overall: all of them.
        by_exit: by the number of the exit, where any left.
    """

    overall: LabelledRows
    by_exit: dict[str, LabelledRows]


def labelled_of(stats: ExitStats) -> Labelled | None:
    """Judge the answers; None where no true label is known."""
    known = {
        exit_layer: each.confusion for exit_layer, each in stats.exits.items() if each.confusion is not None
    }
    if not stats.num_labelled:
        return None
    return Labelled(
        overall=_judge(np.sum(list(known.values()), axis=0), stats.names),
        by_exit={
            str(exit_layer): _judge(confusion, stats.names)
            for exit_layer, confusion in known.items()
            if confusion.sum()
        },
    )


def _judge(confusion: Counts, labels: Sequence[str]) -> LabelledRows:
    hits = np.diag(confusion)
    by_label = judge_labels(hits, confusion.sum(axis=1), confusion.sum(axis=0), labels)
    return LabelledRows(
        accuracy=Share.of(int(hits.sum()), int(confusion.sum())),
        macro_f1=macro_f1(by_label),
        by_label=by_label,
        confusion=tuple(map(tuple, confusion.tolist())),
    )
