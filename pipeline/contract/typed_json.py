"""JSON files as frozen dataclasses: what is read is checked against the type that was written."""

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, TypeAlias, TypeVar, Union, get_args, get_origin

from cattrs import BaseConverter, BaseValidationError, ForbiddenExtraKeysError, transform_error
from cattrs.cols import homogenous_tuple_structure_factory, is_mapping, mapping_structure_factory
from cattrs.gen import make_dict_structure_fn
from cattrs.preconf.json import JsonConverter, make_converter

from model.errors import ArtifactError
from model.messages import one_line
from pipeline.contract.schema import SCHEMA_VERSION
from pipeline.contract.storage import read_json, write_json

Content = TypeVar("Content")
# A type as it is annotated, `int | None` too, which Python has no type for.
_Annotation: TypeAlias = Any
# What JSON holds, not checked yet.
_Json: TypeAlias = Any
_Hook = Callable[[_Json, _Annotation], object]

_SCHEMA_VERSION = "schema_version"
# What JSON holds, in words; a bool is an int to Python.
_WORDS = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
    NoneType: "null",
}


class _MisfitError(ValueError):
    """A JSON value of another type than the field's."""


def _check(value: object, *kinds: type) -> None:
    """Refuse a value of none of `kinds`; the first of them is named."""
    if type(value) not in kinds:
        raise _MisfitError(f"is {_WORDS[type(value)]}, not {_WORDS[kinds[0]]}")


def _plain_hook(kind: type) -> _Hook:
    """Return a hook that takes nothing for a `kind` that is none; JSON may spell a float as an int."""
    kinds = (float, int) if kind is float else (kind,)

    def structure(value: _Json, annotation: _Annotation) -> object:
        _check(value, *kinds)
        # An enumeration of strings is a string too, and comes here.
        if isinstance(annotation, type) and issubclass(annotation, StrEnum):
            if value not in list(annotation):
                raise _MisfitError(f"is {value!r}, not one of {', '.join(annotation)}")
            return annotation(value)
        return kind(value)

    return structure


def _is_tuple(kind: _Annotation) -> bool:
    origin: object = get_origin(kind)
    return origin is tuple


def _tuple_hook(kind: _Annotation, converter: BaseConverter) -> _Hook:
    """Return a hook for a tuple of one type: of any length, or of as many as the annotation says."""
    first, *others = get_args(kind)
    length = None if others == [...] else 1 + len(others)
    assert length is None or {*others} <= {first}, f"{kind} mixes types"
    of_any_length: _Annotation = tuple[first, ...]  # type: ignore[valid-type]
    structure_items = homogenous_tuple_structure_factory(of_any_length, converter)

    def structure(value: _Json, _: _Annotation) -> object:
        _check(value, list)
        if length not in (None, len(value)):
            raise _MisfitError(f"has {len(value)} items, not {length}")
        return structure_items(value, kind)

    return structure


def _object_hook(kind: _Annotation, converter: BaseConverter) -> _Hook:
    """Return a hook for a dataclass or a mapping, which are objects in JSON."""
    structure_items: _Hook
    if isinstance(kind, type) and is_dataclass(kind):
        structure_items = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)
    else:
        structure_items = mapping_structure_factory(kind, converter)

    def structure(value: _Json, _: _Annotation) -> object:
        _check(value, dict)
        return structure_items(value, kind)

    return structure


def _is_optional(kind: _Annotation) -> bool:
    origin: object = get_origin(kind)
    return origin in (Union, UnionType) and len(get_args(kind)) == 2 and NoneType in get_args(kind)


def _optional_hook(kind: _Annotation, converter: BaseConverter) -> _Hook:
    (inner,) = (each for each in get_args(kind) if each is not NoneType)
    structure_inner = converter.get_structure_hook(inner)
    return lambda value, _: None if value is None else structure_inner(value, inner)


def _strict_converter() -> JsonConverter:
    """Return a converter that checks types, where cattrs' own calls them: `int("3")`, `tuple("ab")`."""
    converter = make_converter(forbid_extra_keys=True)
    for kind in (str, bool, int, float):
        converter.register_structure_hook(kind, _plain_hook(kind))
    converter.register_structure_hook_factory(_is_tuple, _tuple_hook)
    converter.register_structure_hook_factory(is_mapping, _object_hook)
    converter.register_structure_hook_factory(is_dataclass, _object_hook)
    converter.register_structure_hook_factory(_is_optional, _optional_hook)
    return converter


_CONVERTER = _strict_converter()


def as_plain(content: object) -> dict[str, object]:
    """Return a dataclass as what JSON knows: dictionaries, lists, strings and numbers."""
    plain: dict[str, object] = _CONVERTER.unstructure(content)
    return plain


def structured(plain: object, kind: type[Content]) -> Content:
    """Return a dataclass of what `as_plain` made of it.

    Raises:
        ValueError: if it was no `kind`.
    """
    try:
        return _CONVERTER.structure(plain, kind)
    except BaseValidationError as error:
        raise ValueError(_reason(error)) from error


def write_typed(path: str, content: object, *, partial: str | None = None) -> None:
    """Write a dataclass with the schema's version, whole or not at all; equal content is equal bytes.

    Args:
        path: of the file.
        content: of it.
        partial: see `write_json`.
    """
    write_json(path, {_SCHEMA_VERSION: SCHEMA_VERSION, **as_plain(content)}, partial=partial)


def read_typed(path: str, kind: type[Content], *, cure: str) -> Content:
    """Return what `write_typed` wrote.

    Args:
        path: of the file.
        kind: what was written.
        cure: what the user can do where it cannot be read, as "run `fastbert-jobs calibrate` again".

    Raises:
        ArtifactError: if the file is damaged, of another version of the schema, or no `kind`.
    """
    return as_typed(path, read_plain(path, cure=cure), kind, cure=cure)


def read_plain(path: str, *, cure: str) -> dict[str, object]:
    """Return what `write_typed` wrote as the JSON object that it is.

    Args:
        path: of the file.
        cure: as for `read_typed`.

    Raises:
        ArtifactError: if it cannot be read, or holds anything else.
    """
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path!r} is damaged: {one_line(error)}; {cure}") from error


def as_typed(path: str, plain: Mapping[str, object], kind: type[Content], *, cure: str) -> Content:
    """Return the dataclass that `read_plain` has read.

    Args:
        path: of the file, for what is said of it.
        plain: what was read.
        kind: what was written.
        cure: as for `read_typed`.

    Raises:
        ArtifactError: if it is of another version of the schema, or no `kind`.
    """
    version = plain.get(_SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        found = "an older version" if version is None else f"version {version!r}"
        raise ArtifactError(
            f"{path!r} is of {found} of the data contract, and this is version {SCHEMA_VERSION}; {cure}"
        )
    fields = {name: value for name, value in plain.items() if name != _SCHEMA_VERSION}
    try:
        return structured(fields, kind)
    except ValueError as error:
        raise ArtifactError(f"{path!r} is damaged: {error}; {cure}") from error


def _reason(error: BaseValidationError) -> str:
    """Return the first thing that is wrong, as ``'parts[0].name' is null, not a string``."""
    message, _, place = transform_error(error, format_exception=_format)[0].rpartition(" @ $")
    return f"{place.removeprefix('.')!r} {message}" if place else f"it {message}"


def _format(error: BaseException, _: type | None) -> str:
    if isinstance(error, KeyError):
        return "is missing"
    if isinstance(error, ForbiddenExtraKeysError):
        return f"has what does not belong there: {', '.join(map(repr, sorted(error.extra_fields)))}"
    if isinstance(error, _MisfitError):
        return str(error)
    return f"cannot be taken: {one_line(error)}"
