import pytest

from model.messages import first_line, format_labels, one_line


@pytest.mark.parametrize(
    ("error", "first", "whole"),
    [
        (ValueError("one"), "one", "one"),
        (ValueError("\n one \n two\t three \n"), "one", "one two three"),
        (KeyError(), "KeyError", "KeyError"),
        (OSError("  "), "OSError", "OSError"),
    ],
)
def test_an_error_is_told_in_one_line(error: Exception, first: str, whole: str):
    assert first_line(error) == first
    assert one_line(error) == whole


def test_the_first_labels_of_many_are_told():
    labels = tuple("abcdefghij")
    assert format_labels(labels[:2]) == "a, b"
    assert format_labels(labels[:8]) == "a, b, c, d, e, f, g, h"
    assert format_labels(labels) == "a, b, c, d, e, f, g, h, ..."
