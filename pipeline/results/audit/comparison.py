"""Two jobs side by side, and the rows that both scored and answered differently."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.answers.rule import AnswerRule
from model.answers.task import Task
from model.errors import ParameterError
from pipeline.contract import schema
from pipeline.contract.answer_fields import answer_names
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import ScoreManifest
from pipeline.contract.shards import read_shard
from pipeline.results.audit.examples import ExampleRow, read_rows
from pipeline.results.audit.report import AuditReport
from pipeline.results.audit.share import Share
from pipeline.results.example_finder import RowPlace
from pipeline.results.read_answers import read_calls

_EXAMPLES = 20
_CHANGES = 20


@dataclass(frozen=True, kw_only=True)
class FinishedJob:
    """A job to compare.

    Attributes:
        layout: its directory.
        manifest: of it.
        report: what is said of it.
    """

    layout: OutputLayout
    manifest: ScoreManifest
    report: AuditReport


@dataclass(frozen=True, kw_only=True)
class Change:
    """Rows that one job called something, and the other something else.

    Attributes:
        before: what the first job calls them.
        after: what the other does.
        rows: so many.
    """

    before: str
    after: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class ChangedRow:
    """A row that was answered differently.

    Attributes:
        before: as the first job has it.
        after: as the other does.
    """

    before: ExampleRow
    after: ExampleRow


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two jobs.

    Attributes:
        other: what is said of the other job.
        changed: of the rows that both scored, those that were answered differently.
        changes: what became what, the most frequent first; of models that answer with one label.
        examples: the first of these rows.
    """

    other: AuditReport
    changed: Share
    changes: tuple[Change, ...]
    examples: tuple[ChangedRow, ...]


@dataclass(frozen=True, kw_only=True)
class _SourceRows:
    """The rows of one input file: their numbers, answers, and where they stand."""

    numbers: npt.NDArray[np.int64]
    answers: npt.NDArray[np.generic]
    shards: list[int]
    firsts: list[int]

    def place(self, index: int) -> RowPlace:
        which = int(np.searchsorted(self.firsts, index, side="right")) - 1
        return RowPlace(self.shards[which], index - self.firsts[which])


def compare_jobs(one: FinishedJob, other: FinishedJob) -> Comparison:
    """Compare the answers to rows that both jobs scored, told by file and row; one file at a time.

    Raises:
        ParameterError: if their answers cannot be compared.
        ArtifactError: if a shard is damaged.
    """
    rule, names = _common(one, other)
    changes: Counter[tuple[int, int]] = Counter()
    num_common, num_changed = 0, 0
    places: list[tuple[RowPlace, RowPlace]] = []
    theirs = _shards_by_source(other)
    for source, shards in _shards_by_source(one).items():
        if source not in theirs:
            continue
        ours, others = _rows(one, shards), _rows(other, theirs[source])
        at, at_other = _matched(ours.numbers, others.numbers)
        before, after = ours.answers[at], others.answers[at_other]
        differs = _differs(before, after, rule)
        num_common += len(at)
        num_changed += int(differs.sum())
        if rule.calls_one_label:
            changed = before[differs, 0].astype(np.int64) * len(names) + after[differs, 0]
            cells, rows = np.unique(changed, return_counts=True)
            for cell, count in zip(cells.tolist(), rows.tolist(), strict=True):
                changes[divmod(cell, len(names))] += count
        for index in np.flatnonzero(differs)[: _EXAMPLES - len(places)].tolist():
            places.append((ours.place(int(at[index])), others.place(int(at_other[index]))))
    read = [
        read_rows(job.layout, job.manifest, [pair[side] for pair in places])
        for side, job in enumerate((one, other))
    ]
    return Comparison(
        other=other.report,
        changed=Share.of(num_changed, num_common),
        changes=tuple(
            Change(before=names[before], after=names[after], rows=rows)
            for (before, after), rows in changes.most_common(_CHANGES)
        ),
        examples=tuple(ChangedRow(before=read[0][first], after=read[1][second]) for first, second in places),
    )


def _common(one: FinishedJob, other: FinishedJob) -> tuple[AnswerRule, tuple[str, ...]]:
    """Return the rule and the labels of both jobs."""
    rule, labels = one.manifest.settings.answer, one.manifest.labels
    if rule != other.manifest.settings.answer or labels != other.manifest.labels:
        raise ParameterError(
            f"the answers of {one.layout.directory!r} ({rule}, {len(labels)} labels) and of "
            f"{other.layout.directory!r} ({other.manifest.settings.answer}, {len(other.manifest.labels)} "
            "labels) are not of one kind: audit them one by one"
        )
    return rule, labels


def _shards_by_source(job: FinishedJob) -> dict[str, list[int]]:
    """Return the numbers of the shards that hold rows of each input file: a shard holds one file's."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for number, shard in enumerate(job.manifest.shards):
        if shard.rows:
            first = next(iter(read_shard(job.layout, shard.name, columns=[schema.SOURCE], batch_rows=1)))
            found[first[schema.SOURCE][0].as_py()].append(number)
    return found


def _rows(job: FinishedJob, shards: list[int]) -> _SourceRows:
    numbers, answers, firsts = [], [], [0]
    rule, labels = job.manifest.settings.answer, job.manifest.labels
    for shard in shards:
        held = 0
        for batch_numbers, batch_answers in _answers(job, shard, rule, labels):
            numbers.append(batch_numbers)
            answers.append(batch_answers)
            held += len(batch_numbers)
        firsts.append(firsts[-1] + held)
    return _SourceRows(
        numbers=np.concatenate(numbers), answers=np.concatenate(answers), shards=shards, firsts=firsts[:-1]
    )


def _answers(
    job: FinishedJob, shard: int, rule: AnswerRule, labels: tuple[str, ...]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.generic]]]:
    """Yield the rows of a shard, and their answers as few bytes each, (rows, width)."""
    columns = [schema.ROW, *answer_names(rule)]
    for batch in read_shard(job.layout, job.manifest.shard_names[shard], columns=columns):
        if rule.task is Task.SCORE and not rule.cuts:
            answers = batch[schema.SCORE].to_numpy()[:, None]
        else:
            called = read_calls(batch, rule, labels)
            answers = (
                called.argmax(axis=1).astype(np.int32)[:, None]
                if rule.calls_one_label
                else np.packbits(called, axis=1)
            )
        yield batch[schema.ROW].to_numpy(), answers


def _matched(
    one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where the rows that are in both stand in each."""
    if np.array_equal(one, other):
        everywhere = np.arange(len(one))
        return everywhere, everywhere
    _, at, at_other = np.intersect1d(one, other, assume_unique=True, return_indices=True)
    return at, at_other


def _differs(
    before: npt.NDArray[np.generic], after: npt.NDArray[np.generic], rule: AnswerRule
) -> npt.NDArray[np.bool_]:
    if rule.task is Task.SCORE and not rule.cuts:
        apart = np.abs(before[:, 0].astype(np.float32) - after[:, 0].astype(np.float32))
        differs: npt.NDArray[np.bool_] = ~(apart <= np.float32(rule.tolerance or 0.0))
        return differs
    return np.asarray((before != after).any(axis=1))
