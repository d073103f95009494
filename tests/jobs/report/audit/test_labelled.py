import numpy as np
import pytest

from jobs.report.audit.labelled import labelled_section
from jobs.report.content import Figures
from model.training.finetuning.label_quality import judge_labels, macro_f1
from pipeline.results.audit.labelled import Labelled, LabelledRows
from pipeline.results.audit.share import Share
from tests.pipeline.results.audit.audited_jobs import AuditedJob


def rows_of(num_labels: int) -> LabelledRows:
    """Ten rows of each label but the last, all answered right."""
    confusion = np.diag([10] * (num_labels - 1) + [0])
    counts = confusion.sum(axis=0)
    by_label = judge_labels(counts, counts, counts, [f"label {place}" for place in range(num_labels)])
    return LabelledRows(
        accuracy=Share.of(int(counts.sum()), int(counts.sum())),
        macro_f1=macro_f1(by_label),
        by_label=by_label,
        confusion=tuple(map(tuple, confusion.tolist())),
    )


@pytest.mark.parametrize(("num_labels", "num_figures"), [(8, 3), (9, 1)])
def test_of_many_labels_the_confusion_is_told_of_all_rows_alone(num_labels: int, num_figures: int):
    rows = rows_of(num_labels)
    section = labelled_section(Labelled(overall=rows, by_exit={"1": rows, "2": rows}))
    (figures,) = [block for block in section.blocks if isinstance(block, Figures)]
    assert len(figures.figures) == num_figures
    _, by_label, by_exit = section.blocks
    assert len(by_label.rows) == num_labels
    # A label that no row has, and none is answered with, has no F1.
    assert by_exit.rows[0][-1] == "-"


def test_each_exit_is_judged(job: AuditedJob):
    labelled = job.report.labelled
    *_, by_exit = labelled_section(labelled).blocks
    assert [row[0] for row in by_exit.rows] == list(labelled.by_exit)
    assert [row[2] for row in by_exit.rows] == [str(each.accuracy) for each in labelled.by_exit.values()]
