import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import InputError
from model.training.labelled_texts import LabelledTexts, sorted_labels


@pytest.mark.parametrize("column", ["text_pairs", "labels"])
def test_columns_of_other_lengths_are_refused(column):
    columns = {"texts": ["a", "b"], "text_pairs": ["c", "d"], "labels": ["x", "y"]}
    with pytest.raises(InputError, match=f"`{column}` has 1 rows, but there are 2 texts"):
        LabelledTexts(**{**columns, column: columns[column][:1]})


@given(st.lists(st.integers(-50, 50), min_size=1))
def test_whole_numbers_are_sorted_by_value(numbers: list[int]):
    assert sorted_labels([str(number) for number in numbers]) == tuple(map(str, sorted(set(numbers))))


@given(st.lists(st.text(max_size=3), min_size=1))
def test_labels_are_distinct_and_their_order_does_not_depend_on_the_rows(labels: list[str]):
    assert set(sorted_labels(labels)) == set(labels)
    assert sorted_labels(labels) == sorted_labels(labels[::-1] * 2)
    assert len(set(sorted_labels(labels))) == len(sorted_labels(labels))
