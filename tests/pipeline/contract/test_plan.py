import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract.plan import RowRange, WorkItem, even_ranges, make_plan

ONE, TWO = RowRange(first_row=0, num_rows=1), RowRange(first_row=0, num_rows=2)


@given(st.integers(0, 500), st.integers(1, 60))
def test_even_ranges_cover_every_row_once(num_rows: int, rows_per_shard: int):
    ranges = list(even_ranges(num_rows, rows_per_shard))
    assert [row for first, size in ranges for row in range(first, first + size)] == list(range(num_rows))
    sizes = [size for _, size in ranges]
    assert all(0 < size <= rows_per_shard for size in sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_items_are_numbered_through_all_files():
    plan = make_plan([("a.csv", "csv", [ONE, TWO]), ("empty.csv", "csv", []), ("b.tsv", "tsv", [ONE])])
    assert [(item.index, item.num_items, item.path, item.format) for item in plan.items] == [
        (0, 3, "a.csv", "csv"),
        (1, 3, "a.csv", "csv"),
        (2, 3, "b.tsv", "tsv"),
    ]
    assert plan.items[2].shard_name == "part-00002-of-00003.parquet"


@pytest.mark.parametrize(
    ("ranges", "num_rows"), [([], 0), ([ONE, TWO], 3), ([ONE, RowRange(first_row=0, num_rows=-1)], None)]
)
def test_num_rows_is_none_where_a_file_hides_it(ranges: list[RowRange], num_rows: int | None):
    assert make_plan([("a", "csv", ranges)]).num_rows == num_rows


def test_items_know_what_the_driver_saw_of_their_file():
    plan = make_plan([("a.csv", "csv", [ONE, TWO]), ("b.tsv", "tsv", [ONE])], versions={"a.csv": "1"})
    assert [item.version for item in plan.items] == ["1", "1", None]


def test_work_items_are_small():
    path = "gs://bucket/a.csv"
    (item,) = make_plan([(path, "csv", [ONE])], versions={path: "8q3+Tg=="}).items
    assert pickle.loads(pickle.dumps(item)) == item
    assert len(pickle.dumps(item)) < 500


def test_shard_names_sort_in_the_order_of_the_rows_however_many_there_are():
    rows = RowRange(first_row=0, num_rows=1)
    names = [
        WorkItem(index=index, num_items=100_001, path="a", format="tsv", rows=rows).shard_name
        for index in (9, 99_999, 100_000)
    ]
    assert names == sorted(names)
    assert names[0] == "part-000009-of-100001.parquet"
