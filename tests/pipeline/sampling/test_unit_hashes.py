import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.guarantee.unit import Unit
from pipeline.contract import schema
from pipeline.sampling.hash_sampling import text_hashes
from pipeline.sampling.unit_hashes import place_hashes, unit_hashes

VALUES = st.one_of(
    st.lists(st.none() | st.integers(-3, 3), min_size=1),
    st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=2), min_size=1),
)


def rows_of(
    texts: list[str], groups: list[object] | None = None, kind: pa.DataType | None = None
) -> pa.Table:
    rows = pa.table({schema.ROW: pa.array(range(len(texts))), schema.INPUT_TEXT: pa.array(texts)})
    return rows if groups is None else rows.append_column(schema.GROUP, pa.array(groups, kind))


@given(groups=VALUES, data=st.data())
def test_rows_are_of_one_unit_where_their_groups_are_equal(groups: list[object], data: st.DataObject):
    texts = data.draw(st.lists(st.sampled_from("ab"), min_size=len(groups), max_size=len(groups)))
    found = unit_hashes(rows_of(texts, groups), text_hashes(texts), "a.csv", Unit.GROUPS)
    # A row without a group is of one with those that hold its text.
    keys = [(group, text if group in (None, "") else "") for group, text in zip(groups, texts, strict=True)]
    keys = [("" if group is None else group, text) for group, text in keys]
    assert len({*zip(found, keys, strict=True)}) == len(set(found)) == len(set(keys))
    assert {len(each) for each in found} == {16}


def test_a_row_without_a_group_has_the_hash_of_its_text():
    texts = ["a", "b", "c"]
    hashes = text_hashes(texts)
    found = unit_hashes(rows_of(texts, [None, "", "c"]), hashes, "a.csv", Unit.GROUPS)
    assert found[:2] == hashes[:2]
    assert found[2] != hashes[2]
    numbers = unit_hashes(rows_of(texts, [None, float("nan"), 1.0]), hashes, "a.parquet", Unit.GROUPS)
    assert numbers[:2] == hashes[:2]


def test_a_group_is_the_same_in_every_format():
    texts = ["a", "b"]
    as_text = unit_hashes(rows_of(texts, ["7", "x"]), text_hashes(texts), "a.csv", Unit.GROUPS)
    for kind in (pa.int16(), pa.int64()):
        found = unit_hashes(rows_of(texts, [7, 8], kind), text_hashes(texts), "b.parquet", Unit.GROUPS)
        assert found[0] == as_text[0]
    coded = rows_of(texts, ["7", "x"]).set_column(2, schema.GROUP, pa.array(["7", "x"]).dictionary_encode())
    assert unit_hashes(coded, text_hashes(texts), "b.parquet", Unit.GROUPS) == as_text


@pytest.mark.parametrize("unit", [Unit.TEXTS, Unit.ROWS])
def test_other_units_ask_for_no_group(unit: Unit):
    texts = ["a", "b", "a"]
    found = unit_hashes(rows_of(texts), text_hashes(texts), "a.csv", unit)
    assert found == (text_hashes(texts) if unit is Unit.TEXTS else place_hashes(["a.csv"] * 3, [0, 1, 2]))


def test_a_place_is_a_row_of_a_file():
    assert len(set(place_hashes(["a", "a", "a 1", "b"], [1, 11, 1, 1]))) == 4


def test_hashes_are_those_of_before():
    """Splits that were drawn once are drawn so again."""
    rows = rows_of(["a text"], ["a thread"])
    hashes = text_hashes(["a text"])
    assert [unit_hashes(rows, hashes, "a.csv", unit)[0].hex() for unit in Unit] == [
        "706860d9e8c7ee1c65261bc1e5b75631",
        "36438309913a3a8489762b00097e4602",
        "f19c86acc350a7cc7b785fbb90ca0b90",
    ]
