import pytest

from model.tokens.special_tokens import Frame


def test_what_stands_around_a_text_and_around_a_pair():
    text = Frame.around([7, 8], [1, 7, 8, 2], [0, 0, 0, 0], num_texts=1)
    assert (text.specials, text.special_types, text.text_types) == (((1,), (2,)), ((0,), (0,)), (0,))
    pair = Frame.around([7], [1, 7, 2, 2, 7, 2], [0, 0, 0, 1, 1, 1], num_texts=2)
    assert pair.specials == ((1,), (2, 2), (2,))
    assert (pair.special_types, pair.text_types) == (((0,), (0, 1), (1,)), (0, 1))
    assert pair.num_specials == 4


def test_special_tokens_beside_each_other_may_be_of_several_types():
    frame = Frame.around([7], [7, 4, 3], [0, 0, 2], num_texts=1)
    assert (frame.specials, frame.special_types, frame.text_types) == (((), (4, 3)), ((), (0, 2)), (0,))


def test_there_may_be_nothing_around():
    bare = Frame.around([7], [7], None, num_texts=1)
    assert (bare.specials, bare.special_types, bare.text_types) == (((), ()), ((), ()), (0,))


@pytest.mark.parametrize(("body", "ids"), [([], [1, 2]), ([7], [1, 2]), ([7], [1, 7, 2])])
def test_texts_that_cannot_be_told_from_it(body, ids):
    assert Frame.around(body, ids, None, num_texts=2) is None
