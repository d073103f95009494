import math

import pytest

from model.errors import ParameterError
from model.training.distillation_config import DistillationConfig, KlDirection


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"epochs": 0}, "`epochs` 0 is not at least 1"),
        ({"batch_size": 0}, "`batch_size` 0 is not at least 1"),
        ({"learning_rate": 0.0}, "`learning_rate` 0.0 is not above 0"),
        ({"learning_rate": math.nan}, "`learning_rate` nan is not above 0"),
        ({"seed": -1}, "`seed` -1 is not between"),
        ({"hard_label_weight": -1.0}, "`hard_label_weight` -1.0 is not 0 or above"),
        ({"hard_label_weight": math.inf}, "`hard_label_weight` inf is not 0 or above"),
        ({"kl_direction": "both"}, "`kl_direction` 'both' is not one of teacher-student, student-teacher"),
    ],
)
def test_what_makes_no_sense_is_refused(option, message):
    with pytest.raises(ParameterError, match=message):
        DistillationConfig(**option)


def test_a_direction_may_be_given_by_its_name():
    assert DistillationConfig(kl_direction="student-teacher").kl_direction == KlDirection.STUDENT_TEACHER
