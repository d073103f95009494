import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract.columns import Columns
from pipeline.contract.plan import RowRange
from pipeline.reading.inputs import Inputs, InspectedFile, ReadOptions
from pipeline.reading.stored_inputs import read_inputs, write_inputs

numbers = st.integers(-1, 1 << 62)
names = st.text(st.characters(codec="utf-8"), max_size=8)
ranges = st.builds(RowRange, first_row=numbers, num_rows=numbers, first_byte=numbers, num_bytes=numbers)
files = st.builds(
    InspectedFile,
    path=names,
    format=names,
    ranges=st.lists(ranges, max_size=3).map(tuple),
    size=numbers,
    checksum=names,
    version=names,
)
types = st.sampled_from(
    [
        pa.int64(),
        pa.string(),
        pa.list_(pa.struct([("a", pa.float32()), ("b", pa.timestamp("us", "Europe/Berlin"))])),
        pa.dictionary(pa.int8(), pa.large_string()),
        pa.decimal128(20, 3),
    ]
)
options = st.builds(
    ReadOptions,
    columns=st.builds(Columns, text=names, keep=st.lists(names, unique=True).map(tuple)),
    id_type=st.none() | types,
    kept=st.lists(st.builds(pa.field, names, types), max_size=3).map(tuple),
    group_type=st.none() | types,
    rows_per_shard=st.integers(1, 1 << 40),
)
sources = st.lists(files, min_size=1, max_size=4).map(tuple)


@given(st.builds(Inputs, options=options, sources=sources), st.dictionaries(names, numbers))
def test_what_was_found_is_read_again(inputs: Inputs, notes: dict[str, object]):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "plan"
        write_inputs(str(path), inputs, notes)
        assert read_inputs(str(path)) == (inputs, notes)
        before = path.read_bytes()
        write_inputs(str(path), inputs, notes)
        assert path.read_bytes() == before


def write_some(path: Path) -> bytes:
    source = InspectedFile(path="a", format="tsv", ranges=(), size=0, checksum="", version="")
    reading = ReadOptions(columns=Columns(text="t"), id_type=None, kept=(), rows_per_shard=1)
    write_inputs(str(path), Inputs(options=reading, sources=(source,)), {})
    return path.read_bytes()


def test_a_damaged_file_is_told(tmp_path: Path):
    path = tmp_path / "plan"
    content = write_some(path)
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        with pytest.raises((OSError, ValueError)):
            read_inputs(str(path))


def test_a_file_of_another_version_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.reading.stored_inputs.SCHEMA_VERSION", -1)
    write_some(tmp_path / "plan")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="another version of the data contract"):
        read_inputs(str(tmp_path / "plan"))
