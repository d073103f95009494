import numpy as np
import pytest

from model.cost.exit_cost import cost_of_exits

EXIT_COST = np.array([[0, 10, 30], [0, 20, 60], [0, 5, 15]])
BRANCH_COST = np.array([[1, 2], [3, 4], [5, 6]])


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_a_text_pays_its_exit_and_the_branches_that_are_run_up_to_it(dtype):
    exits = np.array([0, 1, 2])

    def cost(is_run):
        found = cost_of_exits(EXIT_COST.astype(dtype), BRANCH_COST.astype(dtype), is_run, exits)
        assert found.dtype == dtype
        return found.tolist()

    assert cost((True, True)) == [0 + 1, 20 + 3 + 4, 15 + 5 + 6]
    assert cost((False, True)) == [0, 20 + 4, 15 + 6]
    assert cost((False, False)) == [0, 20, 15]
