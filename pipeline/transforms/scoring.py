"""The transform and the job that score a corpus."""

from collections.abc import Sequence
from typing import Protocol, Unpack

import apache_beam as beam
from apache_beam.pvalue import PBegin

from model.engine.execution import Device, Precision
from model.exits.policy import ExitPolicy
from model.guarantee.calibrated_policy import CalibratedPolicy
from pipeline.contract import defaults
from pipeline.contract.columns import Columns
from pipeline.contract.manifest import ScoreManifest
from pipeline.reading.inputs import Inputs
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.loaded_models import Holder
from pipeline.transforms.prepared_job import JobOptions, as_strings, prepare_job
from pipeline.transforms.score_task import Scorer, ScoreTask
from pipeline.transforms.write_shards import RunCorpusJob


class PolicyOfCorpus(Protocol):
    """A policy that depends on the files that are scored, as `CorpusPromise` does."""

    @property
    def saved_compute(self) -> float:
        """About what it will save."""

    def policy(self, inputs: Inputs) -> ExitPolicy:
        """Return the policy for these files."""


class ScoreOptions(JobOptions, total=False):
    """What else scoring takes; the defaults are those of the command.

    Attributes:
        decide: with `speed` or at full depth, cuts that answers are told by, as `spam>=0.9`, or `>=3` of a
            score; a policy has its own.
        tolerance: in place of cuts, by which two scores may differ.
        shadow_fraction: share of the texts, rows or groups that are also answered at full depth; None for
            that of `default_shadow_fraction`.
        shadow_rows: instead of `shadow_fraction`, about how many rows.
    """

    decide: Sequence[str]
    tolerance: float | None
    shadow_fraction: float | None
    shadow_rows: int | None


def score_job(
    *,
    input: str | Sequence[str],
    columns: Columns,
    model: str,
    output: str,
    policy: ExitPolicy | PolicyOfCorpus | None = None,
    speed: float | None = None,
    decide: Sequence[str] = (),
    tolerance: float | None = None,
    shadow_fraction: float | None = None,
    shadow_rows: int | None = None,
    **options: Unpack[JobOptions],
) -> CorpusJob[ScoreManifest]:
    """Return the job of scoring a corpus; see `ScoreWithEarlyExit` for the arguments.

    Raises:
        FastBertJobsError: a mistake that the user can cure; nothing is written then.
    """
    if options.get("rows_per_shard") is None:
        options["rows_per_shard"] = defaults.default_rows_per_shard(_expected_saving(policy))

    def prepare(
        inputs: Inputs, precision: Precision, device: Device
    ) -> tuple[ScoreTask, Holder[Scorer] | None]:
        return ScoreTask.prepare(
            model,
            inputs,
            policy=policy if policy is None or isinstance(policy, ExitPolicy) else policy.policy(inputs),
            speed=speed,
            decide=as_strings(decide),
            tolerance=tolerance,
            shadow_fraction=shadow_fraction,
            shadow_rows=shadow_rows,
            precision=precision,
            device=device,
        )

    return prepare_job(
        prepare,
        input=input,
        columns=columns,
        output=output,
        **options,
    )


def _expected_saving(policy: ExitPolicy | PolicyOfCorpus | None) -> float:
    if policy is None or isinstance(policy, ExitPolicy):
        return policy.saved_compute if isinstance(policy, CalibratedPolicy) else 1.0
    return policy.saved_compute


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
        policy: ExitPolicy | PolicyOfCorpus | None = None,
        speed: float | None = None,
        text_pair_column: str | None = None,
        id_column: str | None = None,
        keep: str | Sequence[str] = (),
        group_column: str | None = None,
        **options: Unpack[ScoreOptions],
    ) -> None:
        """Inspect the input and load the model; what is wrong with them is raised here.

        Args:
            input: paths, globs or directories; a single one may be given as it is.
            text_column: column to classify.
            model: directory or hub name of a FastBERT.
            output: directory of the shards.
            policy: when a text leaves: a `CorpusPromise`, which is of this corpus, or an `ExitPolicy`, of
                `Calibration.policy` or any other.
            speed: instead of `policy`, one threshold for all layers; 0 is full depth, as is neither.
            text_pair_column: second text of a pair.
            id_column: passed through as `id`.
            keep: columns passed through under their own names; a single one may be given as it is.
            group_column: rows of equal value are of the shadow sample all or none; not with a policy that was
                calibrated by rows.
            options: see `ScoreOptions` and `JobOptions`.

        Raises:
            FastBertJobsError: a mistake that the user can cure; nothing is written then.
        """
        super().__init__()
        columns = Columns(
            text=text_column,
            text_pair=text_pair_column,
            id=id_column,
            keep=as_strings(keep),
            group=group_column,
        )
        self._job = score_job(
            input=input, columns=columns, model=model, output=output, policy=policy, speed=speed, **options
        )

    def expand(self, begin: PBegin) -> beam.PCollection[ScoreManifest]:
        """Claim the output directory, score what is not finished, and write the manifest."""
        return begin | "ScoreCorpus" >> RunCorpusJob(self._job, ScoreManifest)
