"""A corpus job made ready: its input inspected, its model loaded, nothing written."""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from model.checks import check_fraction
from model.engine.execution import Device, Precision
from model.engine.openmp import torch_threads as threads_of_torch
from pipeline.contract import defaults
from pipeline.contract.columns import Columns
from pipeline.reading.input_files import check_reads_no_output
from pipeline.reading.inputs import Inputs, inspect_inputs
from pipeline.transforms.corpus_job import CorpusJob, JobPart, ManifestType
from pipeline.transforms.loaded_models import Holder
from pipeline.transforms.row_task import RowTask


class JobOptions(TypedDict, total=False):
    """What every corpus job takes besides its input and its model; the defaults are those of the commands.

    Attributes:
        rows_per_shard: most rows of a shard; None for 10,000, or what the job chooses.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        device: `auto`, `cpu` or `cuda`, of those who will do the work: this machine need not have it.
        format: of the input; None to go by the extensions.
        max_rejected: largest share of rows that may be rejected.
        overwrite: whether another job's output may be deleted.
        verify: whether shards that are finished already are read from end to end, and made again where they
            are not what was written.
        torch_threads: threads of a process; None leaves torch's own choice.
        part: what is done of a job that was planned, whose input files are not looked at again; None for all.
    """

    rows_per_shard: int | None
    precision: str
    device: str
    format: str | None
    max_rejected: float
    overwrite: bool
    verify: bool
    torch_threads: int | None
    part: JobPart | None


def prepare_job(
    prepare: Callable[[Inputs, Precision, Device], tuple[RowTask[Any, ManifestType], Holder[Any] | None]],
    *,
    input: str | Sequence[str],
    columns: Columns,
    output: str,
    rows_per_shard: int | None = None,
    precision: str = "auto",
    device: str = "auto",
    format: str | None = None,
    max_rejected: float = 1.0,
    overwrite: bool = False,
    verify: bool = False,
    torch_threads: int | None = None,
    part: JobPart | None = None,
) -> CorpusJob[ManifestType]:
    """Return a job over some files; nothing is written yet.

    Args:
        prepare: takes the inspected files, the number format and the device; returns what is done with
            their rows, and the model, loaded, where this machine has the device.
        input: paths, globs or directories; a single one may be given as it is.
        columns: what is read of the input.
        output: directory of the shards.
        rows_per_shard: see `JobOptions`, as for all that follow.
        precision: likewise.
        device: likewise.
        format: likewise.
        max_rejected: likewise.
        overwrite: likewise.
        verify: likewise.
        torch_threads: likewise.
        part: likewise.

    Raises:
        FastBertJobsError: a mistake that the user can cure.
    """
    check_fraction("max_rejected", max_rejected)
    if rows_per_shard is None:
        rows_per_shard = defaults.ROWS_PER_SHARD
    if part is None:
        check_reads_no_output(as_strings(input), output)
        inputs = inspect_inputs(as_strings(input), columns, rows_per_shard=rows_per_shard, format=format)
    else:
        inputs = part.inputs
    # The workers of this process get the model that is loaded here.
    with threads_of_torch(torch_threads):
        task, holder = prepare(inputs, Precision.parse(precision), Device.parse(device))
    return CorpusJob(
        task=task,
        inputs=inputs,
        output=output,
        overwrite=overwrite,
        verify=verify,
        max_rejected=max_rejected,
        torch_threads=torch_threads,
        part=part,
        holder=holder,
    )


def as_strings(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return strings of which a user may give a single one as it is.

    >>> as_strings("rows.tsv")
    ('rows.tsv',)
    """
    return (given,) if isinstance(given, str) else tuple(given)
