"""The libraries that results depend on, which must be equal on all machines of a job."""

import re
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from model.errors import EnvironmentMismatchError

_LIBRARIES = ("fastbert-jobs", "torch", "transformers", "tokenizers", "pyarrow", "apache-beam")
_PYTHON = "python"
# What a version is called by beside its number, as in 2.13.0+cpu.
_BUILD = re.compile(r"\+[\w.]+")


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that results depend on."""
    return {name: version(name) for name in _LIBRARIES}


def python_version() -> str:
    """Return Python's version without its last part, by which pickles and libraries go together."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def environment() -> dict[str, str]:
    """Return what must be equal on all machines of a job: the libraries, and Python."""
    return {_PYTHON: python_version(), **library_versions()}


def check_environment(expected: Mapping[str, str]) -> None:
    """Refuse to work where libraries differ from those of the machine that started the job.

    Builds of one version, as `2.13.0+cpu` and `2.13.0+cu128` of torch, are one version: the device is in the
    settings of the job.

    Args:
        expected: what `environment` says there.

    Raises:
        EnvironmentMismatchError: naming the first one that differs.
    """
    for name, wanted in expected.items():
        found = python_version() if name == _PYTHON else _version(name)
        if _public(found) != _public(wanted):
            raise EnvironmentMismatchError(
                f"a worker has {name} {found}, and the job was started with {wanted}; make the worker's "
                "image and this environment of the same constraints.txt"
            )


def same_versions(one: str, other: str) -> bool:
    """Return whether two texts of versions, as shards keep them, are of the same libraries.

    >>> same_versions('{"torch": "2.13.0+cpu"}', '{"torch": "2.13.0+cu128"}')
    True
    """
    return _BUILD.sub("", one) == _BUILD.sub("", other)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(none)"


def _public(version: str) -> str:
    return _BUILD.sub("", version)
