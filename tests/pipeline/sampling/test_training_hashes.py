from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.errors import ArtifactError
from pipeline.sampling import training_hashes
from pipeline.sampling.hash_sampling import text_hashes
from pipeline.sampling.training_hashes import bottom_k_sample, overlapping_rows, write_training_hashes

HASHES = text_hashes([f"text {number}" for number in range(500)])


def test_of_a_small_corpus_every_text_is_remembered(tmp_path: Path):
    write_training_hashes(tmp_path, HASHES[:300])
    assert overlapping_rows(tmp_path, HASHES[250:350]) == list(range(50))
    assert overlapping_rows(tmp_path, HASHES[300:]) == []


def test_of_a_large_one_a_share_that_does_not_depend_on_the_order(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(training_hashes, "_KEPT", 40)
    assert bottom_k_sample(HASHES) == bottom_k_sample(HASHES[::-1] + HASHES[:7])
    write_training_hashes(tmp_path, HASHES)
    assert len(overlapping_rows(tmp_path, HASHES)) == 40
    # What is remembered of a corpus is remembered of every part of it that holds it.
    assert set(bottom_k_sample(HASHES)) & set(HASHES[:250]) <= set(bottom_k_sample(HASHES[:250]))


def test_a_model_that_does_not_say(tmp_path: Path):
    assert overlapping_rows(tmp_path, HASHES) is None


def refusal(directory: Path) -> str:
    """The one line by which a model's memory is refused."""
    with pytest.raises(ArtifactError) as error:
        overlapping_rows(directory, HASHES)
    line = str(error.value)
    assert line.startswith(f"{str(directory / 'seen_texts.parquet')!r} is damaged: ")
    assert line.endswith("; make the model again with `fastbert-jobs distill`")
    assert "\n" not in line
    return line


def test_a_damaged_memory_is_told(tmp_path: Path):
    write_training_hashes(tmp_path, HASHES)
    path = tmp_path / "seen_texts.parquet"
    whole = path.read_bytes()
    for content in (b"", b"PAR1", whole[:-9], b"PAR1" + bytes(200) + whole[204:]):
        path.write_bytes(content)
        refusal(tmp_path)


def test_a_memory_of_something_else_is_told(tmp_path: Path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "seen_texts.parquet")
    assert "text_hash" in refusal(tmp_path)
