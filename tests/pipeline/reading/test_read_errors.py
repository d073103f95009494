import pyarrow as pa
import pytest

from model.errors import InputError
from pipeline.reading.read_errors import read_errors_as_input_error


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied"),
        EOFError("Permission denied"),
        pa.ArrowInvalid("Permission\n denied"),
    ],
)
def test_whatever_goes_wrong_is_one_line_that_names_the_file(error: Exception):
    with (
        pytest.raises(InputError, match=r"^a.csv: cannot be read: Permission denied$"),
        read_errors_as_input_error("a.csv"),
    ):
        raise error


def test_an_error_that_names_its_file_stays_as_it_is():
    with pytest.raises(InputError, match=r"^b.csv: no$"), read_errors_as_input_error("a.csv"):
        raise InputError("b.csv: no")
