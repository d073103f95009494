import re

import pytest

from model import errors
from model.errors import FastBertJobsError

KINDS = FastBertJobsError.__subclasses__()


def test_the_tree_that_is_drawn_is_the_tree():
    drawn = re.findall(r"^[├└]── (\w+)", errors.__doc__ or "", flags=re.MULTILINE)
    assert drawn == [kind.__name__ for kind in KINDS]


@pytest.mark.parametrize("kind", [FastBertJobsError, *KINDS])
def test_a_caller_may_catch_a_value_error(kind: type[FastBertJobsError]):
    with pytest.raises(ValueError, match="what is wrong"):
        raise kind("what is wrong; what to do")
