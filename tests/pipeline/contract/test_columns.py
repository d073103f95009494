from dataclasses import replace

import pytest

from model.errors import InputError, ParameterError
from pipeline.contract.answer_fields import ALL_ANSWER_COLUMNS
from pipeline.contract.columns import Columns, check_kept_names, check_label_name, check_present
from pipeline.contract.schema import GROUP, INPUT_TEXT, INPUT_TEXT_PAIR, score_schema


def test_wanted_names_each_column_once():
    columns = Columns(text="a", text_pair="b", id="key", keep=("key", "a", "c"))
    assert columns.texts == ("a", "b")
    assert columns.passthrough == ("key", "key", "a", "c")
    assert columns.all_columns == ("a", "b", "key", "c")
    by_kept = replace(columns, group="c")
    assert (by_kept.passthrough, by_kept.all_columns) == (
        ("key", "key", "a", "c", "c"),
        ("a", "b", "key", "c"),
    )
    assert replace(columns, group="d").all_columns == ("a", "b", "key", "c", "d")


def test_a_column_is_kept_once():
    with pytest.raises(ParameterError, match=r"`keep` names 'a' twice"):
        Columns(text="t", keep=("a", "b", "a"))


@pytest.mark.parametrize(
    "name", [*score_schema(answer=(), teacher=()).names, *sorted(ALL_ANSWER_COLUMNS), "id"]
)
def test_names_of_the_score_shard_are_taken(name: str):
    with pytest.raises(ParameterError, match=f"`keep` {name}: the output has a column '{name}' of its own"):
        check_kept_names(Columns(text="t", keep=("mine", name)))


@pytest.mark.parametrize("name", [INPUT_TEXT, INPUT_TEXT_PAIR, GROUP])
def test_names_that_rows_have_on_their_way_are_taken(name: str):
    with pytest.raises(ParameterError, match=f"`keep` {name}: the name is taken: rename yours"):
        check_kept_names(Columns(text="t", keep=("mine", name)))
    with pytest.raises(ParameterError, match=f"`label_column` {name}: the name is taken: rename yours"):
        check_label_name(name)


@pytest.mark.parametrize("name", ["text", "text_pair", "label", "reason", "t"])
def test_any_other_name_may_be_kept(name: str):
    check_kept_names(Columns(text="t", keep=(name,)))


@pytest.mark.parametrize(("name", "id_column"), [("row", None), ("row", "key"), ("id", "key")])
def test_labels_cannot_have_a_name_that_is_taken(name: str, id_column: str | None):
    with pytest.raises(ParameterError, match=f"`label_column` {name}: the name is taken: rename yours"):
        check_label_name(name, id_column)
    check_label_name("id")
    check_label_name("label", id_column)


def test_texts_may_be_unwanted():
    columns = Columns(id="a", keep=("b",))
    assert (columns.texts, columns.passthrough, columns.all_columns) == ((), ("a", "b"), ("a", "b"))


def test_a_missing_column_is_named_with_those_there_are():
    with pytest.raises(InputError) as error:
        check_present("a.csv", ["texts", "label"], Columns(text="text"))
    assert str(error.value) == "a.csv: no column 'text' (did you mean 'texts'?); its columns: texts, label"


def test_a_long_list_of_columns_is_cut():
    names = [f"c{index}" for index in range(21)]
    with pytest.raises(InputError, match=r"no column 'review'; its columns: c0, .*, c19, \.\.\.$"):
        check_present("a.csv", names, Columns(text="review"))


def test_a_wanted_column_is_there_once():
    check_present("a.csv", ["text", "x", "x"], Columns(text="text"))
    with pytest.raises(InputError, match=r"a.csv: 2 columns are named 'x': rename all but one"):
        check_present("a.csv", ["text", "x", "x"], Columns(text="text", keep=("x",)))
