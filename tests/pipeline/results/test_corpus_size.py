from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.guarantee.finite_corpus import CorpusSize
from model.guarantee.unit import Unit
from pipeline.reading.inputs import Columns, inspect_inputs
from pipeline.results.corpus_size import corpus_size
from tests.job_fixtures import write_tsv


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(numbers=st.lists(st.integers(0, 40), max_size=60), rows_per_shard=st.integers(1, 20))
def test_each_text_counts_once_wherever_it_stands(tmp_path: Path, numbers: list[int], rows_per_shard: int):
    half = len(numbers) // 2
    for name, part in (("a", numbers[:half]), ("b", numbers[half:])):
        write_tsv(tmp_path / f"{name}.tsv", {"text": [f"text {number}" for number in part]})
    inputs = inspect_inputs([str(tmp_path / "*.tsv")], Columns(text="text"), rows_per_shard=rows_per_shard)
    read: list[int] = []
    found = corpus_size(inputs, Unit.TEXTS, on_rows=read.append)
    assert found == CorpusSize(num_units=len(set(numbers)), is_complete=True)
    assert sum(read) == len(numbers)


def test_rejected_rows_do_not_count_and_pairs_do_as_pairs(tmp_path: Path):
    columns = {"one": ["a", "a", "a", ""], "two": ["x", "y", "x", "z"]}
    path = write_tsv(tmp_path / "pairs.tsv", columns)
    inputs = inspect_inputs([str(path)], Columns(text="one", text_pair="two"), rows_per_shard=9)
    assert corpus_size(inputs, Unit.TEXTS).num_units == 2


def test_of_rows_each_counts(tmp_path: Path):
    path = write_tsv(tmp_path / "texts.tsv", {"text": ["a", "a", "b", "", "a"]})
    inputs = inspect_inputs([str(path)], Columns(text="text"), rows_per_shard=9)
    found = corpus_size(inputs, Unit.ROWS)
    assert found == CorpusSize(num_units=4, unit=Unit.ROWS)
    assert str(found) == "4 rows"
    assert not corpus_size(inputs, Unit.ROWS, most=3).is_complete


def test_counting_ends_where_more_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.results.corpus_size._LEAST_TO_SORT", 10)
    monkeypatch.setattr("pipeline.reading.labelled_texts._BATCH_ROWS", 7)
    path = write_tsv(tmp_path / "texts.tsv", {"text": [f"text {row}" for row in range(200)]})
    inputs = inspect_inputs([str(path)], Columns(text="text"), rows_per_shard=50)
    found = corpus_size(inputs, Unit.TEXTS, most=50)
    assert not found.is_complete
    assert 50 <= found.num_units < 150
    assert str(found) == f"at least {found.num_units} distinct texts"
