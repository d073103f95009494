"""Claiming an output directory for a job, and finishing it.

A rerun of the same job goes on where the last one stopped; another job on the same directory is refused.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from model.errors import OutputError
from model.version import NUMERICS_VERSION
from pipeline.contract.finished_shards import side_by_side, sound_shards
from pipeline.contract.job import JobDescription, differences
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import (
    NOT_FINITE,
    REJECTED,
    ROWS,
    AnyManifest,
    ShardEntry,
    listed_shards,
    sum_counts,
)
from pipeline.contract.plan import Plan, WorkItem
from pipeline.contract.shards import Counts, read_footer
from pipeline.contract.storage import (
    check_output_directory,
    delete_directory,
    delete_files,
    exists,
    make_directory,
    read_json,
    write_json,
)
from pipeline.contract.typed_json import write_typed
from pipeline.contract.worker_errors import forget_worker_errors


def claim_output(
    layout: OutputLayout, job: JobDescription, *, overwrite: bool, versions: str = "", verify: bool = False
) -> set[str]:
    """Claim an output directory, and return the names of the shards that are finished already.

    Shards that were made with other library versions, that are not what the manifest lists, or that lack
    their rejected rows are removed, to be made again; and a manifest that lists other shards than the
    finished ones, for until they are made the job is not finished.

    Args:
        layout: the output directory.
        job: what is to run there.
        overwrite: whether our own output there, of whatever job, is deleted.
        versions: of the libraries, as the shards' metadata have them.
        verify: whether finished shards and rejected rows are read from end to end, and made again where
            they are not what was written.

    Raises:
        OutputError: if the directory holds another job's output, something that is not ours, or an input of
            this job that would be deleted; or if it cannot be written.
    """
    check_output_directory(layout.directory)
    if check_claim(layout, job, overwrite=overwrite):
        layout.delete()
    try:
        make_directory(layout.directory)
        forget_worker_errors(layout)
        # What is there already is this job's, but may be spelt otherwise.
        if verify or not exists(layout.job):
            write_json(layout.job, job.as_json())
    except OSError as error:
        raise OutputError(f"{layout.directory!r} cannot be written: {error}") from error
    listed = listed_shards(layout)
    names = layout.finished_shards()
    finished = _finished_shards(layout, job, names, versions, listed or {}, verify=verify)
    if listed is None or set(listed) != finished:
        delete_files([layout.manifest])
    return finished


def check_claim(layout: OutputLayout, job: JobDescription, *, overwrite: bool) -> bool:
    """Refuse a directory that a job may not have, and return whether what is there is to be deleted first.

    Args:
        layout: the output directory.
        job: what is to run there.
        overwrite: whether our own output there, of whatever job, is deleted.

    Raises:
        OutputError: if the directory holds another job's output, something that is not ours, or an input of
            this job that would be deleted.
    """
    if exists(layout.job):
        if overwrite:
            _check_keeps_inputs(layout, job)
            return True
        requested = job.as_json()
        if (stored := _stored_job(layout)) != requested:
            raise OutputError(
                f"{layout.directory!r} holds another job, which differs in "
                f"{differences(requested, stored)}; choose another `output`, or `overwrite` it"
            )
    elif layout.is_foreign():
        raise OutputError(
            f"{layout.directory!r} is not empty and holds no job of ours; choose another `output`"
        )
    return False


def claim_shards(
    layout: OutputLayout, job: JobDescription, names: Collection[str], *, versions: str, verify: bool = False
) -> set[str]:
    """Return which of some shards of a claimed directory are finished; others may be made meanwhile.

    What there is of the others is removed, as `claim_output` does.

    Args:
        layout: the output directory.
        job: what runs there.
        names: of the shards.
        versions: of the libraries, as the shards' metadata have them.
        verify: whether finished ones are read from end to end.

    Raises:
        OutputError: if another job has claimed it, or none.
    """
    if not exists(layout.job):
        raise OutputError(f"{layout.directory!r} holds no job; run the same command with `plan_only` first")
    if (stored := _stored_job(layout)) != (requested := job.as_json()):
        raise OutputError(
            f"{layout.directory!r} was planned for another job, which differs in "
            f"{differences(requested, stored)}; use what it was planned with"
        )
    there = sorted(set(names).intersection(layout.finished_shards()))
    return _finished_shards(layout, job, there, versions, listed_shards(layout) or {}, verify=verify)


def _check_keeps_inputs(layout: OutputLayout, job: JobDescription) -> None:
    for entry in job.inputs:
        if layout.contains(entry.path):
            raise OutputError(
                f"the input {entry.path!r} lies in {layout.directory!r}, which `overwrite` would delete; "
                "choose another `output`, or move the input"
            )


def _stored_job(layout: OutputLayout) -> dict[str, object]:
    try:
        return read_json(layout.job)
    except ValueError as error:
        raise OutputError(
            f"{layout.job!r} is damaged; choose another `output`, or `overwrite` {layout.directory!r}"
        ) from error


def _finished_shards(
    layout: OutputLayout,
    job: JobDescription,
    names: Sequence[str],
    versions: str,
    listed: Mapping[str, str],
    *,
    verify: bool,
) -> set[str]:
    """Return which of these shards are finished; what else there is of this job is removed."""
    finished, others = sound_shards(
        layout,
        job,
        names,
        versions=versions,
        listed=listed,
        rejected=set(layout.rejected_shards()),
        verify=verify,
    )
    layout.discard_shards(others)
    return finished


def commit(
    layout: OutputLayout,
    job: JobDescription,
    plan: Plan,
    *,
    labels: tuple[str, ...],
    versions: Mapping[str, str],
    build: Callable[..., AnyManifest],
    max_rejected: float = 1.0,
) -> AnyManifest:
    """Verify every shard against the plan, write the manifest, remove what is left over.

    Args:
        layout: the output directory.
        job: what was run there.
        plan: which shards there must be, and the rows that each accounts for.
        labels: label names in the order of the vectors.
        versions: of the libraries.
        build: makes the manifest from the fields of `Manifest` and `settings`.
        max_rejected: largest share of rows that may be rejected.

    Raises:
        OutputError: if a shard is missing, is another job's, or has not the planned number of rows, or if
            more rows were rejected than may be.
    """
    shards = tuple(side_by_side(lambda item: _verified(layout, job, item), plan.items))
    _check_no_others(layout, {shard.name for shard in shards})
    counts = sum_counts(shards)
    _check_rejected(layout, counts, max_rejected)
    manifest = build(
        command=job.settings.command,
        fingerprint=job.fingerprint,
        numerics_version=NUMERICS_VERSION,
        labels=labels,
        inputs=job.inputs,
        versions=dict(versions),
        shards=shards,
        counts=counts,
        settings=job.settings,
    )
    write_typed(layout.manifest, manifest)
    delete_directory(layout.temporary)
    # A run that was killed between the two files of an item had rejected rows that the shard now holds.
    rejecting = {shard.name for shard in shards if shard.counts[REJECTED]}
    delete_files([layout.rejected(name) for name in layout.rejected_shards() if name not in rejecting])
    return manifest


def _check_no_others(layout: OutputLayout, planned: Collection[str]) -> None:
    """Refuse shards beside those of the plan: whoever reads the directory would read their rows too."""
    if others := [name for name in layout.finished_shards() if name not in planned]:
        raise OutputError(
            f"{layout.directory!r} holds {len(others):,} shards of another job or plan, as {others[0]}: a "
            "worker of it may have left them late; stop that job, and run this one again with `overwrite`"
        )


def _check_rejected(layout: OutputLayout, counts: Counts, max_rejected: float) -> None:
    rejected, rows, no_numbers = counts.get(REJECTED, 0), counts[ROWS], counts.get(NOT_FINITE, 0)
    why = f", {no_numbers:,} since the model's answer is NaN or infinite" if no_numbers else ""
    if no_numbers and not rows:
        raise OutputError(
            f"the model answers NaN or infinity to all {no_numbers:,} rows: are its weights damaged, or is "
            "`precision` too coarse for it?"
        )
    if rejected > max_rejected * (rejected + rows):
        raise OutputError(
            f"{rejected:,} of {rejected + rows:,} rows were rejected{why}, more than `max_rejected` "
            f"{max_rejected:g} allows; see {layout.rejected_directory!r}"
        )


def _verified(layout: OutputLayout, job: JobDescription, item: WorkItem) -> ShardEntry:
    name, planned_rows = item.shard_name, item.rows.num_rows
    footer = read_footer(layout, name)
    if footer is None:
        if not exists(layout.shard(name)):
            raise OutputError(
                f"shard {name} of {layout.directory!r} was not written; run the same command again"
            )
        raise OutputError(f"shard {name} of {layout.directory!r} is damaged; run the same command again")
    if footer.fingerprint != job.fingerprint:
        raise OutputError(f"shard {name} of {layout.directory!r} is not this job's; run it with `overwrite`")
    num_rows = footer.num_rows + footer.counts[REJECTED]
    if planned_rows >= 0 and num_rows != planned_rows:
        raise OutputError(
            f"shard {name} of {layout.directory!r} accounts for {num_rows} rows of {planned_rows}; "
            "did its input change meanwhile?"
        )
    return ShardEntry(name=name, rows=footer.num_rows, counts=footer.counts, checksum=footer.checksum)
