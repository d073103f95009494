import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.answers.task import Task
from model.errors import ArtifactError, InputError
from model.guarantee.unit import Unit
from model.training.soft_labelled_texts import SoftLabelledTexts, SoftLabelSource
from pipeline.contract import schema
from pipeline.contract.answer_fields import soft_label_field
from pipeline.contract.arrays import fixed_size_list, source_column
from pipeline.contract.columns import Columns
from pipeline.contract.job import JobDescription
from pipeline.contract.layout import OutputLayout
from pipeline.contract.output import claim_output, commit
from pipeline.contract.plan import RowRange, make_plan
from pipeline.contract.shards import ShardWriter, with_metadata
from pipeline.results import soft_labels
from pipeline.results.soft_labels import SoftLabels
from pipeline.sampling.hash_sampling import HashStream, in_hash_sample, text_hashes
from tests.pipeline.contract.score_jobs import LABEL, done, job, label_manifest

Splits = Sequence[Sequence[str]]


def write_labels(
    directory: str,
    splits: Splits,
    *,
    with_pair: bool = False,
    distinct: int | None = None,
    first: int = 0,
    names: tuple[str, ...] = ("a", "b"),
    group_size: int | None = None,
    # That all texts may be trained on which `splits` says so of.
    calibration_fraction: float = 0.0,
    **settings: object,
) -> list[str]:
    """Write a finished output of label-teacher, a shard for each entry; return all texts, row by row.

    Neighbours are of one group where these have a size.
    """
    layout = OutputLayout(directory)
    if group_size is not None:
        settings["unit"] = Unit.GROUPS
    columns = Columns(text="t", text_pair="p" if with_pair else None)
    options = {"max_length": 9, "columns": columns, "calibration_fraction": calibration_fraction, **settings}
    job = JobDescription(settings=replace(LABEL, **options), inputs=())
    plan = make_plan([("a.csv", "csv", [RowRange(first_row=0, num_rows=len(split)) for split in splits])])
    claim_output(layout, job, overwrite=False)
    label_schema = schema.label_schema(
        num_labels=2, answer=[soft_label_field(Task.ONE_LABEL)], with_pair=with_pair
    )
    texts: list[str] = []
    for item, split in zip(plan.items, splits, strict=True):
        numbers = range(first + len(texts), first + len(texts) + len(split))
        mine = [f"text {number if distinct is None else number % distinct}" for number in numbers]
        pairs = [f"pair of {text}" for text in mine]
        hashes = text_hashes(mine, pairs if with_pair else None)
        units = [f"group {number // (group_size or 1)}" for number in numbers]
        values = {
            "source": source_column("a.csv", len(mine)),
            "row": pa.array(numbers, pa.int64()),
            "text": pa.array(mine, pa.string()),
            "text_pair": pa.array(pairs, pa.string()),
            "text_hash": pa.array(hashes, pa.binary(16)),
            "unit_hash": pa.array(hashes if group_size is None else text_hashes(units), pa.binary(16)),
            "split": pa.array(list(split), pa.string()),
            "teacher_logits": fixed_size_list(
                np.array([[n, -n] for n in numbers], dtype=np.float32).reshape(-1, 2)
            ),
            "teacher_prediction": pa.array(["a"] * len(mine), pa.string()),
            "num_tokens": pa.array([n % 7 + 2 for n in numbers], pa.int32()),
            "truncated": pa.array([False] * len(mine)),
        }
        table = pa.table([values[name] for name in label_schema.names], schema=label_schema)
        with ShardWriter(
            layout, item.shard_name, with_metadata(label_schema, {"fingerprint": job.fingerprint})
        ) as shard:
            shard.write(table)
            counts = Counter(split)
            shard.finish(
                {"rejected": 0, "train": counts["train"], "calibration": counts["calibration"]}, None
            )
        texts += mine
    commit(layout, job, plan, labels=names, versions={}, build=label_manifest)
    return texts


def train_shards(*sizes: int) -> Splits:
    return [["train"] * size for size in sizes]


def batches_of(
    labels: SoftLabels, epoch: int = 0, *, batch_size: int = 4, seed: int = 0
) -> list[SoftLabelledTexts]:
    return list(labels.batches(epoch, batch_size=batch_size, seed=seed))


def texts_of(batches: Sequence[SoftLabelledTexts]) -> list[str]:
    return [text for batch in batches for text in batch.texts]


splits = st.lists(
    st.lists(st.sampled_from(["train", "train", "calibration"]), max_size=40), min_size=1, max_size=5
)


@settings(deadline=None, max_examples=60)  # it writes and reads files
@given(splits=splits, batch_size=st.integers(1, 50), buffer_rows=st.integers(1, 60), epoch=st.integers(0, 3))
def test_an_epoch_is_every_train_row_once_and_no_other(
    splits: Splits, batch_size: int, buffer_rows: int, epoch: int
):
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(soft_labels, "SHUFFLE_BUFFER_ROWS", buffer_rows),
    ):
        texts = write_labels(folder, splits)
        in_order = [split for part in splits for split in part]
        is_train = np.array([split == "train" for split in in_order], dtype=bool)
        num_train = int(is_train.sum())
        share = min(soft_labels.HELD_OUT_SHARE, soft_labels.MAX_HELD_OUT_ROWS / num_train) if num_train else 0
        is_held_out = in_hash_sample(text_hashes(texts), share, HashStream.HELD_OUT)
        expected = {
            text for text, train, held in zip(texts, is_train, is_held_out, strict=True) if train and not held
        }
        if not expected:
            with pytest.raises(InputError, match="has no rows to train on"):
                SoftLabels.open(folder).check_trainable()
            return
        labels = SoftLabels.open(folder)
        batches = batches_of(labels, epoch, batch_size=batch_size)
        held_out = labels.held_out()
    found = texts_of(batches)
    assert len(found) == len(expected) == labels.num_train_rows
    assert set(found) == expected
    assert labels.steps_per_epoch(batch_size) == len(batches)
    assert all(0 < len(batch) <= batch_size for batch in batches)
    judged = set() if held_out is None else set(held_out.texts)
    assert judged == {
        t for t, train, held in zip(texts, is_train, is_held_out, strict=True) if train and held
    }
    for batch in batches:
        numbers = [int(text.split()[1]) for text in batch.texts]
        assert batch.logits.tolist() == [[n, -n] for n in numbers]
        assert batch.num_tokens.tolist() == [n % 7 + 2 for n in numbers]
        assert batch.num_tokens.tolist() == sorted(batch.num_tokens.tolist(), reverse=True)


def test_the_order_is_that_of_seed_and_epoch(tmp_path: Path):
    write_labels(str(tmp_path), train_shards(30, 20, 10))
    labels = SoftLabels.open(str(tmp_path))
    order = texts_of(batches_of(labels))
    assert texts_of(batches_of(SoftLabels.open(str(tmp_path)))) == order
    assert texts_of(batches_of(labels, 1)) != order
    assert texts_of(batches_of(labels, seed=1)) != order
    assert sorted(texts_of(batches_of(labels, 1))) == sorted(order)


def test_a_batch_mixes_rows_of_several_shards(tmp_path: Path):
    write_labels(str(tmp_path), train_shards(*[20] * 5))
    for batch in batches_of(SoftLabels.open(str(tmp_path)), batch_size=16)[:5]:
        assert len({int(text.split()[1]) // 20 for text in batch.texts}) > 1


def test_shards_come_in_another_order_where_the_corpus_is_larger_than_the_pool(tmp_path: Path):
    write_labels(str(tmp_path), train_shards(*[20] * 8))
    with mock.patch.object(soft_labels, "SHUFFLE_BUFFER_ROWS", 20):
        labels = SoftLabels.open(str(tmp_path))
        firsts = {
            int(batches_of(labels, epoch, batch_size=10)[0].texts[0].split()[1]) // 20 for epoch in range(8)
        }
    assert len(firsts) > 1


def test_equal_texts_are_all_held_out_or_none(tmp_path: Path):
    write_labels(str(tmp_path), train_shards(200, 200), distinct=40)
    labels = SoftLabels.open(str(tmp_path))
    held_out = labels.held_out()
    assert held_out is not None
    assert not set(held_out.texts) & set(texts_of(batches_of(labels)))
    assert len(held_out) + labels.num_train_rows == 400
    assert set(Counter(held_out.texts).values()) == {10}


def test_rows_of_a_group_are_all_held_out_or_none(tmp_path: Path):
    texts = write_labels(str(tmp_path), train_shards(150, 250), group_size=10)
    labels = SoftLabels.open(str(tmp_path))
    held_out = labels.held_out()
    assert labels.unit is Unit.GROUPS
    assert held_out is not None
    found = Counter(texts.index(text) // 10 for text in held_out.texts)
    assert set(found.values()) == {10}
    assert not {texts.index(text) // 10 for text in texts_of(batches_of(labels))} & found.keys()
    assert labels.num_train_rows + len(held_out) == 400
    assert set(labels.held_out_hashes()) == set(text_hashes(held_out.texts))


def test_a_group_that_another_directory_may_calibrate_with_is_not_trained_on(tmp_path: Path):
    """Nor are rows of it that the teacher learnt from, which calibrate nothing."""
    write_labels(str(tmp_path), train_shards(200), group_size=10, calibration_fraction=0.5)
    labels = SoftLabels.open(str(tmp_path))
    drawn = in_hash_sample(text_hashes([f"group {each}" for each in range(20)]), 0.5, HashStream.CALIBRATION)
    seen = {*labels.train_hashes(), *labels.held_out_hashes()}
    texts = text_hashes([f"text {number}" for number in range(200)])
    assert seen == {text for number, text in enumerate(texts) if not drawn[number // 10]}
    assert 0 < len(seen) < 200


def test_of_one_directory_of_texts_what_the_teacher_learnt_is_trained_on(tmp_path: Path):
    """Texts that were drawn for calibration, and stand in the train split since they calibrate nothing."""
    texts = write_labels(str(tmp_path), train_shards(200), calibration_fraction=0.5)
    labels = SoftLabels.open(str(tmp_path))
    assert {*labels.train_hashes(), *labels.held_out_hashes()} == set(text_hashes(texts))


def test_pairs_come_with_their_texts(tmp_path: Path):
    write_labels(str(tmp_path), train_shards(30), with_pair=True)
    labels = SoftLabels.open(str(tmp_path))
    assert labels.has_pairs
    for batch in batches_of(labels):
        assert batch.text_pairs == [f"pair of {text}" for text in batch.texts]


def test_what_the_manifest_says(tmp_path: Path):
    write_labels(str(tmp_path), train_shards(30))
    labels = SoftLabels.open(str(tmp_path))
    assert (labels.labels, labels.max_length, labels.has_pairs) == (("a", "b"), 9, False)


@pytest.mark.parametrize("splits", [[[]], [["calibration"] * 3], [[], ["calibration"]]])
def test_without_rows_to_train_on_it_is_an_error(tmp_path: Path, splits: Splits):
    write_labels(str(tmp_path), splits)
    with pytest.raises(InputError, match=r"has no rows to train on.*`calibration_fraction`"):
        SoftLabels.open(str(tmp_path)).check_trainable()


def test_what_is_not_finished_is_refused(tmp_path: Path):
    write_labels(str(tmp_path), train_shards(3))
    (tmp_path / "_MANIFEST.json").unlink()
    with pytest.raises(
        ArtifactError, match="is not finished; run its `fastbert-jobs label-teacher` command again"
    ):
        SoftLabels.open(str(tmp_path))


def test_the_output_of_another_command_is_refused(tmp_path: Path):
    done(OutputLayout(str(tmp_path)), job())
    with pytest.raises(ArtifactError, match="was written by `score`, not by `label-teacher`"):
        SoftLabels.open(str(tmp_path))


def test_a_shard_that_the_manifest_does_not_list_is_not_read(tmp_path: Path):
    write_labels(str(tmp_path), train_shards(30))
    before = texts_of(batches_of(SoftLabels.open(str(tmp_path))))
    shard = tmp_path / "part-00000-of-00001.parquet"
    (tmp_path / "part-00000-of-00002.parquet").write_bytes(shard.read_bytes())
    assert texts_of(batches_of(SoftLabels.open(str(tmp_path)))) == before


def test_labels_on_disk_are_a_source_of_batches(tmp_path: Path):
    write_labels(str(tmp_path), train_shards(30))
    source: SoftLabelSource = SoftLabels.open(str(tmp_path))
    batches = list(source.batches(0, batch_size=4, seed=0))
    assert len(batches) == source.steps_per_epoch(4)


def test_several_directories_are_one_source(tmp_path: Path):
    splits = [["train", "calibration"] * 15, ["train"] * 10]
    first = write_labels(str(tmp_path / "one"), splits)
    second = write_labels(str(tmp_path / "two"), splits, first=len(first))
    both = SoftLabels.open([str(tmp_path / "one"), str(tmp_path / "two")])
    held_out = both.held_out()
    assert held_out is not None
    trained = texts_of(batches_of(both))
    is_train = [split == "train" for split in [split for part in splits for split in part] * 2]
    expected = {text for text, train in zip([*first, *second], is_train, strict=True) if train}
    assert {*trained, *held_out.texts} == expected
    assert len(trained) == both.num_train_rows == len(list(both.train_hashes()))
    assert both.num_calibration_rows == 30
    assert both.fingerprints == tuple(
        SoftLabels.open(str(tmp_path / name)).fingerprints[0] for name in ("one", "two")
    )


def test_some_of_several_directories_are_as_if_opened_without_the_others(tmp_path: Path):
    names = [str(tmp_path / name) for name in ("one", "two")]
    for name, share in zip(names, (0.1, 0.3), strict=True):
        write_labels(name, train_shards(60), calibration_fraction=share)
    both = SoftLabels.open(names)
    for name, fingerprint in zip(names, both.fingerprints, strict=True):
        assert both.only([fingerprint]) == SoftLabels.open(name)
    assert both.only([*both.fingerprints, "another"]) == both
    assert both.only(["another"]) is None


def test_no_more_is_held_out_than_a_training_held_out(tmp_path: Path):
    write_labels(str(tmp_path), train_shards(400))
    opened = SoftLabels.open(str(tmp_path))
    less = opened.holding_out(opened.held_out_share / 3)
    assert 0 < len({*less.held_out_hashes()}) < len({*opened.held_out_hashes()})
    assert {*less.held_out_hashes()} < {*opened.held_out_hashes()}
    assert {*less.held_out_hashes(), *less.train_hashes()} == {
        *opened.held_out_hashes(),
        *opened.train_hashes(),
    }
    assert opened.holding_out(1.0) == opened


def test_a_directory_that_is_given_twice_counts_once(tmp_path: Path):
    write_labels(str(tmp_path), train_shards(30))
    once = SoftLabels.open(str(tmp_path))
    (tmp_path.parent / f"{tmp_path.name}-link").symlink_to(tmp_path)
    for spelt in ("", "/", "/.", f"/../{tmp_path.name}", "-link"):
        assert SoftLabels.open([str(tmp_path), f"{tmp_path}{spelt}"]) == once


def test_what_another_directory_may_calibrate_with_is_not_trained_on(tmp_path: Path):
    texts = write_labels(str(tmp_path / "one"), train_shards(200))
    hashes = text_hashes(texts)
    split = np.where(in_hash_sample(hashes, 0.5, HashStream.CALIBRATION), "calibration", "train")
    write_labels(str(tmp_path / "two"), [split.tolist()], calibration_fraction=0.5)
    labels = SoftLabels.open([str(tmp_path / "one"), str(tmp_path / "two")])
    held_out = labels.held_out()
    seen = {*texts_of(batches_of(labels)), *([] if held_out is None else held_out.texts)}
    assert seen == {text for text, part in zip(texts, split, strict=True) if part == "train"}


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        ({"names": ("b", "a")}, "labels"),
        ({"model_hash": "another"}, "teachers"),
        ({"max_length": 8}, "`max_length`"),
        ({"with_pair": True}, "kinds of text, single and pairs"),
        ({"unit": Unit.ROWS}, "units of a promise"),
    ],
)
def test_directories_that_do_not_go_together_are_refused(
    tmp_path: Path, other: dict[str, Any], differing: str
):
    write_labels(str(tmp_path / "one"), train_shards(30))
    write_labels(str(tmp_path / "two"), train_shards(30), **other)
    message = f"'{tmp_path}/two' and '{tmp_path}/one' do not go together: they are of different {differing}"
    with pytest.raises(ArtifactError, match=f"^{re.escape(message)}$"):
        SoftLabels.open([str(tmp_path / "one"), str(tmp_path / "two")])
