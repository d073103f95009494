import pickle

import pytest

from model.checkpoints.foreign import foreign
from model.errors import CheckpointError


@pytest.mark.parametrize(
    "error",
    [OSError("a\nb"), AssertionError("a"), RecursionError("a"), ImportError("a"), CheckpointError("a")],
    ids=lambda error: type(error).__name__,
)
def test_whatever_goes_wrong_is_one_line_with_its_cause(error):
    with (
        pytest.raises(CheckpointError, match=r"^it cannot be read: a$") as caught,
        foreign("it cannot be read"),
    ):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, SystemExit])
def test_what_is_no_fault_of_the_checkpoint_is_left_as_it_is(error):
    with pytest.raises(error), foreign("it cannot be read"):
        raise error


def test_no_advice_to_unpickle_without_care_is_handed_on():
    with pytest.raises(CheckpointError, match="damaged, or holds more than tensors"), foreign("x"):
        raise pickle.UnpicklingError("set weights_only to False")


def test_nothing_happens_where_nothing_goes_wrong():
    with foreign("it cannot be read"):
        pass
