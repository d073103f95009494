from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.contract import schema
from pipeline.contract.arrays import fixed_size_list, nullable_list, source_column
from pipeline.sampling.distinct_texts import DistinctTexts
from pipeline.sampling.hash_sampling import text_hashes

few_texts = st.lists(st.sampled_from(["a", "b", "ab", "é"]), max_size=12)
logits = arrays.arrays(
    np.float32, st.tuples(st.integers(0, 6), st.just(3)), elements=st.floats(-9, 9, width=32)
)


def table(texts: list[str], pairs: list[str] | None = None) -> pa.Table:
    columns = {schema.INPUT_TEXT: pa.array(texts, pa.string())}
    if pairs is not None:
        columns[schema.INPUT_TEXT_PAIR] = pa.array(pairs, pa.string())
    return pa.table(columns)


@given(few_texts)
def test_every_row_finds_its_text_and_each_text_stands_once(texts: list[str]):
    distinct = DistinctTexts.of(table(texts))
    assert list(distinct.texts) == list(dict.fromkeys(texts))
    assert [distinct.texts[place] for place in distinct.inverse] == texts
    assert distinct.text_pairs is None
    assert list(distinct.hashes) == text_hashes(distinct.texts)


@given(few_texts)
def test_a_pair_is_one_text(texts: list[str]):
    pairs = texts[::-1]
    distinct = DistinctTexts.of(table(texts, pairs))
    assert distinct.text_pairs is not None
    kept = list(zip(distinct.texts, distinct.text_pairs, strict=True))
    assert kept == list(dict.fromkeys(zip(texts, pairs, strict=True)))
    assert [kept[place] for place in distinct.inverse] == list(zip(texts, pairs, strict=True))
    assert list(distinct.hashes) == text_hashes(distinct.texts, distinct.text_pairs)


def test_the_source_stands_in_every_row():
    column = source_column("a/b.csv", 3)
    assert column.type == schema.SOURCE_TYPE
    assert column.to_pylist() == ["a/b.csv"] * 3
    assert source_column("a", 0).to_pylist() == []


@given(logits, st.data())
def test_vectors_come_back_from_parquet(tmp_path_factory, values: np.ndarray, data: st.DataObject):
    is_null = data.draw(arrays.arrays(np.bool_, len(values)))
    path: Path = tmp_path_factory.getbasetemp() / "vectors.parquet"
    pq.write_table(pa.table({"all": fixed_size_list(values), "some": nullable_list(values, is_null)}), path)
    read = pq.read_table(path)
    assert read["all"].to_pylist() == values.tolist()
    expected = [None if null else row for null, row in zip(is_null, values.tolist(), strict=True)]
    assert read["some"].to_pylist() == expected
    assert read["all"].type == schema.vector(3)
