from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.contract.layout import OutputLayout
from pipeline.results.teacher_answers import count_teacher_answers


def finished(directory: Path, shards: list[list[str]]) -> Any:
    names = [f"part-{number:05}-of-{len(shards):05}.parquet" for number in range(len(shards))]
    for name, answers in zip(names, shards, strict=True):
        pq.write_table(pa.table({"teacher_prediction": pa.array(answers, pa.string())}), directory / name)
    return SimpleNamespace(shard_names=names)


def test_all_shards_are_counted(tmp_path: Path):
    manifest = finished(tmp_path, [["a", "b", "a"], ["a"], []])
    counts = count_teacher_answers(OutputLayout(str(tmp_path)), manifest)
    assert counts == Counter({"a": 3, "b": 1})


def test_of_many_shards_some_are_read_from_all_over(tmp_path: Path):
    manifest = finished(tmp_path, [[f"{number}"] for number in range(10)])
    counts = count_teacher_answers(OutputLayout(str(tmp_path)), manifest, most_shards=4)
    assert sorted(counts) == ["0", "3", "6", "9"]
