from pathlib import Path

import pytest

from model.errors import InputError
from pipeline.reading.inputs import Columns, Inputs, inspect_inputs
from pipeline.sampling.hash_sampling import text_hashes
from pipeline.sampling.training_hashes import write_teacher_texts
from pipeline.transforms.teacher_texts import TeacherTexts
from tests.job_fixtures import make_texts, write_csv, write_tsv

TEXTS = make_texts(30)


def inputs(path: Path, **columns: str) -> Inputs:
    return inspect_inputs([str(path)], Columns(text="text", **columns), rows_per_shard=7)


def test_nothing_may_be_known(tmp_path: Path):
    found = TeacherTexts.of(tmp_path, None)
    assert (found.hashes, found.is_known, found.digest) == (frozenset(), False, "")


def test_what_the_teacher_remembers_and_what_files_say_are_joined(tmp_path: Path):
    write_teacher_texts(tmp_path, text_hashes(TEXTS[:10]))
    path = write_csv(tmp_path / "rows.csv", {"text": [*TEXTS[5:], "", TEXTS[7]]})
    found = TeacherTexts.of(tmp_path, inputs(path))
    assert found.is_known
    assert found.hashes == set(text_hashes(TEXTS))
    assert TeacherTexts.of(tmp_path, None).hashes == set(text_hashes(TEXTS[:10]))


def test_pairs_are_known_as_pairs(tmp_path: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS, "other": TEXTS[::-1]})
    found = TeacherTexts.of(tmp_path, inputs(path, text_pair="other"))
    assert found.hashes == set(text_hashes(TEXTS, TEXTS[::-1]))


def test_the_digest_tells_texts_apart_and_not_where_they_come_from(tmp_path: Path):
    write_teacher_texts(tmp_path, text_hashes(TEXTS))
    path = write_csv(tmp_path / "rows.csv", {"text": TEXTS[::-1]})
    remembered = TeacherTexts.of(tmp_path, None)
    assert remembered.digest == TeacherTexts.of(tmp_path / "elsewhere", inputs(path)).digest
    (tmp_path / "less").mkdir()
    write_teacher_texts(tmp_path / "less", text_hashes(TEXTS[1:]))
    assert TeacherTexts.of(tmp_path / "less", None).digest != remembered.digest


def test_files_that_are_gone_are_one_line(tmp_path: Path):
    path = write_csv(tmp_path / "rows.csv", {"text": TEXTS})
    given = inputs(path)
    path.unlink()
    with pytest.raises(InputError, match=r"rows\.csv"):
        TeacherTexts.of(tmp_path, given)
