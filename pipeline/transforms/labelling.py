"""The transform and the job that label a corpus."""

from collections.abc import Sequence
from functools import partial
from typing import Unpack

import apache_beam as beam
from apache_beam.pvalue import PBegin

from model.errors import ParameterError
from model.guarantee.unit import Unit
from pipeline.contract.columns import Columns
from pipeline.contract.manifest import LabelManifest
from pipeline.reading.inputs import inspect_inputs
from pipeline.reading.labelled_texts import ROWS_PER_ITEM
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.label_task import LabelTask
from pipeline.transforms.prepared_job import JobOptions, as_strings, prepare_job
from pipeline.transforms.write_shards import RunCorpusJob


class LabelOptions(JobOptions, total=False):
    """What else labelling takes; the defaults are those of the command.

    Attributes:
        max_length: tokens that a text is cut to; None for what the teacher takes, at most 512.
        calibration_fraction: share of the texts, drawn by hash, that training never sees; None for
            `default_calibration_fraction` of the corpus.
        promise_of: `texts` or `rows`, of which a promise is to be; with a group column it is of groups.
        teacher_training_input: paths, globs or directories of texts that the teacher was fine-tuned on, in
            columns of the same names; they calibrate nothing, nor do those that `finetune` left with it.
    """

    max_length: int | None
    calibration_fraction: float | None
    promise_of: str
    teacher_training_input: str | Sequence[str]


def label_job(
    *,
    input: str | Sequence[str],
    columns: Columns,
    teacher: str,
    output: str,
    max_length: int | None = None,
    calibration_fraction: float | None = None,
    promise_of: str = Unit.TEXTS,
    teacher_training_input: str | Sequence[str] = (),
    **options: Unpack[JobOptions],
) -> CorpusJob[LabelManifest]:
    """Return the job of labelling a corpus; see `LabelWithTeacher` for the arguments.

    Raises:
        FastBertJobsError: a mistake that the user can cure; nothing is written then.
    """
    patterns = as_strings(teacher_training_input)
    texts = Columns(text=columns.text, text_pair=columns.text_pair)
    prepare = partial(
        LabelTask.prepare,
        teacher,
        max_length=max_length,
        calibration_fraction=calibration_fraction,
        unit=unit_of(promise_of, columns.group),
        training_inputs=inspect_inputs(patterns, texts, rows_per_shard=ROWS_PER_ITEM) if patterns else None,
    )
    return prepare_job(
        lambda inputs, precision, device: prepare(inputs, precision=precision, device=device),
        input=input,
        columns=columns,
        output=output,
        **options,
    )


def unit_of(promise_of: str, group_column: str | None) -> Unit:
    """Return what splits are drawn by.

    Args:
        promise_of: `texts` or `rows`.
        group_column: says which rows belong together; None where nothing does.

    Raises:
        ParameterError: if `promise_of` is neither, or rows are asked for beside a group column.
    """
    if promise_of not in (Unit.TEXTS, Unit.ROWS):
        raise ParameterError(f"`promise_of` {promise_of!r} is neither texts nor rows")
    if group_column is None:
        return Unit(promise_of)
    if promise_of == Unit.ROWS:
        raise ParameterError(
            f"`promise_of` rows does not go with `group_column` {group_column}, by which a promise is of "
            "groups: leave one of them out"
        )
    return Unit.GROUPS


class LabelWithTeacher(beam.PTransform):
    """A corpus to a teacher's soft labels, as `fastbert-jobs label-teacher` makes them.

    At the root of a pipeline; shards, rejected rows and the manifest are written to `output`, and the
    manifest is returned, a PCollection of one `LabelManifest`.
    """

    def __init__(
        self,
        *,
        input: str | Sequence[str],
        text_column: str,
        teacher: str,
        output: str,
        text_pair_column: str | None = None,
        id_column: str | None = None,
        group_column: str | None = None,
        keep: str | Sequence[str] = (),
        **options: Unpack[LabelOptions],
    ) -> None:
        """Inspect the input and load the teacher; what is wrong with them is raised here.

        Args:
            input: paths, globs or directories; a single one may be given as it is.
            text_column: column to classify.
            teacher: directory or hub name of any sequence classifier.
            output: directory of the shards.
            text_pair_column: second text of a pair.
            id_column: passed through as `id`.
            group_column: rows of equal value are of one split, and a promise is of the texts, one of each
                group.
            keep: columns that are passed through, such as true labels for `distill`; a single one may be
                given as it is.
            options: see `LabelOptions` and `JobOptions`.

        Raises:
            FastBertJobsError: a mistake that the user can cure; nothing is written then.
        """
        super().__init__()
        columns = Columns(
            text=text_column,
            text_pair=text_pair_column,
            id=id_column,
            group=group_column,
            keep=as_strings(keep),
        )
        self._job = label_job(input=input, columns=columns, teacher=teacher, output=output, **options)

    def expand(self, begin: PBegin) -> beam.PCollection[LabelManifest]:
        """Claim the output directory, label what is not finished, and write the manifest."""
        return begin | "LabelCorpus" >> RunCorpusJob(self._job, LabelManifest)
