import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import ArtifactError
from pipeline.contract.schema import SCHEMA_VERSION
from pipeline.contract.typed_json import as_plain, read_typed, write_typed


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str
    share: float | None


@dataclass(frozen=True, kw_only=True)
class Whole:
    parts: tuple[Part, ...]
    pairs: tuple[tuple[float, float], ...]
    by_name: Mapping[str, Part]
    number: int


parts = st.builds(Part, name=st.text(max_size=3), share=st.none() | st.floats(allow_nan=False))
wholes = st.builds(
    Whole,
    parts=st.lists(parts, max_size=3).map(tuple),
    pairs=st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), max_size=3).map(tuple),
    by_name=st.dictionaries(st.text(max_size=3), parts, max_size=3),
    number=st.integers(-9, 9),
)
WHOLE = Whole(
    parts=(Part(name="é", share=None),),
    pairs=((1.0, 2.0),),
    by_name={"a": Part(name="b", share=0.5)},
    number=7,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_typed(str(tmp_path / "a.json"), WHOLE)
    return tmp_path / "a.json"


def refusal(path: Path, kind: type = Whole) -> str:
    """The one line by which a file is refused."""
    with pytest.raises(ArtifactError) as error:
        read_typed(str(path), kind, cure="make it again")
    line = str(error.value)
    assert line.startswith(f"{str(path)!r} is ")
    assert line.endswith("; make it again")
    assert "\n" not in line
    return line


@given(wholes)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, whole: Whole):
    path = str(tmp_path_factory.mktemp("typed") / "a.json")
    write_typed(path, whole)
    assert read_typed(path, Whole, cure="") == whole


def test_equal_content_is_equal_bytes(path: Path):
    before = path.read_bytes()
    write_typed(str(path), read_typed(str(path), Whole, cure=""))
    assert path.read_bytes() == before
    assert json.loads(before)["schema_version"] == SCHEMA_VERSION


def test_a_dataclass_is_plain_json():
    plain = json.loads(json.dumps(as_plain(WHOLE)))
    assert plain == {
        "parts": [{"name": "é", "share": None}],
        "pairs": [[1.0, 2.0]],
        "by_name": {"a": {"name": "b", "share": 0.5}},
        "number": 7,
    }


@pytest.mark.parametrize(
    ("version", "found"),
    [(1, "version 1"), (SCHEMA_VERSION + 1, f"version {SCHEMA_VERSION + 1}"), ("x", "version 'x'")],
)
def test_another_version_is_refused_before_anything_else_is_looked_at(
    path: Path, version: object, found: str
):
    path.write_text(json.dumps({"schema_version": version, "something": "else"}))
    expected = f"is of {found} of the data contract, and this is version {SCHEMA_VERSION}; make it again"
    assert expected in refusal(path)


def test_a_file_without_a_version_is_of_an_older_one(path: Path):
    path.write_text(json.dumps(as_plain(WHOLE)))
    assert "is of an older version of the data contract" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"null", b'"a"', b"\xff", b"{}x"])
def test_what_is_no_json_object_is_damaged(path: Path, content: bytes):
    path.write_bytes(content)
    assert "is damaged: " in refusal(path)


def test_every_cut_of_a_file_is_damaged(path: Path):
    whole = path.read_bytes().rstrip()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert "is damaged: " in refusal(path)


def test_what_is_not_there_is_damaged(tmp_path: Path):
    assert "is damaged: " in refusal(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"number": "seven"}, "number"),
        ({"number": None}, "number"),
        ({"parts": [{"name": "a"}]}, "share"),
        ({"parts": [{"name": "a", "share": "half"}]}, "share"),
        ({"parts": 3}, "parts"),
        ({"pairs": [[1.0]]}, "pairs"),
        ({"by_name": {"a": 1}}, "by_name"),
        ({"by_name": []}, "by_name"),
        ({"extra": 1}, "extra"),
    ],
)
def test_content_of_another_type_is_damaged_and_named(path: Path, change: dict[str, object], named: str):
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    line = refusal(path)
    assert "is damaged: " in line
    assert named in line


@dataclass(frozen=True, kw_only=True)
class Plain:
    label: str
    labels: tuple[str, ...]
    pair: tuple[float, float]
    count: int
    share: float
    is_done: bool
    limit: float | None
    by_name: dict[str, int]
    part: Part


PLAIN = Plain(
    label="a",
    labels=("a", "b"),
    pair=(0.5, 1.0),
    count=3,
    share=0.5,
    is_done=True,
    limit=None,
    by_name={"a": 1},
    part=Part(name="a", share=1.0),
)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": "abcde"}, "'labels' is a string, not a list"),
        ({"labels": {"a": 1}}, "'labels' is an object, not a list"),
        ({"labels": None}, "'labels' is null, not a list"),
        ({"labels": ["a", 1]}, "'labels[1]' is a whole number, not a string"),
        ({"pair": [1.0]}, "'pair' has 1 items, not 2"),
        ({"pair": [1.0, 2.0, 3.0]}, "'pair' has 3 items, not 2"),
        ({"pair": [1.0, "2"]}, "'pair[1]' is a string, not a number"),
        ({"label": None}, "'label' is null, not a string"),
        ({"label": 7}, "'label' is a whole number, not a string"),
        ({"count": "3"}, "'count' is a string, not a whole number"),
        ({"count": 3.0}, "'count' is a number, not a whole number"),
        ({"count": True}, "'count' is true or false, not a whole number"),
        ({"share": "0.5"}, "'share' is a string, not a number"),
        ({"share": False}, "'share' is true or false, not a number"),
        ({"is_done": "false"}, "'is_done' is a string, not true or false"),
        ({"is_done": 1}, "'is_done' is a whole number, not true or false"),
        ({"limit": "1"}, "'limit' is a string, not a number"),
        ({"limit": True}, "'limit' is true or false, not a number"),
        ({"by_name": [1]}, "'by_name' is a list, not an object"),
        ({"by_name": {"a": "1"}}, """"by_name['a']" is a string, not a whole number"""),
        ({"part": []}, "'part' is a list, not an object"),
        ({"part": {"name": "a"}}, "'part.share' is missing"),
        ({"part": {"name": "a", "share": 1, "b": 1}}, "'part' has what does not belong there: 'b'"),
        ({"extra": 1}, "it has what does not belong there: 'extra'"),
    ],
)
def test_nothing_is_made_of_what_is_of_another_type(path: Path, change: dict[str, object], reason: str):
    write_typed(str(path), PLAIN)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert refusal(path, Plain) == f"{str(path)!r} is damaged: {reason}; make it again"


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Painted:
    colour: Colour


def test_a_choice_is_read_as_itself(path: Path):
    write_typed(str(path), Painted(colour=Colour.BLUE))
    assert read_typed(str(path), Painted, cure="none").colour is Colour.BLUE
    path.write_text(path.read_text().replace("blue", "green"))
    with pytest.raises(ArtifactError, match="'colour' is 'green', not one of red, blue; none"):
        read_typed(str(path), Painted, cure="none")


def test_a_whole_number_may_stand_for_a_float(path: Path):
    write_typed(str(path), PLAIN)
    path.write_text(json.dumps({**json.loads(path.read_text()), "share": 1, "limit": 2, "pair": [1, 2]}))
    read = read_typed(str(path), Plain, cure="")
    assert (read.share, read.limit, read.pair) == (1.0, 2.0, (1.0, 2.0))
    assert {type(number) for number in (read.share, read.limit, *read.pair)} == {float}


@pytest.mark.parametrize("content", ["[]", "7", "null", '"a"'])
def test_what_is_no_object_is_told_in_words(path: Path, content: str):
    path.write_text(content)
    assert refusal(path) == f"{str(path)!r} is damaged: it holds no JSON object; make it again"


@pytest.mark.parametrize("name", ["parts", "pairs", "by_name", "number"])
def test_a_missing_field_is_named(path: Path, name: str):
    content = json.loads(path.read_text())
    del content[name]
    path.write_text(json.dumps(content))
    assert name in refusal(path)


def test_another_kind_of_file_is_damaged(path: Path):
    assert "is damaged: " in refusal(path, Part)
