"""How often a teacher gave each answer, from the shards of a finished labelling."""

from __future__ import annotations

from collections import Counter

import pyarrow.compute as pc

from pipeline.contract import schema
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import LabelManifest
from pipeline.contract.shards import read_shard

# Of more shards as many, spread evenly, tell as well; in an object store each takes its time to open.
_MOST_SHARDS = 200


def count_teacher_answers(
    layout: OutputLayout, manifest: LabelManifest, *, most_shards: int = _MOST_SHARDS
) -> Counter[str]:
    """Return how many rows were answered with each label, of very many shards those of some.

    Args:
        layout: where the shards are.
        manifest: which they are.
        most_shards: shards that are read.
    """
    names = manifest.shard_names
    counts: Counter[str] = Counter()
    for name in names[:: -(-len(names) // most_shards) or 1]:
        for batch in read_shard(layout, name, columns=[schema.TEACHER + schema.PREDICTION]):
            for each in pc.value_counts(batch[schema.TEACHER + schema.PREDICTION]).to_pylist():
                counts[each["values"]] += each["counts"]
    return counts
