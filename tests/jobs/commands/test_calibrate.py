import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from jobs.commands.label_teacher import run as run_label_teacher
from jobs.configs.label_teacher import LabelTeacherConfig
from jobs.driver.distill_metrics import describe_training
from model.answers.uncertainty import normalised_entropy
from model.checkpoints.fingerprint import checkpoint_hash
from model.checkpoints.hub import BRANCH_TEXTS_FILE
from model.exits.policy import ExitPolicy
from model.fastbert import FastBertForSequenceClassification
from pipeline.results import soft_labels
from pipeline.results.soft_labels import SoftLabels
from pipeline.sampling.hash_sampling import text_hashes
from pipeline.sampling.training_hashes import read_branch_texts, write_teacher_texts
from tests.job_fixtures import (
    MAX_LENGTH,
    NUM_LAYERS,
    CommandLine,
    make_texts,
    read_output,
    snapshot,
    write_classifier,
    write_tsv,
)
from tests.jobs.calibration_fixtures import FP32, FRESH, TEXTS, calibrate, label

pytestmark = pytest.mark.usefixtures("quiet_machine")


def test_rows_are_distinct_texts_of_the_calibration_split_and_held_out_ones(
    rows: pd.DataFrame, labels: Path, distilled: Path
):
    soft = read_output(labels).to_pandas()
    held_out = set(SoftLabels.open(str(labels)).held_out_hashes())
    ours = soft[(soft["split"] == "calibration") | soft["text_hash"].map(held_out.__contains__)]
    distinct = ours.drop_duplicates("text_hash").sort_values("text_hash")
    assert len(distinct) < len(ours), "some texts came twice"
    for name in ("source", "row", "split", "num_tokens"):
        assert rows[name].tolist() == distinct[name].tolist()
    np.testing.assert_array_equal(np.stack(rows["teacher_logits"]), np.stack(distinct["teacher_logits"]))
    metrics = json.loads((distilled / "metrics.json").read_text())
    assert len(ours[ours["split"] == "train"]) == metrics["num_held_out_rows"] > 0


def test_of_fewer_soft_labels_than_were_learnt_from_no_row_counts_as_held_out_that_was_learnt(
    command: CommandLine, wide: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(soft_labels, "MAX_HELD_OUT_ROWS", 60)
    more, model = label(tmp_path / "more", wide, FRESH[:2000]), tmp_path / "model"
    command(
        "distill",
        *FP32,
        "--labels",
        labels,
        "--labels",
        more,
        "--backbone",
        wide,
        "--output",
        model,
        "--epochs",
        1,
    )
    command(*calibrate(model, more))
    learnt = read_branch_texts(model)
    assert learnt is not None
    hashes = read_output(more).to_pandas().set_index("row")["text_hash"]
    rows = pd.read_parquet(model / "calibration.parquet")
    held_out = set(hashes[rows[rows["split"] == "train"]["row"]])
    assert held_out
    assert not held_out & learnt


def test_rows_that_test_are_of_the_calibration_split_and_two_thirds_of_all(rows: pd.DataFrame):
    assert set(rows[rows["used_for"] == "test"]["split"]) == {"calibration"}
    assert set(rows[rows["used_for"] == "search"]["split"]) == {"calibration", "train"}
    assert (rows["used_for"] == "search").sum() == len(rows) // 3


def test_every_exits_answers_are_those_it_gives_when_all_leave_there(rows: pd.DataFrame, calibrated: Path):
    model = FastBertForSequenceClassification.from_pretrained(calibrated)
    scalings = json.loads((calibrated / "calibration.json").read_text())["scalings"]
    texts = [TEXTS[row] for row in rows["row"]]
    for exit_layer in range(NUM_LAYERS + 1):
        plain = ExitPolicy.from_exit_layer(exit_layer, num_layers=NUM_LAYERS)
        answered = model.predict(texts, policy=plain)
        assert (answered.exit_layer == exit_layer).all()
        logits = np.stack([np.stack(each)[exit_layer] for each in rows["exit_logits"]])
        np.testing.assert_allclose(logits, answered.logits, rtol=0, atol=2e-5)
        agrees = answered.label_ids == np.stack(rows["teacher_logits"]).argmax(axis=1)
        assert [each[exit_layer] for each in rows["exit_agrees"]] == agrees.tolist()
        temperature = 1.0 if exit_layer == NUM_LAYERS else scalings[exit_layer]["temperatures"][0]
        uncertainty = normalised_entropy(torch.from_numpy(logits) / temperature)
        np.testing.assert_allclose(
            [each[exit_layer] for each in rows["exit_uncertainty"]], uncertainty, atol=1e-6
        )


def test_the_file_tells_reliability_costs_and_targets(calibrated: Path, rows: pd.DataFrame):
    content = json.loads((calibrated / "calibration.json").read_text())
    assert content["calibrated_for"]["precision"] == "fp32"
    assert content["calibrated_for"]["model_hash"] == checkpoint_hash(calibrated)
    assert [each["exit_layer"] for each in content["exits"]] == [0, 1, 2, 3]
    test = rows[rows["used_for"] == "test"]
    for place, each in enumerate(content["exits"]):
        assert each["agreement"] == pytest.approx(np.mean([exits[place] for exits in test["exit_agrees"]]))
    assert sum(each["ece_after"] for each in content["exits"]) < sum(
        each["ece_before"] for each in content["exits"]
    )
    assert content["cost"]["layer_seconds"] > 0
    certified = [each for each in content["targets"] if each["is_certified"]]
    assert certified
    for each in certified:
        assert each["upper_bound"] <= each["max_disagreement"]
        assert each["num_rows"] == len(test)
    for asked, found in content["speed_curve"]:
        # The fewer rows go on, the more chance there is in what they cost.
        assert found == pytest.approx(asked, rel=0.05 * asked)


def test_calibrating_changes_no_model(tmp_path: Path, distilled: Path, labels: Path, command: CommandLine):
    copy = shutil.copytree(distilled, tmp_path / "copy")
    before = checkpoint_hash(copy)
    out = command(*calibrate(copy, labels))
    assert checkpoint_hash(copy) == before
    assert "--max-disagreement 0.01" in out.splitlines()[-1]


def test_at_most_so_many_rows_are_taken(
    tmp_path: Path, distilled: Path, labels: Path, rows: pd.DataFrame, command: CommandLine
):
    command(*calibrate(distilled, labels, "--rows", 150, "--output", tmp_path / "few"))
    few = pd.read_parquet(tmp_path / "few" / "calibration.parquet")
    in_split = rows[rows["split"] == "calibration"]
    assert few[few["split"] == "calibration"]["row"].tolist() == in_split["row"].tolist()[:150]
    assert set(few[few["split"] == "train"]["row"]) == set(rows[rows["split"] == "train"]["row"])


def test_too_few_rows_are_one_line(command: CommandLine, wide: Path, distilled: Path, tmp_path: Path):
    few = label(tmp_path / "few", wide, make_texts(200, seed=9))
    line = command.refused(*calibrate(distilled, few, "--output", tmp_path / "out"))
    assert (
        " distinct texts for calibration, and at least 100 are needed (1 % at 95 % takes 299 to test)" in line
    )
    assert not (tmp_path / "out").exists()


def test_rows_that_training_saw_are_one_line(
    command: CommandLine, wide: Path, distilled: Path, tmp_path: Path
):
    everything = label(tmp_path / "all", wide, TEXTS, calibration_fraction=1.0)
    line = command.refused(*calibrate(distilled, everything, "--output", tmp_path / "out"))
    assert f"'{everything}' holds for calibration what the branches of '{distilled}' learnt from, " in line
    row = int(line.split("such as row ")[1].split()[0])
    assert TEXTS[row] in set(read_output(everything)["text"].to_pylist())
    assert not (tmp_path / "out").exists()


def test_a_model_that_does_not_say_what_it_saw_is_calibrated_all_the_same(
    command: CommandLine, distilled: Path, labels: Path, tmp_path: Path
):
    copy = shutil.copytree(distilled, tmp_path / "copy")
    (copy / BRANCH_TEXTS_FILE).unlink()
    out = command(*calibrate(copy, labels))
    assert "what the branches learnt from is not known; what the full model learnt from is not known" in out


def test_what_was_left_out_when_texts_were_labelled_is_not_called_unknown(
    command: CommandLine, wide: Path, distilled: Path, tmp_path: Path
):
    learnt = write_tsv(tmp_path / "learnt.tsv", {"text": TEXTS[:100]})
    labels = label(tmp_path / "labelled", wide, TEXTS, teacher_training_input=(str(learnt),))
    out = command(*calibrate(distilled, labels, "--output", tmp_path / "out"))
    assert "; none of them is among the texts that the full model is known to have learnt from" in out


def test_rows_that_the_full_model_was_fine_tuned_on_are_one_line(
    command: CommandLine, distilled: Path, labels: Path, tmp_path: Path
):
    copy = shutil.copytree(distilled, tmp_path / "copy")
    (copy / "calibration.json").unlink(missing_ok=True)
    soft = read_output(labels).to_pandas()
    learnt = soft[soft["split"] == "calibration"].iloc[7]
    write_teacher_texts(copy, [learnt["text_hash"], *text_hashes(["another"])])
    line = command.refused(*calibrate(copy, labels))
    assert f"'{labels}' holds for calibration what the full model of '{copy}' learnt from, 1 of " in line
    assert f"such as row {learnt['row']} of {learnt['source']!r}" in line
    assert not (copy / "calibration.json").exists()
    write_teacher_texts(copy, text_hashes(["another"]))
    assert "the branches saw none of them; the full model saw none of them" in command(
        *calibrate(copy, labels)
    )


def test_another_models_soft_labels_are_one_line(command: CommandLine, distilled: Path, tmp_path: Path):
    other = write_classifier(tmp_path / "other", seed=5, hidden_size=128)
    labelled = label(tmp_path / "labelled", other, TEXTS)
    status, _, err = command.run(*calibrate(distilled, labelled, "--output", tmp_path / "out"))
    assert status == 2
    line = err.splitlines()[-1].removeprefix("fastbert-jobs: ")
    assert line.startswith("--labels are another model's answers: at full depth this one gives other logits")
    assert line.endswith("label with the model's own backbone")
    assert not (tmp_path / "out").exists()


def test_other_labels_and_another_length_are_one_line(
    command: CommandLine, wide: Path, distilled: Path, two_labels: Path, labels: Path, tmp_path: Path
):
    assert "other labels than" in command.refused(*calibrate(two_labels, labels))
    shorter = label(tmp_path / "shorter", wide, TEXTS[:600], max_length=8)
    line = command.refused(*calibrate(distilled, shorter))
    assert line.startswith(
        f"'{distilled}' cuts texts to {MAX_LENGTH} tokens, but '{shorter}' to 8; label again"
    )


def test_pairs_are_run_as_pairs(command: CommandLine, teacher: Path, fastbert: Path, tmp_path: Path):
    pairs = {"text": TEXTS[:200], "other": TEXTS[200:400]}
    path = write_tsv(tmp_path / "pairs.tsv", pairs)
    run_label_teacher(
        LabelTeacherConfig(
            input=(str(path),), text_column="text", text_pair_column="other", teacher=str(teacher),
            output=str(tmp_path / "labels"), calibration_fraction=1.0, max_length=MAX_LENGTH,
            precision="fp32",
        )
    )  # fmt: skip
    command(*calibrate(fastbert, tmp_path / "labels", "--output", tmp_path / "out"))
    found = pd.read_parquet(tmp_path / "out" / "calibration.parquet")
    model = FastBertForSequenceClassification.from_pretrained(fastbert)
    first, second = ([pairs[name][row] for row in found["row"]] for name in ("text", "other"))
    answered = model.predict(first, second)
    logits = np.stack([np.stack(each)[-1] for each in found["exit_logits"]])
    np.testing.assert_allclose(logits, answered.logits, rtol=0, atol=2e-5)


def test_an_output_that_cannot_be_is_refused_before_the_work(command: CommandLine, tmp_path: Path):
    (tmp_path / "file").touch()
    args = calibrate(tmp_path, "no labels")  # neither is looked at
    assert command.refused(*args, "--output", "foo://x").startswith("'foo://x' cannot be used: ")
    below = tmp_path / "file" / "below"
    assert command.refused(*args, "--output", below) == (
        f"'{below}' cannot be written: '{tmp_path / 'file'}' is a file; choose another --output"
    )
    line = command.refused(*args, "--output", tmp_path / "file")
    assert line == f"'{tmp_path / 'file'}' is a file; choose another --output"


def test_no_calibration_is_put_among_shards(command: CommandLine, distilled: Path, labels: Path):
    before = snapshot(labels)
    line = command.refused(*calibrate(distilled, labels, "--output", labels))
    assert f"'{labels}' holds the shards of a job" in line
    assert snapshot(labels) == before


def test_a_hub_name_wants_an_output(command: CommandLine, labels: Path):
    line = command.refused(*calibrate(Path("some/model"), labels))
    assert line == "'some/model' is no local directory; give its calibration an --output"


def test_nan_logits_are_one_line(command: CommandLine, distilled: Path, labels: Path, tmp_path: Path):
    broken = FastBertForSequenceClassification.from_pretrained(distilled)
    broken.branches[0].classifier.bias.data.fill_(torch.nan)
    broken.save_pretrained(tmp_path / "broken")
    shutil.copy(distilled / BRANCH_TEXTS_FILE, tmp_path / "broken")
    line = command.run(*calibrate(tmp_path / "broken", labels))[2].splitlines()[-1]
    assert "the model answers NaN to" in line
    assert not (tmp_path / "broken" / "calibration.json").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--rows", 99), "--rows 99 is not at least 100"),
        (("--confidence", 1), "--confidence 1 is not at least 0.5 and below 1, as 0.95 for 95 %"),
    ],
)
def test_numbers_out_of_range_are_one_line(
    command: CommandLine, distilled: Path, labels: Path, option: tuple[Any, ...], message: str
):
    assert command.refused(*calibrate(distilled, labels, *option)) == message


# -- what limits a promise -----------------------------------------------------------------------------


def test_what_distill_left_is_told(distilled: Path, tmp_path: Path):
    copy = shutil.copytree(distilled, tmp_path / "copy")
    metrics = (copy / "metrics.json").read_text()
    assert "would help" in describe_training(copy)
    (copy / "metrics.json").write_text(metrics.replace('"schema_version": 7', '"schema_version": 2'))
    assert "is of version 2 of the data contract" in describe_training(copy)
    (copy / "metrics.json").unlink()
    assert describe_training(copy) == ""


def test_the_command_says_what_limits_a_promise(
    command: CommandLine, distilled: Path, labels: Path, tmp_path: Path
):
    out = command(
        "calibrate",
        *FP32,
        "--model",
        distilled,
        "--labels",
        labels,
        "--rows",
        200,
        "--output",
        tmp_path / "few",
    )
    assert "0.10% takes 2,995 test rows at the least, and there are 200: label more" in out
    assert describe_training(distilled) in out


def test_the_same_command_again_leaves_the_same_bytes(
    command: CommandLine, distilled: Path, labels: Path, tmp_path: Path
):
    args = calibrate(distilled, labels, "--output", tmp_path / "out")
    assert "as an earlier calibration measured" not in command(*args)
    before = snapshot(tmp_path / "out")
    assert "as an earlier calibration measured" in command(*args)
    assert snapshot(tmp_path / "out") == before
    # Of another engine nothing was measured, and a damaged one is replaced.
    args[args.index("fp32")] = "bf16"
    assert "as an earlier calibration measured" not in command(*args)
    (tmp_path / "out" / "calibration.json").write_text("{}")
    assert "as an earlier calibration measured" not in command(*args)


def test_near_copies_of_texts_to_train_on_are_told(
    command: CommandLine, wide: Path, distilled: Path, labels: Path, tmp_path: Path
):
    out = command(*calibrate(distilled, labels, "--output", tmp_path / "apart"))
    assert "share a tenth or more, in runs of 40 bytes, with texts to train on" in out
    assert "near copies of texts" not in out
    stored = json.loads((tmp_path / "apart" / "calibration.json").read_text())["near_copies"]
    assert stored["num_told"] + stored["num_short"] == len(
        {each for each, split in read_hashes(labels) if split == "calibration"}
    )
    alike = [f"as was said before at some length in this thread, {text}" for text in make_texts(600, seed=5)]
    others = label(tmp_path / "alike", wide, alike)
    out = command(*calibrate(distilled, others, "--output", tmp_path / "out"))
    assert "the branches learnt from other soft labels than these: there is nothing to compare with" in out
    assert "near copies of texts" not in out
    copy = shutil.copytree(distilled, tmp_path / "copy")
    # Where it is not known what they learnt from, it is what the labels say.
    (copy / "metrics.json").unlink()
    out = " ".join(command(*calibrate(copy, others, "--output", tmp_path / "out")).split())
    assert "100% of the texts are near copies of texts to train on: promises are of texts with as many" in out


def read_hashes(labels: Path) -> list[tuple[bytes, str]]:
    soft = read_output(labels).to_pandas()
    return list(zip(soft["text_hash"], soft["split"], strict=True))
