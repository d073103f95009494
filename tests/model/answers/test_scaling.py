import pytest

from model.answers.scaling import UNSCALED, Scaling
from model.errors import ParameterError


def test_without_anything_said_confidence_is_as_it_is():
    assert Scaling() == UNSCALED == Scaling.by(1)
    assert UNSCALED.temperature == 1


def test_lists_and_whole_numbers_are_the_same_scaling():
    listed = Scaling(temperatures=[1, 2], biases=[0, -1])
    assert listed == Scaling(temperatures=(1.0, 2.0), biases=(0.0, -1.0))
    assert repr(listed) == "Scaling(temperatures=(1.0, 2.0), biases=(0.0, -1.0))"
    assert hash(listed) == hash(Scaling(temperatures=(1.0, 2.0), biases=(0.0, -1.0)))


@pytest.mark.parametrize(
    ("temperatures", "biases"), [((1, 2), ()), ((1, 2), (0,)), ((1,), (0, 0)), ((), ()), ((), (0,))]
)
def test_a_name_has_both_or_all_names_have_one_temperature(temperatures, biases):
    told = f"`temperatures` has {len(temperatures)} values, and `biases` {len(biases)}; give one temperature"
    with pytest.raises(ParameterError, match=told):
        Scaling(temperatures=temperatures, biases=biases)


def test_of_several_there_is_no_one_temperature():
    with pytest.raises(ParameterError, match="give one temperature to any other answer"):
        _ = Scaling(temperatures=(2.0,), biases=(0.0,)).temperature
