from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.results import near_copies as module
from pipeline.results.calibration_texts import calibration_texts
from pipeline.results.near_copies import NearCopies, near_copies
from pipeline.results.soft_labels import SoftLabels
from pipeline.sampling.hash_sampling import text_hashes
from tests.pipeline.results.soft_label_shards import write_rows

SHARED = "what was said in the other text of this very thread"


def labels_of(directory: Path, splits: dict[Any, str]) -> SoftLabels:
    """Soft labels of texts or pairs, whose splits are as given."""
    texts, *pairs = zip(*(each if isinstance(each, tuple) else (each,) for each in splits), strict=True)
    hashes = pa.array(text_hashes(texts, *pairs), pa.binary(16))
    columns = dict(zip(("text", "text_pair"), (texts, *pairs), strict=False))
    rows = pa.table({**columns, "unit_hash": hashes, "split": list(splits.values())})
    write_rows(str(directory), rows, calibration_fraction=0.0)
    return SoftLabels.open(str(directory))


def found(labels: SoftLabels) -> NearCopies:
    return near_copies(calibration_texts(labels, 1000).calibration_rows, labels)


@pytest.fixture
def labels(tmp_path: Path) -> SoftLabels:
    train = {f"{SHARED}, and {number} more": "train" for number in range(60)}
    ours = [f"he asked {SHARED.upper()}?", "nobody has written any of these words elsewhere", "too short"]
    return labels_of(tmp_path, train | dict.fromkeys(ours, "calibration"))


def test_texts_that_share_much_with_texts_to_train_on_are_counted(labels: SoftLabels):
    copies = found(labels)
    assert copies == NearCopies(
        num_near=1, num_told=2, num_short=1, num_compared=labels.num_train_rows, is_complete=True
    )
    assert copies.are_many
    told = "1 of 2 texts share a tenth or more, in runs of 40 bytes, with texts to train on"
    assert copies.describe() == f"{told}; 1 are too short to tell"


def test_of_very_much_text_the_first_is_looked_at(labels: SoftLabels, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_MOST_BYTES", 100)
    monkeypatch.setattr(module, "_ROWS", 7)
    copies = found(labels)
    assert (copies.num_near, copies.num_compared, copies.is_complete) == (1, 7, False)
    assert "with texts to train on, the first 7 rows of them; " in copies.describe()


@pytest.mark.parametrize("rows", [1, 7, 59, 60, 61])
def test_how_many_are_compared_at_once_makes_no_difference(
    labels: SoftLabels, rows: int, monkeypatch: pytest.MonkeyPatch
):
    expected = found(labels)
    monkeypatch.setattr(module, "_ROWS", rows)
    assert found(labels) == expected


def test_without_what_was_learnt_from_there_is_nothing_to_compare_with(labels: SoftLabels):
    copies = near_copies(calibration_texts(labels, 1000).calibration_rows, None)
    assert (copies.num_near, copies.num_compared, copies.are_many) == (0, 0, False)
    assert copies.describe().endswith("there is nothing to compare with")


def test_pairs_are_compared_as_pairs(tmp_path: Path):
    pairs = {(SHARED, f"and {number} more"): "train" for number in range(60)}
    pairs |= {("he asked", SHARED): "calibration", ("too", "short"): "calibration"}
    labels = labels_of(tmp_path, pairs)
    assert found(labels) == NearCopies(
        num_near=1, num_told=1, num_short=1, num_compared=labels.num_train_rows, is_complete=True
    )


@pytest.mark.parametrize(("around", "num_near"), [(0, 1), (108, 1), (109, 0), (900, 0)])
def test_one_passage_of_a_long_text_makes_no_near_copy(tmp_path: Path, around: int, num_near: int):
    """Of `SHARED` 12 passages are common, and a text around it has a passage for each of its bytes."""
    train = {f"{SHARED}, and {number} more": "train" for number in range(60)}
    copies = found(labels_of(tmp_path, {**train, f"{'x' * around}{SHARED}": "calibration"}))
    assert (copies.num_told, copies.num_near) == (1, num_near)


@pytest.mark.parametrize(("num_near", "are_many"), [(0, False), (20, False), (21, True)])
def test_where_there_are_many_is_told(num_near: int, are_many: bool):
    copies = NearCopies(num_near=num_near, num_told=100, num_short=900, num_compared=9, is_complete=True)
    assert copies.are_many == are_many


def test_where_none_is_long_enough_there_are_not_many():
    copies = NearCopies(num_near=0, num_told=0, num_short=9, num_compared=9, is_complete=True)
    assert not copies.are_many
