"""The rows that a job rejected, counted by reason, with the first of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pyarrow.parquet as pq

from model.errors import ArtifactError
from model.messages import one_line, shortened
from pipeline.contract import schema
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import REJECTED, ScoreManifest
from pipeline.contract.storage import open_file

_EXAMPLES = 3
_LONGEST = 200


@dataclass(frozen=True, kw_only=True)
class RejectedRow:
    """A rejected row.

    Attributes:
        source: its file.
        row: its row there.
        value: the beginning of what stood there, undecodable bytes spelt out; None for nothing.
    """

    source: str
    row: int
    value: str | None


@dataclass(frozen=True, kw_only=True)
class RejectedRows:
    """Rows that were rejected for one reason.

    Attributes:
        reason: why.
        rows: how many.
        examples: the first of them.
    """

    reason: str
    rows: int
    examples: tuple[RejectedRow, ...]


def rejected_of(layout: OutputLayout, manifest: ScoreManifest) -> tuple[RejectedRows, ...]:
    """Read the rejected rows, the most frequent reason first.

    Raises:
        ArtifactError: if a file of them is damaged.
    """
    rows: Counter[str] = Counter()
    examples: dict[str, list[RejectedRow]] = {}
    for shard in manifest.shards:
        if not shard.counts.get(REJECTED):
            continue
        path = layout.rejected(shard.name)
        try:
            with open_file(path) as file:
                table = pq.read_table(file)
        except (OSError, ValueError) as error:
            raise ArtifactError(
                f"{path!r} is missing or damaged: {one_line(error)}; remove what is left of it, and run its "
                "command again"
            ) from error
        reasons = table[schema.REASON].to_pylist()
        rows.update(reasons)
        for place, reason in enumerate(reasons):
            shown = examples.setdefault(reason, [])
            if len(shown) < _EXAMPLES:
                value = table[schema.RAW_VALUE][place].as_py()
                shown.append(
                    RejectedRow(
                        source=table[schema.SOURCE][place].as_py(),
                        row=table[schema.ROW][place].as_py(),
                        value=None if value is None else _told(value),
                    )
                )
    return tuple(
        RejectedRows(reason=reason, rows=count, examples=tuple(examples[reason]))
        for reason, count in rows.most_common()
    )


def _told(value: bytes) -> str:
    text = value[: 4 * _LONGEST].decode("utf-8", "backslashreplace")
    return shortened(text, _LONGEST)
