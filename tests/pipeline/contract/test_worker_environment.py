import sys

import pytest

from model.errors import EnvironmentMismatchError
from pipeline.contract import worker_environment
from pipeline.contract.worker_environment import (
    check_environment,
    environment,
    library_versions,
    python_version,
)


def test_an_equal_environment_is_well():
    assert environment() == {"python": python_version(), **library_versions()}
    check_environment(environment())
    check_environment({})


def test_python_is_told_without_its_last_part():
    assert sys.version.startswith(python_version() + ".")


@pytest.mark.parametrize("name", ["python", *library_versions()])
def test_another_version_is_one_line(name: str):
    found = environment()[name]
    with pytest.raises(EnvironmentMismatchError) as error:
        check_environment({**environment(), name: "0.1"})
    assert str(error.value) == (
        f"a worker has {name} {found}, and the job was started with 0.1; make the worker's image and this "
        "environment of the same constraints.txt"
    )


def test_builds_of_one_version_are_one_version():
    torch = environment()["torch"].partition("+")[0]
    check_environment({"torch": f"{torch}+cu999"})
    with pytest.raises(EnvironmentMismatchError):
        check_environment({"torch": f"{torch}1"})


def test_a_library_that_is_not_there_is_another_version(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_environment, "_LIBRARIES", ())
    with pytest.raises(EnvironmentMismatchError, match=r"has no-such-library \(none\), and the job"):
        check_environment({"no-such-library": "1"})
