"""True labels that stand in a column of soft labels, where a row has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from model.errors import ArtifactError
from model.training.labelled_texts import NO_LABEL
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import LabelManifest
from pipeline.contract.shards import read_shard
from pipeline.reading.labelled_texts import as_text
from pipeline.results.ground_truth import ids_by_name


@dataclass(frozen=True, kw_only=True)
class KeptTrueLabels:
    """A column that `label-teacher` kept, as true labels.

    Attributes:
        column: its name.
        ids: the place among the logits of each label that stands there.
    """

    column: str
    ids: Mapping[str, int]

    @classmethod
    def find(cls, outputs: Sequence[tuple[OutputLayout, LabelManifest]], column: str) -> KeptTrueLabels:
        """Read the labels that a column holds in some outputs.

        Raises:
            ArtifactError: if one of them has no such column.
            InputError: if a label is none of the model's, or the column holds no labels.
        """
        names: set[str] = set()
        for layout, manifest in outputs:
            if column not in manifest.settings.columns.keep:
                raise ArtifactError(
                    f"{layout.directory!r} has no column {column!r} of true labels; label again with `keep` "
                    f"{column}"
                )
            for shard in manifest.shard_names:
                for batch in read_shard(layout, shard, columns=[column]):
                    names |= set(_names(batch, column)) - {None}
        return cls(column=column, ids=ids_by_name(names, outputs[0][1].labels))

    def of_rows(self, rows: pa.RecordBatch) -> npt.NDArray[np.int64]:
        """Return (rows,) the place of each row's label among the logits, `NO_LABEL` where it has none."""
        return np.array([self.ids.get(name, NO_LABEL) for name in _names(rows, self.column)], dtype=np.int64)


def _names(rows: pa.RecordBatch, column: str) -> list[str]:
    """Return the name of each row's label, None where it has none."""
    names: list[str] = as_text(pa.chunked_array([rows[column]])).to_pylist()
    return names
