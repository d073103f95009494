"""Which shards of an output directory are finished: told by their footers, which are read side by side."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TypeVar

from pipeline.contract.job import JobDescription
from pipeline.contract.layout import OutputLayout
from pipeline.contract.shards import is_intact, read_footer
from pipeline.contract.worker_environment import same_versions

# Files read at once: on an object store, most of it is waiting.
_READERS = 16
# A reader takes some names at a time, for to hand one out takes a third of the time of a local footer; and
# only so many wait at once, so that memory is what is made of the footers.
_NAMES_OF_A_TURN, _WAITING = 16, 4096

_Name = TypeVar("_Name")
_Found = TypeVar("_Found")


def side_by_side(look: Callable[[_Name], _Found], names: Sequence[_Name]) -> Iterator[_Found]:
    """Yield what `look` finds for each name, in their order, several being looked at at once.

    Raises:
        Exception: what `look` raises, of the first name that it does so for.
    """

    def look_at_some(some: Sequence[_Name]) -> list[_Found]:
        return [look(name) for name in some]

    with ThreadPoolExecutor(_READERS) as pool:
        for first in range(0, len(names), _WAITING):
            waiting = names[first : first + _WAITING]
            turns = [
                waiting[start : start + _NAMES_OF_A_TURN]
                for start in range(0, len(waiting), _NAMES_OF_A_TURN)
            ]
            yield from chain.from_iterable(pool.map(look_at_some, turns))


def sound_shards(
    layout: OutputLayout,
    job: JobDescription,
    names: Sequence[str],
    *,
    versions: str,
    listed: Mapping[str, str],
    rejected: Collection[str],
    verify: bool,
) -> tuple[set[str], list[str]]:
    """Return which of some shards are finished, and which are this job's and must be made again.

    Args:
        layout: the output directory.
        job: what runs there; other jobs' shards, and what is no shard, are in neither.
        names: of the shards.
        versions: of the libraries, as the shards' metadata must have them, but for what builds of one
            version are called.
        listed: checksums that a manifest lists, by name.
        rejected: names of the shards that have rejected rows.
        verify: whether they are read from end to end.
    """

    def is_sound(name: str) -> bool | None:
        footer = read_footer(layout, name)
        if footer is None or footer.fingerprint != job.fingerprint:
            return None
        return (
            same_versions(footer.versions, versions)
            and listed.get(name, footer.checksum) == footer.checksum
            and (footer.rejected is None or name in rejected)
            and (not verify or is_intact(layout, footer))
        )

    verdicts = dict(zip(names, side_by_side(is_sound, names), strict=True))
    return (
        {name for name, verdict in verdicts.items() if verdict},
        [name for name, verdict in verdicts.items() if verdict is False],
    )
