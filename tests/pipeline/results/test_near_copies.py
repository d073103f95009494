from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.results import near_copies as module
from pipeline.results.calibration_texts import calibration_texts
from pipeline.results.near_copies import NearCopies, near_copies
from pipeline.results.soft_labels import SoftLabels
from pipeline.sampling.hash_sampling import text_hashes
from tests.pipeline.results.soft_label_shards import write_rows

SHARED = "what was said in the other text of this very thread"


def labels_of(directory: Path, texts: dict[str, str]) -> SoftLabels:
    """Soft labels whose splits are as given; none of their train rows is held out."""
    rows = pa.table(
        {
            "text": list(texts),
            "unit_hash": pa.array(text_hashes(list(texts)), pa.binary(16)),
            "split": list(texts.values()),
        }
    )
    write_rows(str(directory), rows, calibration_fraction=0.0)
    return SoftLabels.open(str(directory))


def found(labels: SoftLabels) -> NearCopies:
    return near_copies(labels, calibration_texts(labels, 1000).calibration_rows)


@pytest.fixture
def labels(tmp_path: Path) -> SoftLabels:
    train = {f"{SHARED}, and {number} more": "train" for number in range(60)}
    ours = [f"he asked {SHARED.upper()}?", "nobody has written any of these words elsewhere", "too short"]
    return labels_of(tmp_path, train | dict.fromkeys(ours, "calibration"))


def test_texts_that_share_a_passage_with_texts_to_train_on_are_counted(labels: SoftLabels):
    copies = found(labels)
    assert copies == NearCopies(num_shared=1, num_told=2, num_short=1, is_complete=True)
    assert copies.are_many
    told = "1 of 2 texts share 40 bytes in a row with texts to train on; 1 are too short to tell"
    assert copies.describe() == told


def test_of_very_much_text_the_first_is_looked_at(labels: SoftLabels, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_MOST_BYTES", 100)
    copies = found(labels)
    assert not copies.is_complete
    assert "with texts to train on (of the first ones); " in copies.describe()


@pytest.mark.parametrize(("num_shared", "are_many"), [(0, False), (20, False), (21, True)])
def test_where_there_are_many_is_told(num_shared: int, are_many: bool):
    copies = NearCopies(num_shared=num_shared, num_told=100, num_short=900, is_complete=True)
    assert copies.are_many == are_many


def test_where_none_is_long_enough_there_are_not_many():
    assert not NearCopies(num_shared=0, num_told=0, num_short=9, is_complete=True).are_many
