import pytest

from model.errors import InputError, OptionError
from pipeline.columns import Columns, check_present


def test_wanted_names_each_column_once():
    columns = Columns(text="a", text_pair="b", id="key", keep=("key", "a", "c"))
    assert columns.texts == ("a", "b")
    assert columns.passed == ("key", "key", "a", "c")
    assert columns.wanted == ("a", "b", "key", "c")


def test_a_column_is_kept_once():
    with pytest.raises(OptionError, match=r"--keep names 'a' twice"):
        Columns(text="t", keep=("a", "b", "a"))


@pytest.mark.parametrize("name", ["source", "row", "id", "text", "prediction", "probabilities", "reason"])
def test_names_of_the_output_are_taken(name: str):
    with pytest.raises(OptionError, match=f"--keep {name}: the output has a column '{name}' of its own"):
        Columns(text="t", keep=(name,))


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
