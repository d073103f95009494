"""The whole line where a promise is of rows, or of the texts, one of each group."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from jobs.commands.calibrate import run as run_calibrate
from jobs.commands.distill import run as run_distill
from jobs.commands.label_teacher import run as run_label_teacher
from jobs.configs.calibrate import CalibrateConfig
from jobs.configs.distill import DistillConfig
from jobs.configs.label_teacher import LabelTeacherConfig
from model.guarantee.binomial import interval
from model.guarantee.unit import Unit
from pipeline.results.calibration import Calibration
from pipeline.sampling.training_hashes import read_branch_texts
from tests.job_fixtures import MAX_LENGTH, CommandLine, read_manifest_file, read_output, write_tsv
from tests.jobs.calibration_fixtures import FP32, FRESH, TEXTS, assert_at_most, calibrate

pytestmark = pytest.mark.usefixtures("quiet_machine")

DISTINCT = list(dict.fromkeys(TEXTS))
# A tenth of the texts makes half of the rows.
ROWS = [*DISTINCT[:1800], *DISTINCT[:180] * 10]
# Groups of one to four neighbours, some of which close with the same words, and texts without any.
GROUPS = ["" if number % 11 == 0 else f"thread {number // 4}" for number in range(len(ROWS))]
THREADS = [DISTINCT[number % 40] if number % 8 == 7 else text for number, text in enumerate(DISTINCT[:3600])]


@dataclass(frozen=True)
class Line:
    """What the commands left.

    Attributes:
        unit: what it was calibrated by.
        labels: directory of soft labels.
        model: of the calibrated FastBERT.
    """

    unit: Unit
    labels: Path
    model: Path


def make_line(directory: Path, teacher: Path, unit: Unit) -> Line:
    """Label, distill and calibrate."""
    texts = THREADS if unit is Unit.GROUPS else ROWS
    path = write_tsv(directory / "rows.tsv", {"text": texts, "thread": GROUPS[: len(texts)]})
    labels, model = directory / "labels", directory / "fastbert"
    by = {"group_column": "thread"} if unit is Unit.GROUPS else {"promise_of": str(unit)}
    run_label_teacher(
        LabelTeacherConfig(
            input=(str(path),), text_column="text", teacher=str(teacher), output=str(labels),
            rows_per_shard=1000, calibration_fraction=0.5, precision="fp32", max_length=MAX_LENGTH, **by,
        )
    )  # fmt: skip
    run_distill(
        DistillConfig(
            labels=(str(labels),), backbone=str(teacher), output=str(model), epochs="4", precision="fp32",
            learning_rate=3e-3, lexical_size=0,
        )
    )  # fmt: skip
    run_calibrate(CalibrateConfig(model=str(model), labels=(str(labels),), precision="fp32"))
    return Line(unit=unit, labels=labels, model=model)


@pytest.fixture(scope="module")
def by_rows(tmp_path_factory: pytest.TempPathFactory, wide: Path, quiet_machine: None) -> Line:
    return make_line(tmp_path_factory.mktemp("rows"), wide, Unit.ROWS)


@pytest.fixture(scope="module")
def by_groups(tmp_path_factory: pytest.TempPathFactory, wide: Path, quiet_machine: None) -> Line:
    return make_line(tmp_path_factory.mktemp("groups"), wide, Unit.GROUPS)


@pytest.fixture
def score_fresh(tmp_path: Path) -> Callable[..., list[Any]]:
    """Return the command line that scores rows of fresh texts, of which every fifth comes five times."""
    texts = [*FRESH[:2000], *FRESH[:2000:5] * 4]
    threads = [f"fresh {number // 3}" for number in range(len(texts))]
    path = write_tsv(tmp_path / "fresh.tsv", {"text": texts, "thread": threads})

    def args(line: Line, *more: Any) -> list[Any]:
        return [
            "score", *FP32, "--input", path, "--text-column", "text", "--model", line.model,
            "--output", tmp_path / "scores", *more,
        ]  # fmt: skip

    return args


def calibrating(line: Line) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All soft labels, and those of them that the calibration split gave."""
    soft = read_output(line.labels).to_pandas()
    rows = pd.read_parquet(line.model / "calibration.parquet")
    taken = rows[rows["split"] == "calibration"]
    return soft, soft.set_index("row").loc[taken["row"]]


# -- rows ----------------------------------------------------------------------------------------------


def test_each_row_of_the_calibration_split_calibrates(by_rows: Line, command: CommandLine, tmp_path: Path):
    soft, taken = calibrating(by_rows)
    assert sorted(taken.index) == soft[soft["split"] == "calibration"]["row"].tolist()
    assert taken["text"].duplicated().any()
    repeated = taken["text_hash"].isin(soft[soft["split"] == "train"]["text_hash"]).sum()
    out = command(*calibrate(by_rows.model, by_rows.labels, "--output", tmp_path / "out"))
    assert f"{repeated:,} of them repeat texts of the train split, as rows of a corpus do; " in out
    assert "--max-disagreement at 95% confidence, of the rows" in out
    assert f"{len(taken):,} of these rows, and " in out
    assert Calibration.load(str(tmp_path / "out")).exits.unit is Unit.ROWS


def test_a_promise_of_rows_is_kept_and_counted_by_rows(
    by_rows: Line, score_fresh: Callable[..., list[Any]], command: CommandLine, tmp_path: Path
):
    out = command(*score_fresh(by_rows, "--max-disagreement", 0.1, "--shadow-fraction", 0.5))
    assert "max disagreement 0.1, confidence 0.95, of 3,600 rows: certified, " in out
    scored = read_output(tmp_path / "scores").to_pandas()
    shadow = scored.dropna(subset="teacher_prediction")
    assert 1600 < len(shadow) == shadow["unit_hash"].nunique() < 2000
    assert shadow.notna().all(axis=None)
    differs = shadow["prediction"] != shadow["teacher_prediction"]
    assert_at_most(0.1, differs)
    low, high = interval(int(differs.sum()), len(shadow), 0.95)
    told = " ".join(command("audit", tmp_path / "scores").split())
    assert f"answers {differs.sum():,} of {len(shadow):,} shadow rows otherwise" in told
    assert f"between {low:.2%} and {high:.2%}" in told
    assert "promised: at most 10.00% of the rows answered otherwise than full depth would, at 95%; " in told
    manifest = read_manifest_file(tmp_path / "scores")
    assert manifest["certificate"]["unit"] == manifest["settings"]["shadow_unit"] == "rows"
    assert manifest["certificate"]["corpus"]["num_units"] == 3600


def test_groups_and_a_calibration_of_rows_do_not_go_together(
    by_rows: Line, score_fresh: Callable[..., list[Any]], command: CommandLine, tmp_path: Path
):
    for asked in (("--max-disagreement", 0.1), ("--target-speedup", 1.2)):
        assert command.refused(*score_fresh(by_rows, *asked, "--group-column", "thread")) == (
            "--group-column thread does not go with a calibration of rows, each of which counts: leave it out"
        )
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize("unit", [Unit.ROWS, Unit.GROUPS])
def test_rows_that_other_labels_taught_the_branches_are_one_line(
    by_rows: Line, by_groups: Line, wide: Path, command: CommandLine, tmp_path: Path, unit: Unit
):
    """However much repeats: what these very labels teach may come again, and nothing else."""
    texts = ROWS if unit is Unit.ROWS else THREADS
    path = write_tsv(
        tmp_path / "elsewhere.tsv", {"text": texts, "thread": [f"{text} of it" for text in texts]}
    )
    by = ("--promise-of", "rows") if unit is Unit.ROWS else ("--group-column", "thread")
    command(
        "label-teacher", *FP32, "--input", path, "--text-column", "text", "--teacher", wide, *by,
        "--output", tmp_path / "labels", "--max-length", MAX_LENGTH, "--calibration-fraction", 0.5,
    )  # fmt: skip
    line = by_rows if unit is Unit.ROWS else by_groups
    told = command.refused(*calibrate(line.model, tmp_path / "labels", "--output", tmp_path / "out"))
    assert f"holds for calibration what the branches of '{line.model}' learnt from, " in told
    assert f" {unit}, such as row " in told


# -- groups --------------------------------------------------------------------------------------------


def test_a_row_of_each_group_calibrates_and_none_that_training_saw(
    by_groups: Line, command: CommandLine, tmp_path: Path
):
    soft, taken = calibrating(by_groups)
    assert taken["unit_hash"].is_unique
    by_unit = soft.groupby("unit_hash")
    assert (by_unit["split"].nunique() == 1).all()
    assert by_unit.size().max() > 2
    assert not set(taken["unit_hash"]) & set(soft[soft["split"] == "train"]["unit_hash"])
    in_split, trained = (soft[soft["split"] == split] for split in ("calibration", "train"))
    both = set(in_split["text_hash"]) & set(trained["text_hash"])
    assert both
    assert not both & set(taken["text_hash"])
    assert not (read_branch_texts(by_groups.model) or frozenset()) & set(taken["text_hash"])
    left = in_split[~in_split["text_hash"].isin(both)]
    assert len(taken) == left["unit_hash"].nunique()
    out = " ".join(
        command(*calibrate(by_groups.model, by_groups.labels, "--output", tmp_path / "out")).split()
    )
    assert (
        f"{len(taken):,} groups; {len(both):,} texts that groups of both splits hold calibrate nothing" in out
    )
    assert "the branches saw none of them; " in out
    assert "--max-disagreement at 95% confidence, of the texts, one of each group" in out


def test_a_promise_of_groups_is_kept_and_counted_by_groups(
    by_groups: Line, score_fresh: Callable[..., list[Any]], command: CommandLine, tmp_path: Path
):
    args = score_fresh(by_groups, "--max-disagreement", 0.1, "--shadow-fraction", 0.5)
    out = command(*args, "--group-column", "thread")
    name = "max disagreement 0.1, confidence 0.95, of the texts, one of each group"
    assert f"{name}: certified, " in out
    scored = read_output(tmp_path / "scores").to_pandas()
    assert "thread" not in scored
    scored["thread"] = scored["row"] // 3
    drawn = scored["teacher_prediction"].notna().groupby(scored["thread"])
    assert (drawn.nunique() == 1).all()
    assert 500 < drawn.first().sum() < 700
    shadow = scored.dropna(subset="teacher_prediction")
    assert shadow["unit_hash"].nunique() == drawn.first().sum()
    told = " ".join(command("audit", tmp_path / "scores").split())
    assert f" of {drawn.first().sum():,} shadow groups, of each one text, otherwise" in told
    assert "promised: at most 10.00% of the texts, one of each group, answered otherwise than full" in told
    assert "tells nothing of a promise" not in told


def test_without_its_groups_a_promise_of_groups_is_not_audited(
    by_groups: Line, score_fresh: Callable[..., list[Any]], command: CommandLine, tmp_path: Path
):
    command(*score_fresh(by_groups, "--max-disagreement", 0.1, "--shadow-fraction", 0.5))
    assert read_manifest_file(tmp_path / "scores")["settings"]["shadow_unit"] == "texts"
    told = " ".join(command("audit", tmp_path / "scores").split())
    assert (
        "drawn by texts, and tells nothing of a promise of the texts, one of each group: score with" in told
    )
    assert " distinct shadow texts otherwise" in told


def test_of_groups_there_is_no_promise_of_a_corpus(
    by_groups: Line, score_fresh: Callable[..., list[Any]], command: CommandLine, tmp_path: Path
):
    assert command.refused(*score_fresh(by_groups, "--max-disagreement", 0.1, "--promise", "corpus")) == (
        "--promise corpus does not go with a calibration of groups, whose texts disagree together: "
        "say population"
    )
    assert not (tmp_path / "scores").exists()
