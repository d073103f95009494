from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.fastbert import FastBertForSequenceClassification
from pipeline.transforms.scoring import ScoreTask
from tests.job_fixtures import (
    LABELS,
    WRITERS,
    CommandLine,
    make_texts,
    plain_logits,
    read_manifest_file,
    read_output,
    read_rejected,
    snapshot,
    softmax,
    write_csv,
    write_jsonl,
    write_parquet,
    write_tsv,
)

# By default a processor that has bfloat16 computes in it, and the answers are close only.
FP32 = ("--precision", "fp32")
TEXTS = make_texts(60)


def assert_answers(table: pa.Table, logits: np.ndarray, labels: tuple[str, ...] = LABELS) -> None:
    """The scores are those of the Hugging Face model: labels all, probabilities to 1e-5."""
    assert table["prediction"].to_pylist() == [labels[i] for i in logits.argmax(1)]
    np.testing.assert_allclose(np.stack(table["probabilities"].to_numpy()), softmax(logits), atol=1e-5)


@pytest.mark.parametrize("name", WRITERS)
def test_full_depth_is_the_hugging_face_model_in_every_format(
    command: CommandLine, fastbert: Path, teacher: Path, tmp_path: Path, name: str
):
    texts = [*TEXTS[:20], "", TEXTS[0], *TEXTS[20:], " "]
    path = WRITERS[name](tmp_path / name, {"text": texts, "key": [f"k{i}" for i in range(len(texts))]})
    out = command(
        "score", *FP32, "--input", path, "--text-column", "text", "--id-column", "key", "--keep", "text",
        "--model", fastbert, "--output", tmp_path / "out", "--speed", 0, "--rows-per-shard", 16,
    )  # fmt: skip
    table = read_output(tmp_path / "out")
    rows = [row for row, text in enumerate(texts) if text.strip()]
    assert table["row"].to_pylist() == rows
    assert table["text"].to_pylist() == [texts[row] for row in rows]
    assert table["id"].to_pylist() == [f"k{row}" for row in rows]
    assert set(table["source"].to_pylist()) == {str(path)}
    assert_answers(table, plain_logits(teacher, [texts[row] for row in rows]))
    assert set(table["exit_layer"].to_pylist()) == {3}
    assert [row for _, row, *_ in read_rejected(tmp_path / "out")] == [20, len(texts) - 1]
    assert f"{len(rows)} rows, 2 rejected" in out
    counts = read_manifest_file(tmp_path / "out")["counts"]
    assert counts["rows"] + counts["rejected"] == len(texts)


def test_pairs_of_several_files(command: CommandLine, fastbert: Path, teacher: Path, tmp_path: Path):
    pairs = make_texts(60, seed=7)
    one = write_csv(tmp_path / "one.csv", {"a": TEXTS[:25], "b": pairs[:25]})
    two = write_jsonl(tmp_path / "two.jsonl", {"b": pairs[25:], "a": TEXTS[25:]})
    command(
        "score", *FP32, "--input", two, one, "--text-column", "a", "--text-pair-column", "b",
        "--model", fastbert, "--output", tmp_path / "out", "--speed", 0, "--rows-per-shard", 10,
    )  # fmt: skip
    table = read_output(tmp_path / "out")
    assert table["source"].to_pylist() == [str(one)] * 25 + [str(two)] * 35
    assert table["row"].to_pylist() == [*range(25), *range(35)]
    assert_answers(table, plain_logits(teacher, TEXTS, pairs))


@pytest.mark.parametrize("model", ["two_labels", "many_labels"])
def test_any_number_of_labels(
    command: CommandLine, request: pytest.FixtureRequest, tmp_path: Path, model: str
):
    directory: Path = request.getfixturevalue(model)
    (classifier,) = [path for path in directory.parent.iterdir() if path.name in ("two", "many")]
    labels = FastBertForSequenceClassification.from_pretrained(directory).labels
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    score = ("score", *FP32, "--input", path, "--text-column", "text", "--model", directory)
    command(*score, "--output", tmp_path / "full", "--speed", 0)
    table = read_output(tmp_path / "full")
    assert_answers(table, plain_logits(classifier, TEXTS), labels)
    assert table.schema.field("probabilities").type.list_size == len(labels) == {"t": 2, "m": 77}[model[0]]
    command(*score, "--output", tmp_path / "early", "--speed", 0.8)
    assert len(set(read_output(tmp_path / "early")["exit_layer"].to_pylist())) > 1


def test_columns_are_kept_as_they_are(command: CommandLine, fastbert: Path, tmp_path: Path):
    rows: dict[str, list[Any]] = {
        "text": ["echo", "fern", None],
        "tags": [["x"], None, []],
        "amount": [1.5, None, 2.0],
        "id": [3, 1, 2],
    }
    path = write_parquet(tmp_path / "rows.parquet", rows)
    command(
        "score", *FP32, "--input", path, "--text-column", "text", "--keep", "tags", "text", "amount",
        "--id-column", "id", "--model", fastbert, "--output", tmp_path / "out", "--speed", 0.5,
    )  # fmt: skip
    table = read_output(tmp_path / "out")
    assert {name: table[name].to_pylist() for name in rows} == {name: rows[name][:2] for name in rows}
    assert table.schema.field("id").type == pa.int64()
    assert table.schema.field("tags").type == pa.list_(pa.string())


def test_a_fixed_exit_layer(command: CommandLine, fastbert: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    out = command(
        "score", *FP32, "--input", path, "--text-column", "text", "--model", fastbert,
        "--output", tmp_path / "out", "--fixed-exit-layer", 2,
    )  # fmt: skip
    assert set(read_output(tmp_path / "out")["exit_layer"].to_pylist()) == {2}
    assert "fixed exit layer 2" in out
    assert "mean exit layer 2.00 of 3" in out


def test_exit_0_is_an_exit_layer_like_others(command: CommandLine, lexical_fastbert: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    score = (
        "score", *FP32, "--input", path, "--text-column", "text", "--model", lexical_fastbert,
        "--shadow-fraction", 0.5,
    )  # fmt: skip
    out = command(*score, "--output", tmp_path / "out", "--fixed-exit-layer", 0)
    assert set(read_output(tmp_path / "out")["exit_layer"].to_pylist()) == {0}
    assert "mean exit layer 0.00 of 3" in out
    told = command("audit", tmp_path / "out")
    assert "mean exit layer 0.00 of 3" in told
    stats = pq.read_table(tmp_path / "out" / "_audit" / "exit_stats.parquet")
    assert stats["exit_layer"].to_pylist() == [0, 1, 2, 3]
    assert stats["rows"].to_pylist() == [60, 0, 0, 0]
    assert stats["shadow_rows"].to_pylist()[0] > 10
    command(*score, "--output", tmp_path / "paper", "--speed", 0.7)
    assert 0 not in read_output(tmp_path / "paper")["exit_layer"].to_pylist()


def test_readers_of_parquet_directories_find_all_rows(
    command: CommandLine, fastbert: Path, teacher: Path, tmp_path: Path
):
    score = (
        "score",
        *FP32,
        "--text-column",
        "text",
        "--model",
        fastbert,
        "--shadow-fraction",
        0.5,
        "--speed",
        0.7,
    )
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    command(*score, "--input", path, "--output", tmp_path / "out", "--rows-per-shard", 25)
    frame = pd.read_parquet(tmp_path / "out")
    assert sorted(frame["row"]) == list(range(60))
    assert pq.read_table(tmp_path / "out").num_rows == 60
    watched = frame.dropna(subset=["teacher_prediction"]).sort_values("row")
    assert 0 < len(watched) < 60
    logits = plain_logits(teacher, [TEXTS[row] for row in watched["row"]])
    assert watched["teacher_prediction"].tolist() == [LABELS[i] for i in logits.argmax(1)]
    np.testing.assert_allclose(np.stack(watched["teacher_probabilities"]), softmax(logits), atol=1e-5)
    assert frame["teacher_probabilities"].isna().sum() == 60 - len(watched)
    with_rejected = write_tsv(tmp_path / "more.tsv", {"text": [*TEXTS, ""]})
    command(*score, "--input", with_rejected, "--output", tmp_path / "more")
    command("audit", tmp_path / "more")
    frame = pd.read_parquet(tmp_path / "more")
    assert sorted(frame["row"]) == list(range(61))
    assert frame.loc[frame["prediction"].isna(), "row"].tolist() == [60]


def test_the_same_job_twice_is_the_same_bytes(command: CommandLine, fastbert: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": [*TEXTS, ""]})
    for name in ("one", "two"):
        command(
            "score", *FP32, "--input", path, "--text-column", "text", "--model", fastbert, "--speed", 0.7,
            "--output", tmp_path / name, "--rows-per-shard", 9, "--shadow-fraction", 0.3,
        )  # fmt: skip
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_worker_processes_write_the_same_bytes(
    command: CommandLine, fastbert: Path, tmp_path: Path, forked_workers: None
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": [*TEXTS, ""]})
    score = (
        "score", *FP32, "--input", path, "--text-column", "text", "--model", fastbert, "--speed", 0.7,
        "--rows-per-shard", 9, "--shadow-fraction", 0.3, "--threads", 1,
    )  # fmt: skip
    command(*score, "--output", tmp_path / "one")
    command(*score, "--output", tmp_path / "two", "--workers", 2)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_a_killed_job_goes_on_and_ends_with_the_same_bytes(
    command: CommandLine, fastbert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": ["", *TEXTS]})
    score = (
        "score", *FP32, "--input", path, "--text-column", "text", "--model", fastbert, "--speed", 0.7,
        "--rows-per-shard", 20,
    )  # fmt: skip
    command(*score, "--output", tmp_path / "whole")
    process, calls = ScoreTask.process, []

    def fail_at_the_third(self: ScoreTask, *args: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt("killed")
        return process(self, *args)

    monkeypatch.setattr(ScoreTask, "process", fail_at_the_third)
    assert command.run(*score, "--output", tmp_path / "out")[0] == 130
    monkeypatch.undo()
    done = {path.name: path.stat() for path in (tmp_path / "out").glob("part-*")}
    assert len(done) == 2
    assert not (tmp_path / "out" / "_MANIFEST.json").exists()
    assert "is not finished" in command.refused("audit", tmp_path / "out")
    out = command(*score, "--output", tmp_path / "out")
    assert "40 of them finished before" in out
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")
    for name, before in done.items():
        after = (tmp_path / "out" / name).stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_finished_job_is_not_run_again(
    command: CommandLine, fastbert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    score = (
        "score", *FP32, "--input", path, "--text-column", "text", "--model", fastbert, "--speed", 0.7,
        "--output", tmp_path / "out",
    )  # fmt: skip
    command(*score)
    before = snapshot(tmp_path / "out")
    monkeypatch.delattr(ScoreTask, "process")
    assert "60 of them finished before" in command(*score)
    assert snapshot(tmp_path / "out") == before


def test_another_job_on_the_same_output_is_refused_unless_it_overwrites(
    command: CommandLine, fastbert: Path, two_labels: Path, tmp_path: Path
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS, "other": TEXTS[::-1]})
    output = tmp_path / "out"
    given = {
        "--input": path, "--text-column": "text", "--model": fastbert, "--speed": 0.7, "--output": output,
        "--precision": "fp32", "--shadow-fraction": 0.001,
    }  # fmt: skip

    def args(**changes: Any) -> list[Any]:
        options = {**given, **{"--" + name.replace("_", "-"): value for name, value in changes.items()}}
        return ["score", *(part for pair in options.items() for part in pair)]

    command(*args())
    before = snapshot(output)
    for name, change in {
        "policy (speed 0.7 there, speed 0.1 asked for)": {"speed": 0.1},
        "model": {"model": two_labels},
        "columns": {"text_column": "other"},
        "rows_per_shard (10000 there, 7 asked for)": {"rows_per_shard": 7},
        "shadow_fraction (0.001 there, 0.5 asked for)": {"shadow_fraction": 0.5},
        "precision (fp32 there, bf16 asked for)": {"precision": "bf16"},
    }.items():
        line = command.refused(*args(**change))
        assert f"holds another job, which differs in {name}" in line
        assert "choose another --output, or --overwrite it" in line
        assert snapshot(output) == before
    command(*args(speed=0.1), "--overwrite")
    assert {row["policy"] for row in [read_manifest_file(output)["settings"]]} == {"speed 0.1"}
    write_tsv(path, {"text": TEXTS[::-1], "other": TEXTS})
    assert "differs in inputs" in command.refused(*args(speed=0.1))


def test_too_many_rejected_rows_fail_the_job(command: CommandLine, fastbert: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": ["echo", "", "fern", "glow"]})
    score = (
        "score", *FP32, "--input", path, "--text-column", "text", "--model", fastbert, "--speed", 0.7,
        "--output", tmp_path / "out",
    )  # fmt: skip
    status, _, err = command.run(*score, "--max-rejected", 0.2)
    assert status == 2
    assert "1 of 4 rows were rejected, more than --max-rejected 0.2 allows" in err
    assert not (tmp_path / "out" / "_MANIFEST.json").exists()
    # The rows are there, and a larger allowance lets the job finish without running them again.
    assert "4 of them finished before" in command(*score, "--max-rejected", 0.25)


LONG = " ".join(TEXTS) * 20


@pytest.mark.parametrize("name", ["rows.tsv", "rows.csv", "rows.jsonl", "rows.parquet", "rows.csv.gz"])
@pytest.mark.parametrize(
    ("texts", "num_scored"),
    [([], 0), (["echo"], 1), ([LONG], 1), ([""], 0), ([" ", "", "\u3000"], 0), (["", LONG, "echo"], 2)],
    ids=["none", "one", "long", "empty", "all rejected", "mixed"],
)
def test_every_row_is_scored_or_rejected_however_odd_the_file(
    command: CommandLine, fastbert: Path, tmp_path: Path, texts: list[str], num_scored: int, name: str
):
    if name == "rows.parquet" and not texts:
        path = tmp_path / name
        pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)
    else:
        path = WRITERS[name](tmp_path / name, {"text": texts})
    command(
        "score", *FP32, "--input", path, "--text-column", "text", "--model", fastbert, "--speed", 0.5,
        "--output", tmp_path / "out",
    )  # fmt: skip
    table = read_output(tmp_path / "out")
    assert table.num_rows == num_scored
    assert "probabilities" in table.schema.names
    assert len(read_rejected(tmp_path / "out")) == len(texts) - num_scored
    assert table["truncated"].to_pylist() == [text == LONG for text in texts if text.strip()]
    assert read_manifest_file(tmp_path / "out")["counts"].get("rows", 0) == num_scored
    out = command("audit", tmp_path / "out")
    assert f"{num_scored} rows" in out


def test_an_empty_directory_of_inputs_beside_full_ones_changes_nothing(
    command: CommandLine, fastbert: Path, tmp_path: Path
):
    (tmp_path / "in").mkdir()
    write_tsv(tmp_path / "in" / "a.tsv", {"text": []})
    write_tsv(tmp_path / "in" / "b.tsv", {"text": TEXTS})
    command(
        "score", *FP32, "--input", tmp_path / "in", "--text-column", "text", "--model", fastbert,
        "--speed", 0, "--output", tmp_path / "out",
    )  # fmt: skip
    assert read_output(tmp_path / "out")["row"].to_pylist() == list(range(60))
    assert len(list((tmp_path / "out").glob("part-*"))) == 1


def test_a_shard_says_what_made_it(command: CommandLine, fastbert: Path, tmp_path: Path):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    command(
        "score", *FP32, "--input", path, "--text-column", "text", "--model", fastbert, "--speed", 0.5,
        "--output", tmp_path / "out",
    )  # fmt: skip
    (shard,) = (tmp_path / "out").glob("part-*")
    metadata = {key.decode(): value.decode() for key, value in pq.read_schema(shard).metadata.items()}
    manifest = read_manifest_file(tmp_path / "out")
    assert metadata["fastbert.fingerprint"] == manifest["fingerprint"]
    assert metadata["fastbert.command"] == "score"
    assert metadata["fastbert.labels"] == '["no", "maybe", "yes"]'
    assert {"fastbert.schema_version", "fastbert.settings", "fastbert.versions"} <= metadata.keys()
    assert manifest["labels"] == list(LABELS)
