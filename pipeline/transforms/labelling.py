"""The transform and the job that label a corpus."""

from collections.abc import Sequence
from typing import TypedDict, Unpack

import apache_beam as beam
from apache_beam.pvalue import PBegin

from model.checks import check_fraction
from model.engine.execution import Precision
from pipeline.contract import defaults
from pipeline.contract.columns import Columns
from pipeline.contract.manifest import LabelManifest
from pipeline.reading.inputs import inspect_inputs
from pipeline.transforms.corpus_job import CorpusJob, as_strings
from pipeline.transforms.label_task import LabelTask
from pipeline.transforms.write_shards import RunCorpusJob


class LabelOptions(TypedDict, total=False):
    """What else labelling takes; the defaults are those of the command.

    Attributes:
        rows_per_shard: most rows of a shard.
        max_length: tokens that a text is cut to; None for what the teacher takes, at most 512.
        calibration_fraction: share of the texts, drawn by hash, that training never sees.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        format: of the input; None to go by the extensions.
        max_rejected: largest share of rows that may be rejected.
        overwrite: whether another job's output may be deleted.
        torch_threads: threads of a process; None leaves torch's own choice.
    """

    rows_per_shard: int
    max_length: int | None
    calibration_fraction: float
    precision: str
    format: str | None
    max_rejected: float
    overwrite: bool
    torch_threads: int | None


def label_job(
    *,
    input: str | Sequence[str],
    columns: Columns,
    teacher: str,
    output: str,
    rows_per_shard: int = defaults.ROWS_PER_SHARD,
    max_length: int | None = None,
    calibration_fraction: float = defaults.CALIBRATION_FRACTION,
    precision: str = "auto",
    format: str | None = None,
    max_rejected: float = 1.0,
    overwrite: bool = False,
    torch_threads: int | None = None,
) -> CorpusJob[LabelManifest]:
    """Return the job of labelling a corpus; see `LabelWithTeacher` for the arguments.

    Raises:
        FastBertJobsError: a mistake that the user can cure; nothing is written then.
    """
    check_fraction("max_rejected", max_rejected)
    inputs = inspect_inputs(as_strings(input), columns, rows_per_shard=rows_per_shard, format=format)
    task, holder = LabelTask.prepare(
        teacher,
        inputs,
        max_length=max_length,
        calibration_fraction=calibration_fraction,
        precision=Precision.parse(precision),
    )
    return CorpusJob(
        task=task,
        inputs=inputs,
        output=output,
        overwrite=overwrite,
        max_rejected=max_rejected,
        torch_threads=torch_threads,
        holder=holder,
    )


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
            options: see `LabelOptions`.

        Raises:
            FastBertJobsError: a mistake that the user can cure; nothing is written then.
        """
        super().__init__()
        columns = Columns(text=text_column, text_pair=text_pair_column, id=id_column)
        self._job = label_job(input=input, columns=columns, teacher=teacher, output=output, **options)

    def expand(self, begin: PBegin) -> beam.PCollection[LabelManifest]:
        """Claim the output directory, label what is not finished, and write the manifest."""
        return begin | "LabelCorpus" >> RunCorpusJob(self._job, LabelManifest)
