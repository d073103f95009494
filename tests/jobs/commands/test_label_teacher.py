import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaConfig, RoFormerConfig

from pipeline.transforms.labelling import LabelTask
from tests.job_fixtures import (
    LABELS,
    MAX_LENGTH,
    WRITERS,
    CommandLine,
    make_texts,
    plain_logits,
    read_manifest_file,
    read_output,
    read_rejected,
    snapshot,
    write_csv,
    write_parquet,
    write_tsv,
)

TEXTS = make_texts(60)
LONG = " ".join(TEXTS) * 20


def label(path: Path, teacher: Path, output: Path, **options: Any) -> list[Any]:
    """Return the command line that labels `path`."""
    more = [part for name, value in options.items() for part in ("--" + name.replace("_", "-"), value)]
    given = ["--input", path, "--text-column", "text", "--teacher", teacher, "--output", output]
    return ["label-teacher", "--precision", "fp32", *given, *more]


@pytest.mark.parametrize("name", WRITERS)
def test_soft_labels_are_the_teachers_logits_in_every_format(
    command: CommandLine, teacher: Path, tmp_path: Path, name: str
):
    texts = [*TEXTS[:20], "", *TEXTS[20:], " "]
    path = WRITERS[name](tmp_path / name, {"text": texts, "key": [f"k{i}" for i in range(len(texts))]})
    out = command(*label(path, teacher, tmp_path / "out", id_column="key", rows_per_shard=16))
    table = read_output(tmp_path / "out")
    rows = [row for row, text in enumerate(texts) if text.strip()]
    assert table["row"].to_pylist() == rows
    assert table["text"].to_pylist() == [texts[row] for row in rows]
    assert table["id"].to_pylist() == [f"k{row}" for row in rows]
    logits = plain_logits(teacher, [texts[row] for row in rows])
    np.testing.assert_allclose(np.stack(table["teacher_logits"].to_numpy()), logits, atol=1e-5)
    assert table["teacher_prediction"].to_pylist() == [LABELS[i] for i in logits.argmax(1)]
    assert [row for _, row, *_ in read_rejected(tmp_path / "out")] == [20, len(texts) - 1]
    assert "60 rows, 2 rejected" in out


def test_pairs_are_labelled_as_pairs(command: CommandLine, teacher: Path, tmp_path: Path):
    pairs = TEXTS[::-1]
    path = write_csv(tmp_path / "rows.csv", {"text": TEXTS, "pair": pairs})
    command(*label(path, teacher, tmp_path / "out", text_pair_column="pair"))
    table = read_output(tmp_path / "out")
    logits = plain_logits(teacher, TEXTS, pairs)
    np.testing.assert_allclose(np.stack(table["teacher_logits"].to_numpy()), logits, atol=1e-5)
    assert table["text_pair"].to_pylist() == pairs


@pytest.mark.parametrize("name", WRITERS)
def test_rows_of_a_group_are_in_one_split_in_every_format(
    command: CommandLine, teacher: Path, tmp_path: Path, name: str
):
    texts = [*TEXTS, *TEXTS[:9], ""]
    groups = [number // 3 for number in range(len(texts))]
    path = WRITERS[name](tmp_path / name, {"text": texts, "thread": groups})
    out = command(
        *label(path, teacher, tmp_path / "out", rows_per_shard=16, calibration_fraction=0.5),
        "--group-column", "thread",
    )  # fmt: skip
    assert "50.00% of the groups for calibration" in out
    frame = read_output(tmp_path / "out").to_pandas()
    assert list(frame) == [
        "source", "row", "text", "text_hash", "unit_hash", "split", "teacher_logits", "teacher_prediction",
        "num_tokens", "truncated",
    ]  # fmt: skip
    frame["thread"] = [groups[row] for row in frame["row"]]
    assert (frame.groupby("thread")[["split", "unit_hash"]].nunique() == 1).all(axis=None)
    assert frame["unit_hash"].nunique() == 23
    assert set(frame["split"]) == {"train", "calibration"}
    settings = read_manifest_file(tmp_path / "out")["settings"]
    assert (settings["unit"], settings["columns"]["group"]) == ("groups", "thread")


def test_a_row_whose_group_is_missing_is_one_by_itself_and_one_that_cannot_be_read_is_rejected(
    command: CommandLine, teacher: Path, tmp_path: Path
):
    path = tmp_path / "rows.jsonl"
    groups = ['"a"', '"a"', "null", '""', "7", '"b"']
    lines = [f'{{"text": "{TEXTS[row]}", "thread": {group}}}' for row, group in enumerate(groups)]
    late = [f'{{"text": "{text}", "thread": "c"}}' for text in TEXTS * 20]
    # Of what type the values are is told by the first thousand.
    path.write_text("\n".join([*late, *lines, f'{{"text": "{TEXTS[6]}"}}']))
    command(*label(path, teacher, tmp_path / "out", group_column="thread"))
    frame = read_output(tmp_path / "out").to_pandas().set_index("row").loc[1200:]
    assert [(row, *rest) for _, row, *rest in read_rejected(tmp_path / "out")] == [(1204, "wrong_type", b"7")]
    by_itself = frame["unit_hash"] == frame["text_hash"]
    assert by_itself.tolist() == [False, False, True, True, False, True]
    assert frame["unit_hash"].nunique() == 5


def test_of_rows_copies_may_be_of_either_split_and_their_places_draw_it(
    command: CommandLine, teacher: Path, tmp_path: Path
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS[:2] * 30})
    args = label(path, teacher, tmp_path / "out", calibration_fraction=0.5)
    assert "50.00% of the rows for calibration" in command(*args, "--promise-of", "rows")
    frame = read_output(tmp_path / "out").to_pandas()
    assert (frame.groupby("text")["split"].nunique() == 2).all()
    assert frame["unit_hash"].is_unique
    line = command.refused(*args)
    assert "holds another job, which differs in unit (rows there, texts asked for); " in line


def test_equal_texts_of_all_files_are_in_one_split_with_equal_labels(
    command: CommandLine, teacher: Path, tmp_path: Path
):
    one = write_csv(tmp_path / "one.csv", {"text": TEXTS})
    two = write_tsv(tmp_path / "two.tsv", {"text": TEXTS[::-1]})
    command(
        *label(one, teacher, tmp_path / "out", rows_per_shard=60, calibration_fraction=0.4), "--input", two
    )
    frame = read_output(tmp_path / "out").to_pandas()
    assert len(frame) == 120
    for _, same in frame.groupby("text"):
        assert len(set(same["split"])) == 1
        assert len(set(same["text_hash"])) == 1
        assert len(set(same["teacher_prediction"])) == 1
        assert np.ptp(np.stack(same["teacher_logits"]), axis=0).max() < 1e-5
    assert set(frame["split"]) == {"train", "calibration"}


@pytest.mark.parametrize(("fraction", "split"), [(0, "train"), (1, "calibration")])
def test_all_rows_can_be_of_one_split(
    command: CommandLine, teacher: Path, tmp_path: Path, fraction: int, split: str
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    command(*label(path, teacher, tmp_path / "out", calibration_fraction=fraction))
    assert set(read_output(tmp_path / "out")["split"].to_pylist()) == {split}
    assert read_manifest_file(tmp_path / "out")["counts"][split] == 60


def test_the_length_is_chosen_here(command: CommandLine, teacher: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    command(*label(path, teacher, tmp_path / "out", max_length=5))
    table = read_output(tmp_path / "out")
    assert max(table["num_tokens"].to_pylist()) == 5
    assert set(table["truncated"].to_pylist()) == {True, False}
    logits = plain_logits(teacher, TEXTS, max_length=5)
    np.testing.assert_allclose(np.stack(table["teacher_logits"].to_numpy()), logits, atol=1e-5)
    assert read_manifest_file(tmp_path / "out")["settings"]["max_length"] == 5
    command(*label(path, teacher, tmp_path / "default"))
    assert read_manifest_file(tmp_path / "default")["settings"]["max_length"] == MAX_LENGTH
    line = command.refused(*label(path, teacher, tmp_path / "new", max_length=MAX_LENGTH + 1))
    assert line == f"--max-length {MAX_LENGTH + 1} is not between 4 and {MAX_LENGTH}, the model's limit"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "config",
    [
        RoFormerConfig(
            vocab_size=200, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
            max_position_embeddings=64, pad_token_id=0,
        ),
        LlamaConfig(
            vocab_size=200, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
            max_position_embeddings=64, pad_token_id=0, bos_token_id=2, eos_token_id=3,
        ),
    ],
    ids=lambda config: config.model_type,
)  # fmt: skip
def test_a_teacher_may_be_of_a_family_that_cannot_exit_early(
    command: CommandLine, teacher: Path, tmp_path: Path, config: Any
):
    config.id2label, config.label2id = dict(enumerate(LABELS)), {name: i for i, name in enumerate(LABELS)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "strange")
    side = "left" if config.model_type == "llama" else "right"
    tokenizer = AutoTokenizer.from_pretrained(teacher, padding_side=side)
    tokenizer.save_pretrained(tmp_path / "strange")
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    command(*label(path, tmp_path / "strange", tmp_path / "out"))
    table = read_output(tmp_path / "out")
    expected = plain_logits(tmp_path / "strange", TEXTS)
    np.testing.assert_allclose(np.stack(table["teacher_logits"].to_numpy()), expected, atol=1e-4)


def test_the_same_job_twice_is_the_same_bytes(command: CommandLine, teacher: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": [*TEXTS, ""]})
    for name in ("one", "two"):
        command(*label(path, teacher, tmp_path / name, rows_per_shard=9))
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_worker_processes_write_the_same_bytes(
    command: CommandLine, teacher: Path, tmp_path: Path, forked_workers: None
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": [*TEXTS, ""]})
    command(*label(path, teacher, tmp_path / "one", rows_per_shard=30, threads=1))
    command(*label(path, teacher, tmp_path / "two", rows_per_shard=30, threads=1, workers=2))
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_a_killed_job_goes_on_and_ends_with_the_same_bytes(
    command: CommandLine, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": ["", *TEXTS]})
    command(*label(path, teacher, tmp_path / "whole", rows_per_shard=20))
    process, calls = LabelTask.process, []

    def fail_at_the_second(self: LabelTask, *args: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt("killed")
        return process(self, *args)

    monkeypatch.setattr(LabelTask, "process", fail_at_the_second)
    assert command.run(*label(path, teacher, tmp_path / "out", rows_per_shard=20))[0] == 130
    monkeypatch.undo()
    (shard,) = (tmp_path / "out").glob("part-*")
    before = shard.stat()
    assert "is not finished" in command.refused(
        "distill", "--labels", tmp_path / "out", "--backbone", teacher, "--output", tmp_path / "fastbert"
    )
    assert not (tmp_path / "fastbert").exists()
    command(*label(path, teacher, tmp_path / "out", rows_per_shard=20))
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")
    assert (shard.stat().st_ino, shard.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    ("texts", "num_labelled"),
    [([], 0), (["echo"], 1), ([LONG], 1), ([""], 0), ([" ", None, "\u3000"], 0), (["", LONG, "echo"], 2)],
    ids=["none", "one", "long", "empty", "all rejected", "mixed"],
)
def test_every_row_is_labelled_or_rejected_however_odd_the_file(
    command: CommandLine, teacher: Path, tmp_path: Path, texts: list[str | None], num_labelled: int
):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), path)
    command(*label(path, teacher, tmp_path / "out"))
    table = read_output(tmp_path / "out")
    assert table.num_rows == num_labelled
    assert len(read_rejected(tmp_path / "out")) == len(texts) - num_labelled
    assert table.schema.field("teacher_logits").type == pa.list_(pa.float32(), 3)
    if not num_labelled:
        line = command.refused(
            "distill", "--labels", tmp_path / "out", "--backbone", teacher, "--output", tmp_path / "fastbert"
        )
        assert "has no rows to train on" in line
        assert not (tmp_path / "fastbert").exists()


def test_an_id_keeps_its_type(command: CommandLine, teacher: Path, tmp_path: Path):
    path = write_parquet(tmp_path / "rows.parquet", {"text": ["echo", "fern"], "key": [7, None]})
    command(*label(path, teacher, tmp_path / "out", id_column="key"))
    assert read_output(tmp_path / "out")["id"].to_pylist() == [7, None]


def test_a_change_of_what_matters_is_another_job(command: CommandLine, teacher: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    command(*label(path, teacher, tmp_path / "out"))
    for options, name in (
        ({"calibration_fraction": 0.5}, "calibration_fraction (0.3333 there, 0.5 asked for)"),
        ({"max_length": 7}, f"max_length ({MAX_LENGTH} there, 7 asked for)"),
        ({"precision": "bf16"}, "precision (fp32 there, bf16 asked for)"),
    ):
        assert f"differs in {name};" in command.refused(*label(path, teacher, tmp_path / "out", **options))
    # Neither threads nor the runner change results.
    assert "60 of them finished before" in command(*label(path, teacher, tmp_path / "out", threads=1))
    assert "finished before" in command(*label(path, teacher, tmp_path / "out", runner="FnApiRunner"))


def splits(output: Path) -> dict[str, str]:
    table = read_output(output)
    return dict(zip(table["text"].to_pylist(), table["split"].to_pylist(), strict=True))


def test_texts_that_the_teacher_was_fine_tuned_on_calibrate_nothing(
    command: CommandLine, teacher: Path, tmp_path: Path
):
    rows = write_csv(tmp_path / "rows.csv", {"text": TEXTS})
    out = command(*label(rows, teacher, tmp_path / "all", calibration_fraction=1.0))
    assert "texts that are not known here: name them with --teacher-training-input" in out
    assert "the teacher was fine-tuned on them" not in out
    assert f"next: fastbert-jobs calibrate --model fastbert --labels {tmp_path / 'all'}" in out
    labelled = {"text": [*TEXTS[:15], *TEXTS[:3]], "label": ["a"] * 18}
    given = write_tsv(tmp_path / "labelled.tsv", labelled)
    job = label(rows, teacher, tmp_path / "out", calibration_fraction=1.0, teacher_training_input=given)
    out = command(*job)
    assert "15 distinct texts, which calibrate nothing" in out
    assert "15 more rows were drawn for calibration, and are not used for it" in out
    assert splits(tmp_path / "out") == {
        text: "train" if row < 15 else "calibration" for row, text in enumerate(TEXTS)
    }
    strangers = write_tsv(tmp_path / "strangers.tsv", {"text": ["nothing of the kind"]})
    out = command(*label(rows, teacher, tmp_path / "none", teacher_training_input=strangers))
    assert "none of the texts that the teacher learnt from was drawn for calibration" in out
    # Other texts of the teacher are another job.
    write_tsv(given, {"text": TEXTS[:14], "label": ["a"] * 14})
    assert "differs in teacher_texts" in command.refused(*job)


def test_training_input_that_matches_nothing_is_one_line(command: CommandLine, teacher: Path, tmp_path: Path):
    rows = write_csv(tmp_path / "rows.csv", {"text": TEXTS})
    nothing = tmp_path / "no*.tsv"
    line = command.refused(*label(rows, teacher, tmp_path / "out", teacher_training_input=nothing))
    assert line == f"no file matches '{nothing}'"
    other = write_csv(tmp_path / "other.csv", {"words": TEXTS})
    line = command.refused(*label(rows, teacher, tmp_path / "out", teacher_training_input=other))
    assert "other.csv" in line
    assert "'text'" in line
    assert not (tmp_path / "out").exists()


def test_a_damaged_memory_of_the_teacher_is_one_line(command: CommandLine, teacher: Path, tmp_path: Path):
    rows = write_csv(tmp_path / "rows.csv", {"text": TEXTS})
    copy = shutil.copytree(teacher, tmp_path / "copy")
    (copy / "teacher_texts.parquet").write_bytes(b"PAR1")
    line = command.refused(*label(rows, copy, tmp_path / "out"))
    assert line.startswith(f"'{copy / 'teacher_texts.parquet'}' is damaged: ")
    assert line.endswith("make the model again with `fastbert-jobs finetune`")
    assert not (tmp_path / "out").exists()


def test_the_spread_of_the_answers_is_told(command: CommandLine, teacher: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    out = command(*label(path, teacher, tmp_path / "out", rows_per_shard=16))
    answers = read_output(tmp_path / "out")["teacher_prediction"].to_pylist()
    for name in set(answers):
        assert f"'{name}' {answers.count(name) / len(answers):.1%}" in out
    assert "warning: " not in out


def test_a_teacher_that_gives_one_answer_is_warned_of(command: CommandLine, teacher: Path, tmp_path: Path):
    model = AutoModelForSequenceClassification.from_pretrained(teacher)
    with torch.no_grad():
        model.classifier.bias[1] += 100
    model.save_pretrained(tmp_path / "stuck")
    AutoTokenizer.from_pretrained(teacher).save_pretrained(tmp_path / "stuck")
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    out = command(*label(path, tmp_path / "stuck", tmp_path / "out"))
    assert "answers: 'maybe' 100.0%; 2 of 3 labels never" in out
    assert "warning: 100.00% of the rows got one label, 'maybe'" in out


def test_columns_may_be_kept(command: CommandLine, teacher: Path, tmp_path: Path):
    own = [None if place % 3 else place for place in range(len(TEXTS))]
    path = write_parquet(tmp_path / "rows.parquet", {"text": TEXTS, "mine": own})
    command(*label(path, teacher, tmp_path / "out", keep="mine", rows_per_shard=16))
    assert read_output(tmp_path / "out")["mine"].to_pylist() == own
    path = write_parquet(tmp_path / "rows.parquet", {"text": TEXTS, "split": own})
    line = command.refused(*label(path, teacher, tmp_path / "other", keep="split"))
    assert line == "--keep split: the output has a column 'split' of its own: rename yours"


def test_a_fastbert_is_a_teacher_whose_labels_calibrate_it(
    command: CommandLine, fastbert: Path, tmp_path: Path
):
    rows = write_csv(tmp_path / "rows.csv", {"text": make_texts(900, seed=9)})
    labels, model = tmp_path / "my labels", shutil.copytree(fastbert, tmp_path / "model")
    out = command(*label(rows, model, labels, calibration_fraction=0.6))
    assert f"next: fastbert-jobs calibrate --model {model} --labels '{labels}'\n" in out
    command("calibrate", "--model", model, "--labels", labels)
