from dataclasses import replace

from jobs.report.audit.times import times_section
from jobs.report.content import Figures, Note, Table
from jobs.terminal.audit_summary import describe_times
from tests.pipeline.results.audit.audited_jobs import AuditedJob


def test_what_workers_were_at_stands_in_the_order_of_the_work(job: AuditedJob):
    assert job.report.times is not None
    note, figures, parts, layers = times_section(job.report.times).blocks
    assert isinstance(note, Note)
    assert isinstance(figures, Figures)
    assert note.text == f"{describe_times(job.report.times)}."
    assert len(figures.figures) == 2
    assert isinstance(parts, Table)
    assert isinstance(layers, Table)
    assert parts.rows == (
        ("reading", "1.00", "5.0%"),
        ("tokenizing", "2.00", "10.0%"),
        ("layers", "14.00", "70.0%"),
        ("branches", "2.00", "10.0%"),
        ("writing", "1.00", "5.0%"),
    )
    assert layers.rows[0] == ("1", "8.00", "2.00")


def test_it_is_told_in_a_line(job: AuditedJob):
    assert job.report.times is not None
    assert describe_times(job.report.times) == (
        "10.0 s for 2,001 rows, 200 rows/s; of the workers' 20.0 s reading 5%, tokenizing 10%, layers 70%, "
        "branches 10%, writing 5%"
    )
    again = replace(job.report.times, num_runs=3)
    assert describe_times(again).startswith("10.0 s in 3 runs for 2,001 rows")


def test_of_a_gpu_no_layers_are_told(job: AuditedJob):
    assert job.report.times is not None
    _, figures, parts = times_section(replace(job.report.times, layers=())).blocks
    assert isinstance(figures, Figures)
    assert isinstance(parts, Table)
    assert len(figures.figures) == 1


def test_what_is_not_known_is_said():
    (note,) = times_section(None).blocks
    assert isinstance(note, Note)
    assert "tells no times" in note.text
