"""The transform and the job that score a corpus."""

from collections.abc import Sequence
from typing import TypedDict, Unpack

import apache_beam as beam
from apache_beam.pvalue import PBegin

from model.checks import check_fraction
from model.engine.execution import Precision
from model.exits.policy import ExitPolicy
from pipeline.contract import defaults
from pipeline.contract.columns import Columns
from pipeline.contract.manifest import ScoreManifest
from pipeline.reading.inputs import inspect_inputs
from pipeline.transforms.corpus_job import CorpusJob, as_strings
from pipeline.transforms.score_task import ScoreTask
from pipeline.transforms.write_shards import RunCorpusJob


class ScoreOptions(TypedDict, total=False):
    """What else scoring takes; the defaults are those of the command.

    Attributes:
        rows_per_shard: most rows of a shard.
        shadow_fraction: share of the texts that are also answered at full depth.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        format: of the input; None to go by the extensions.
        max_rejected: largest share of rows that may be rejected.
        overwrite: whether another job's output may be deleted.
        torch_threads: threads of a process; None leaves torch's own choice.
    """

    rows_per_shard: int
    shadow_fraction: float
    precision: str
    format: str | None
    max_rejected: float
    overwrite: bool
    torch_threads: int | None


def score_job(
    *,
    input: str | Sequence[str],
    columns: Columns,
    model: str,
    output: str,
    policy: ExitPolicy | None = None,
    speed: float | None = None,
    rows_per_shard: int = defaults.ROWS_PER_SHARD,
    shadow_fraction: float = defaults.SHADOW_FRACTION,
    precision: str = "auto",
    format: str | None = None,
    max_rejected: float = 1.0,
    overwrite: bool = False,
    torch_threads: int | None = None,
) -> CorpusJob[ScoreManifest]:
    """Return the job of scoring a corpus; see `ScoreWithEarlyExit` for the arguments.

    Raises:
        FastBertJobsError: a mistake that the user can cure; nothing is written then.
    """
    check_fraction("max_rejected", max_rejected)
    inputs = inspect_inputs(as_strings(input), columns, rows_per_shard=rows_per_shard, format=format)
    task, holder = ScoreTask.prepare(
        model,
        inputs,
        policy=policy,
        speed=speed,
        shadow_fraction=shadow_fraction,
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


class ScoreWithEarlyExit(beam.PTransform):
    """A corpus to predictions, as `fastbert-jobs score` makes them.

    At the root of a pipeline; shards, rejected rows and the manifest are written to `output`, which `audit`
    then accepts, and the manifest is returned, a PCollection of one `ScoreManifest`.
    """

    def __init__(
        self,
        *,
        input: str | Sequence[str],
        text_column: str,
        model: str,
        output: str,
        policy: ExitPolicy | None = None,
        speed: float | None = None,
        text_pair_column: str | None = None,
        id_column: str | None = None,
        keep: str | Sequence[str] = (),
        **options: Unpack[ScoreOptions],
    ) -> None:
        """Inspect the input and load the model; what is wrong with them is raised here.

        Args:
            input: paths, globs or directories; a single one may be given as it is.
            text_column: column to classify.
            model: directory or hub name of a FastBERT.
            output: directory of the shards.
            policy: when a text leaves; of `Calibration.policy`, or any other.
            speed: instead of `policy`, one threshold for all layers; 0 is full depth, as is neither.
            text_pair_column: second text of a pair.
            id_column: passed through as `id`.
            keep: columns passed through under their own names; a single one may be given as it is.
            options: see `ScoreOptions`.

        Raises:
            FastBertJobsError: a mistake that the user can cure; nothing is written then.
        """
        super().__init__()
        columns = Columns(text=text_column, text_pair=text_pair_column, id=id_column, keep=as_strings(keep))
        self._job = score_job(
            input=input, columns=columns, model=model, output=output, policy=policy, speed=speed, **options
        )

    def expand(self, begin: PBegin) -> beam.PCollection[ScoreManifest]:
        """Claim the output directory, score what is not finished, and write the manifest."""
        return begin | "ScoreCorpus" >> RunCorpusJob(self._job, ScoreManifest)
