from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.errors import ArtifactError
from pipeline.sampling import training_hashes
from pipeline.sampling.hash_sampling import text_hashes
from pipeline.sampling.training_hashes import (
    bottom_k_sample,
    read_branch_texts,
    read_teacher_texts,
    write_branch_texts,
    write_teacher_texts,
)

HASHES = text_hashes([f"text {number}" for number in range(500)])


def test_of_a_small_corpus_every_text_is_remembered(tmp_path: Path):
    write_branch_texts(tmp_path, HASHES[:300])
    assert read_branch_texts(tmp_path) == set(HASHES[:300])
    assert read_teacher_texts(tmp_path) is None


def test_of_a_large_one_a_share_that_does_not_depend_on_the_order(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(training_hashes, "_KEPT", 40)
    assert bottom_k_sample(HASHES) == bottom_k_sample(HASHES[::-1] + HASHES[:7])
    write_branch_texts(tmp_path, HASHES)
    assert len(read_branch_texts(tmp_path)) == 40
    # What is remembered of a corpus is remembered of every part of it that holds it.
    assert set(bottom_k_sample(HASHES)) & set(HASHES[:250]) <= set(bottom_k_sample(HASHES[:250]))


def test_of_a_teacher_every_text_is_remembered_however_many(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(training_hashes, "_KEPT", 40)
    write_teacher_texts(tmp_path, HASHES + HASHES[:9])
    assert read_teacher_texts(tmp_path) == set(HASHES)
    assert read_branch_texts(tmp_path) is None


def test_what_a_teacher_remembers_does_not_depend_on_the_order(tmp_path: Path):
    files = []
    for hashes in (HASHES, HASHES[::-1]):
        write_teacher_texts(tmp_path, hashes)
        files.append((tmp_path / "teacher_texts.parquet").read_bytes())
    assert files[0] == files[1]


def test_a_model_that_does_not_say(tmp_path: Path):
    assert read_branch_texts(tmp_path) is None


def refusal(directory: Path) -> str:
    """The one line by which a model's memory is refused."""
    with pytest.raises(ArtifactError) as error:
        read_branch_texts(directory)
    line = str(error.value)
    assert line.startswith(f"{str(directory / 'seen_texts.parquet')!r} is damaged: ")
    assert line.endswith("; make the model again with `fastbert-jobs distill`")
    assert "\n" not in line
    return line


def test_a_damaged_memory_is_told(tmp_path: Path):
    write_branch_texts(tmp_path, HASHES)
    path = tmp_path / "seen_texts.parquet"
    whole = path.read_bytes()
    for content in (b"", b"PAR1", whole[:-9], b"PAR1" + bytes(200) + whole[204:]):
        path.write_bytes(content)
        refusal(tmp_path)


def test_a_memory_of_something_else_is_told(tmp_path: Path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "seen_texts.parquet")
    assert "text_hash" in refusal(tmp_path)
