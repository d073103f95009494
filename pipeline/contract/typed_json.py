"""JSON files as frozen dataclasses: what is read is checked against the type that was written."""

from typing import TypeVar

from cattrs import BaseValidationError, transform_error
from cattrs.preconf.json import make_converter

from model.errors import ArtifactError
from pipeline.contract.schema import SCHEMA_VERSION
from pipeline.contract.storage import read_json, write_json

Content = TypeVar("Content")

_SCHEMA_VERSION = "schema_version"
_CONVERTER = make_converter(forbid_extra_keys=True)


def as_plain(content: object) -> dict[str, object]:
    """Return a dataclass as what JSON knows: dictionaries, lists, strings and numbers."""
    plain: dict[str, object] = _CONVERTER.unstructure(content)
    return plain


def write_typed(path: str, content: object) -> None:
    """Write a dataclass with the schema's version, whole or not at all; equal content is equal bytes."""
    write_json(path, {_SCHEMA_VERSION: SCHEMA_VERSION, **as_plain(content)})


def read_typed(path: str, kind: type[Content], *, cure: str) -> Content:
    """Return what `write_typed` wrote.

    Args:
        path: of the file.
        kind: what was written.
        cure: what the user can do where it cannot be read, as "run `fastbert-jobs calibrate` again".

    Raises:
        ArtifactError: if the file is damaged, of another version of the schema, or no `kind`.
    """
    try:
        plain = read_json(path)
        version = plain.pop(_SCHEMA_VERSION, None)
    except (OSError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{path!r} is damaged: {' '.join(str(error).split())}; {cure}") from error
    if version != SCHEMA_VERSION:
        found = "an older version" if version is None else f"version {version}"
        raise ArtifactError(
            f"{path!r} is of {found} of the data contract, and this is version {SCHEMA_VERSION}; {cure}"
        )
    try:
        return _CONVERTER.structure(plain, kind)
    except BaseValidationError as error:
        (reason, *_) = transform_error(error)
        raise ArtifactError(f"{path!r} is damaged: {reason}; {cure}") from error
