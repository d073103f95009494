import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import ParameterError
from pipeline.contract.item_ranges import ALL_ITEMS, ItemRanges
from pipeline.contract.plan import RowRange, WorkItem, make_plan

NUM_ITEMS = 30
ROWS = RowRange(first_row=0, num_rows=1)


def items(num_items: int = NUM_ITEMS) -> tuple[WorkItem, ...]:
    return make_plan([("a.tsv", "tsv", [ROWS] * num_items)]).items


def numbers(text: str, num_items: int = NUM_ITEMS) -> list[int]:
    return [item.index for item in ItemRanges.parse(text).select(items(num_items))]


@given(st.integers(0, NUM_ITEMS - 1), st.integers(1, 2 * NUM_ITEMS))
def test_a_run_is_what_a_slice_is(first: int, length: int):
    assert numbers(f"{first}:{first + length}") == list(range(NUM_ITEMS))[first : first + length]
    assert numbers(f"{first}:") == list(range(NUM_ITEMS))[first:]
    assert numbers(f"{first}") == [first]


@given(st.sets(st.integers(0, NUM_ITEMS - 1), min_size=1))
def test_what_is_told_of_items_can_be_asked_for(chosen: set[int]):
    assert numbers(str(ItemRanges.of(sorted(chosen)))) == sorted(chosen)


@given(st.integers(0, 70), st.integers(1, 80))
def test_parts_are_of_nearly_equal_size_and_all_items_together(num_items: int, of: int):
    parts = [numbers(f"{part}/{of}", num_items) for part in range(of)]
    assert [number for part in parts for number in part] == list(range(num_items))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["4/4", "9/2"])
def test_a_part_that_there_is_not_is_refused(text: str):
    with pytest.raises(ParameterError, match="parts are counted from 0, the last is"):
        ItemRanges.parse(text)


@pytest.mark.parametrize("text", ["0/0", "3/0"])
def test_of_no_parts_there_is_none(text: str):
    with pytest.raises(ParameterError, match=f"`items` {text}: of no parts there is none; say 0/1 for all"):
        ItemRanges.parse(text)


def test_runs_that_meet_name_an_item_once():
    assert numbers("4:8,0:6, 5,28:") == [0, 1, 2, 3, 4, 5, 6, 7, 28, 29]
    assert [item.index for item in ALL_ITEMS.select(items())] == list(range(NUM_ITEMS))


def test_of_very_many_runs_the_first_are_told():
    told = str(ItemRanges.of(range(0, 200, 2)))
    assert told.startswith("0,2,4,")
    assert told.endswith(",...")
    assert len(told) < 100


@pytest.mark.parametrize(
    "text", ["", ":", ":4", "a", "-1", "0:-1", "1.5", "0:4:2", "0:4,", "٣", "0-4", "1/2,3"]
)
def test_what_are_no_numbers_is_one_line(text: str):
    with pytest.raises(ParameterError, match=r"`items` .* are no items, as 0:400 or 7"):
        ItemRanges.parse(text)


@pytest.mark.parametrize("text", ["4:4", "4:2", "0:2,7:3"])
def test_an_empty_run_is_refused(text: str):
    with pytest.raises(ParameterError, match="is empty; 0:2 are 0 and 1"):
        ItemRanges.parse(text)


@pytest.mark.parametrize("text", ["30", "0:4,31:40", "99:"])
def test_a_run_behind_the_last_item_is_refused(text: str):
    with pytest.raises(ParameterError, match=r"there is no item \d+; the plan has 30, from 0 on"):
        numbers(text)
