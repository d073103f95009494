import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from jobs.commands.score import run as score
from jobs.configs.score import ScoreConfig
from model.cost.network_flops import fastbert_flops
from model.exits.policy import ExitPolicy
from model.fastbert import FastBertForSequenceClassification
from model.guarantee.binomial import interval
from tests.job_fixtures import (
    LABELS,
    NUM_LAYERS,
    CommandLine,
    make_texts,
    snapshot,
    write_csv,
    write_jsonl,
    write_tsv,
)

ROOT = Path(__file__).parents[3]
TEXTS = [*make_texts(300), ""]
IDS = [f"k{i * 11 % 301}" for i in range(301)]
TRUE = [LABELS[(i * i) % 3] for i in range(301)]
SPEED = 0.7


@pytest.fixture(scope="session")
def scores(tmp_path_factory: pytest.TempPathFactory, fastbert: Path) -> Path:
    """Directory of scores of a file `rows.tsv` beside it, which also holds ids and true labels."""
    directory = tmp_path_factory.mktemp("scores")
    numbers = [LABELS.index(name) for name in TRUE]
    rows = {"text": TEXTS, "key": IDS, "label": TRUE, "number": numbers}
    write_tsv(directory / "rows.tsv", rows)
    score(
        ScoreConfig(
            input=(str(directory / "rows.tsv"),), text_column="text", id_column="key", model=str(fastbert),
            output=str(directory / "out"), speed=SPEED, rows_per_shard=64, shadow_fraction=0.4,
        )
    )  # fmt: skip
    return directory / "out"


@pytest.fixture
def audit(command: CommandLine, scores: Path, tmp_path: Path) -> Callable[..., tuple[str, pd.DataFrame]]:
    """Return what audits the scores into a directory of its own: what is printed, and the table."""

    def run(*more: Any) -> tuple[str, pd.DataFrame]:
        out = command("audit", scores, "--output", tmp_path / "audit", *more)
        return out, pd.read_parquet(tmp_path / "audit" / "exit_stats.parquet").set_index("exit_layer")

    return run


@pytest.fixture(scope="session")
def frame(scores: Path) -> pd.DataFrame:
    """All scored rows, and whether they are right."""
    shards = [pd.read_parquet(path) for path in sorted(scores.glob("part-*"))]
    rows = pd.concat(shards, ignore_index=True)
    rows["is_right"] = rows["prediction"] == np.array(TRUE)[rows["row"]]
    return rows


def test_statistics_are_those_of_pandas(
    audit: Callable[..., Any], frame: pd.DataFrame, fastbert: Path, scores: Path
):
    out, table = audit()
    by_layer = frame.groupby("exit_layer")
    assert len(frame) == 300
    assert table["rows"].tolist() == by_layer.size().tolist()
    assert (table["rows"] > 0).all()
    np.testing.assert_allclose(table["share"], by_layer.size() / 300)
    np.testing.assert_allclose(table["uncertainty_mean"], by_layer["uncertainty"].mean(), rtol=1e-5)
    for name, share in (("p05", 0.05), ("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("p95", 0.95)):
        exact = by_layer["uncertainty"].agg(
            lambda u, share=share: np.quantile(u, share, method="inverted_cdf")
        )
        np.testing.assert_allclose(table[f"uncertainty_{name}"], exact, atol=1e-4)
    for layer, predicted in by_layer["prediction"]:
        found = {label: rows for label, rows in dict(table["called"][layer]).items() if rows}
        assert found == predicted.value_counts().to_dict()
    shadow = frame.dropna(subset=["teacher_prediction"])
    agreeing = (shadow["prediction"] == shadow["teacher_prediction"]).groupby(shadow["exit_layer"])
    assert table["shadow_rows"].tolist() == agreeing.size().tolist()
    np.testing.assert_allclose(table["agreement"], agreeing.mean())
    assert (table["labelled_rows"] == 0).all()

    config = FastBertForSequenceClassification.from_pretrained(fastbert).config
    flops = fastbert_flops(config)
    policy = ExitPolicy.from_speed(SPEED, num_layers=NUM_LAYERS)
    tokens = frame["num_tokens"].to_numpy().astype(np.int64)
    spent = pd.Series(flops.with_exits(tokens, frame["exit_layer"].to_numpy(), policy))
    np.testing.assert_allclose(table["flops_share"], spent.groupby(frame["exit_layer"]).sum() / spent.sum())
    mean = frame["exit_layer"].mean()
    assert f"mean exit layer {mean:.2f} of 3" in out
    full_depth = flops.full_depth(tokens).sum()
    assert f"saved compute {full_depth / spent.sum():.2f}x (real lengths" in out
    to_the_end = flops.with_exits(tokens, np.full(len(frame), NUM_LAYERS), policy)
    run = spent.where(frame["teacher_prediction"].isna(), to_the_end)
    assert f"branches counted; {full_depth / run.sum():.2f}x with the shadow sample)" in out
    assert f"{flops.paper_saved_compute(mean):.2f}x by the paper's count" in out
    others = shadow[shadow["prediction"] != shadow["teacher_prediction"]]["unit_hash"].nunique()
    texts = shadow["unit_hash"].nunique()
    low, high = interval(others, texts, 0.95)
    assert (
        f"full depth answers {others} of {texts} distinct shadow texts otherwise: {others / texts:.2%}, "
        f"at 95% between {low:.2%} and {high:.2%}"
    ) in " ".join(out.split())


def test_rows_of_labels_that_tell_nothing_are_counted(
    command: CommandLine, audit: Callable[..., Any], scores: Path, tmp_path: Path
):
    path = write_jsonl(tmp_path / "labels.jsonl", {"key": [*IDS[:2], None], "truth": ["yes", "", "no"]})
    given = ("--labels-input", path, "--label-column", "truth", "--id-column", "key")
    out, _ = audit(*given)
    assert "\n2 rows of --labels-input have no id or no label, and are left out\n" in out
    told = json.loads(command("audit", scores, "--output", tmp_path / "json", "--json", *given))
    assert told["labels_left_out"] == 2


def test_shards_stay_readable(command: CommandLine, scores: Path):
    before = snapshot(scores)
    line = command.refused("audit", scores, "--output", scores)
    assert line.startswith(f"'{scores}' holds the shards of a job, which could not be read any more beside")
    assert snapshot(scores) == before


@pytest.mark.parametrize("column", ["label", "number"])
@pytest.mark.parametrize("join", [(), ("--id-column", "key")], ids=["source and row", "id"])
def test_accuracy_is_that_of_pandas(
    audit: Callable[..., Any], frame: pd.DataFrame, scores: Path, column: str, join: tuple[str, ...]
):
    out, table = audit("--labels-input", scores.parent / "rows.tsv", "--label-column", column, *join)
    right = frame.groupby("exit_layer")["is_right"]
    assert table["labelled_rows"].tolist() == right.size().tolist()
    np.testing.assert_allclose(table["accuracy"], right.mean())
    assert f"accuracy {frame['is_right'].mean():.2%} (" in out
    assert ") of 300 labelled rows, macro F1 " in out


def test_labels_of_another_file_are_joined_on_the_id(
    audit: Callable[..., Any], frame: pd.DataFrame, tmp_path: Path
):
    known = [row for row in range(301) if row % 3][::-1]
    path = write_csv(
        tmp_path / "labels.csv",
        {"id": ["nobody", *(IDS[row] for row in known)], "truth": ["yes", *(TRUE[row] for row in known)]},
    )
    _, table = audit("--labels-input", path, "--label-column", "truth", "--id-column", "id")
    right = frame[frame["row"] % 3 != 0].groupby("exit_layer")["is_right"]
    assert table["labelled_rows"].tolist() == right.size().tolist()
    np.testing.assert_allclose(table["accuracy"], right.mean())


def test_statistics_go_into_the_scores_and_leave_nothing_else(command: CommandLine, scores: Path):
    before = snapshot(scores)
    out = command("audit", scores)
    added = snapshot(scores).keys() - before.keys()
    assert added == {"_audit/audit.html", "_audit/audit.json", "_audit/exit_stats.parquet"}
    assert f"wrote {scores}/_audit/exit_stats.parquet" in out
    first = snapshot(scores)
    command("audit", scores)
    assert snapshot(scores) == first
    metadata = pq.read_schema(scores / "_audit" / "exit_stats.parquet").metadata
    assert json.loads(metadata[b"fastbert.overall"])["rows"] == 300


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        ({"label": ["ugly"]}, (), "labels 'ugly' are none of the model's: no, maybe, yes (or 0 to 2)"),
        ({"truth": ["yes"]}, (), "no column 'label'; its columns: truth"),
        ({"label": ["yes"]}, (), "no row of it was scored"),
        ({"label": ["yes"], "id": ["nobody"]}, ("--id-column", "id"), "no row of it was scored"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    command: CommandLine,
    scores: Path,
    tmp_path: Path,
    rows: dict[str, list[str]],
    more: tuple[str, ...],
    message: str,
):
    path = write_csv(tmp_path / "labels.csv", rows)
    line = command.refused("audit", scores, "--output", tmp_path / "out", "--labels-input", path, *more)
    assert message in line
    assert not (tmp_path / "out").exists()


def test_scores_without_an_id_cannot_be_joined_on_one(command: CommandLine, fastbert: Path, tmp_path: Path):
    path = write_csv(tmp_path / "rows.csv", {"text": TEXTS[:3], "key": IDS[:3], "label": TRUE[:3]})
    command(
        "score", "--input", path, "--text-column", "text", "--model", fastbert, "--speed", 0.5,
        "--output", tmp_path / "out",
    )  # fmt: skip
    line = command.refused("audit", tmp_path / "out", "--labels-input", path, "--id-column", "key")
    assert line == (
        f"--id-column key: '{tmp_path}/out' was scored without an id; leave it out to join on source and row"
    )


@pytest.mark.parametrize("exists", [True, False])
def test_what_is_no_output_of_score_is_refused(command: CommandLine, tmp_path: Path, exists: bool):
    if exists:
        (tmp_path / "out").mkdir()
    line = command.refused("audit", tmp_path / "out")
    assert line == f"'{tmp_path}/out' is no output of `fastbert-jobs score`"


def test_soft_labels_are_no_scores_and_scores_are_no_soft_labels(
    command: CommandLine, scores: Path, teacher: Path, tmp_path: Path
):
    path = write_csv(tmp_path / "rows.csv", {"text": TEXTS[:3]})
    command(
        "label-teacher", "--input", path, "--text-column", "text", "--teacher", teacher,
        "--output", tmp_path / "labels",
    )  # fmt: skip
    line = command.refused("audit", tmp_path / "labels")
    assert line == f"'{tmp_path}/labels' was written by `label-teacher`, not by `score`"
    line = command.refused(
        "distill", "--labels", scores, "--backbone", teacher, "--output", tmp_path / "fastbert"
    )
    assert line == f"'{scores}' was written by `score`, not by `label-teacher`"


def test_a_place_that_cannot_be_written_is_told(command: CommandLine, scores: Path, tmp_path: Path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "sub"):
        line = command.refused("audit", scores, "--output", place)
        assert line.startswith(f"'{place}' cannot be written: ")
        assert line.endswith("; choose another --output")


def test_a_file_system_that_beam_does_not_know_is_told(command: CommandLine, scores: Path):
    for args in (["nowhere://out"], [scores, "--output", "nowhere://out"]):
        assert command.refused("audit", *args).startswith("'nowhere://out' cannot be used: ")


def test_json_is_all_that_is_printed(command: CommandLine, scores: Path, tmp_path: Path):
    out = command("audit", scores, "--output", tmp_path, "--json")
    report = json.loads(out)
    assert report == json.loads((tmp_path / "audit.json").read_text())
    assert report["job"]["rows"] == 300
    assert [each["reason"] for each in report["rejected"]] == ["empty"]


@pytest.mark.parametrize(
    ("conditions", "line"),
    [
        (("disagreement>0.99", "saved_compute<0.1"), ""),
        (("saved_compute<100",), "failed on saved_compute<100: it is "),
        (("saved_compute<0.1", "rejected>0.001"), "failed on rejected>0.001: it is 0.003322"),
    ],
)
def test_a_scheduler_is_told_by_the_exit_code(
    command: CommandLine, scores: Path, tmp_path: Path, conditions: tuple[str, ...], line: str
):
    more = [word for condition in conditions for word in ("--fail-on", condition)]
    status, out, err = command.run("audit", scores, "--output", tmp_path, *more)
    assert (status, err) == (1 if line else 0, "")
    assert line in out
    assert ("failed on" in out) is bool(line)
    assert (tmp_path / "audit.html").exists()


def test_what_is_no_condition_is_refused_before_the_work(command: CommandLine, scores: Path, tmp_path: Path):
    line = command.refused("audit", scores, "--output", tmp_path / "out", "--fail-on", "disagreement<1")
    assert line.startswith("--fail-on 'disagreement<1' is none of ")
    assert not (tmp_path / "out").exists()
    line = command.refused("audit", scores, "--output", tmp_path / "out", "--fail-on", "contradicted")
    why = "nothing was promised of this job"
    assert line == f"--fail-on contradicted could fail no job like this: {why}; leave it out"
    assert not (tmp_path / "out").exists()


def test_a_job_beside_itself_has_changed_nothing(command: CommandLine, scores: Path, tmp_path: Path):
    out = command("audit", scores, scores, "--output", tmp_path)
    assert "0 of the 300 rows that both scored are answered differently: 0.00%" in out
    report = json.loads((tmp_path / "audit.json").read_text())
    assert report["comparison"]["changed"]["whole"] == 300
    assert "Side by side" in (tmp_path / "audit.html").read_text()


def test_no_network_is_loaded(scores: Path, tmp_path: Path):
    """Most of the memory, and of the seconds, that a small job's audit takes are its libraries'."""
    args = [
        "audit",
        str(scores),
        "--output",
        str(tmp_path),
        "--labels-input",
        str(scores.parent / "rows.tsv"),
    ]
    code = (
        "import contextlib, sys\n"
        "from jobs.cli import main\n"
        f"with contextlib.suppress(SystemExit): main({args!r})\n"
        "print([name for name in ('torch', 'transformers', 'tokenizers', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONSAFEPATH": "", "PYTHONPATH": str(ROOT)},
    )
    assert (tmp_path / "audit.html").exists()
    assert done.stdout.splitlines()[-1] == "[]"
