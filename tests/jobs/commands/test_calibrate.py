import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import binom

from jobs.commands.calibrate import describe_limits
from jobs.commands.calibrate import run as run_calibrate
from jobs.commands.distill import run as run_distill
from jobs.commands.label_teacher import run as run_label_teacher
from jobs.configs.calibrate import CalibrateConfig
from jobs.configs.distill import DistillConfig
from jobs.configs.label_teacher import LabelTeacherConfig
from jobs.driver.distill_metrics import describe_training
from model.checkpoints.fingerprint import checkpoint_hash
from model.cost.latency import RunCost
from model.engine.execution import Precision, resolve_execution
from model.exits.layer_sweep import predict_tokenized
from model.exits.policy import ExitPolicy
from model.fastbert import FastBertForSequenceClassification
from model.network.uncertainty import normalised_entropy
from model.tokens.tokenization import tokenize
from pipeline.results.calibration import Calibration
from pipeline.results.calibration_report import CalibrationReport
from pipeline.results.soft_labels import SoftLabels
from pipeline.sampling.hash_sampling import text_hashes
from pipeline.sampling.training_hashes import TRAINING_HASHES_FILE
from tests.job_fixtures import (
    LABELS,
    MAX_LENGTH,
    NUM_LAYERS,
    CommandLine,
    make_texts,
    read_manifest_file,
    read_output,
    write_classifier,
    write_tsv,
)
from tests.model.exit_populations import exit_calibration

# Distinct texts in any order: what is true of some is true of the others.
_POOL = sorted(set(make_texts(12_000, seed=3)), key=lambda text: text_hashes([text[::-1]]))
FRESH = _POOL[5000:9000]
# Some come twice.
TEXTS = [*_POOL[:5000], *_POOL[:300]]
FP32 = ("--precision", "fp32")


def label(directory: Path, teacher: Path, texts: list[str], **options: Any) -> Path:
    """Return a directory of soft labels."""
    directory.mkdir(parents=True, exist_ok=True)
    path = write_tsv(directory / "rows.tsv", {"text": texts})
    given = {"calibration_fraction": 0.4, "precision": "fp32", "max_length": MAX_LENGTH, **options}
    run_label_teacher(
        LabelTeacherConfig(
            input=(str(path),), text_column="text", teacher=str(teacher), output=str(directory / "labels"),
            rows_per_shard=1000, **given,
        )
    )  # fmt: skip
    return directory / "labels"


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a classifier of whose layers a branch is a small part, as of real ones."""
    return write_classifier(tmp_path_factory.mktemp("models") / "wide", hidden_size=128)


@pytest.fixture(scope="session", autouse=True)
def quiet_machine() -> Iterator[None]:
    """What parts of a model take is what it would be if nobody else were here."""
    cost = RunCost(layer_seconds=1.0, branch_seconds=0.12, layer_flops=1.0, branch_flops=0.1)
    with mock.patch("model.guarantee.calibrate.measure_cost", return_value=cost) as measured:
        yield
    assert measured.called


@pytest.fixture(scope="session")
def labels(tmp_path_factory: pytest.TempPathFactory, wide: Path) -> Path:
    return label(tmp_path_factory.mktemp("calibrate"), wide, TEXTS)


@pytest.fixture(scope="session")
def distilled(tmp_path_factory: pytest.TempPathFactory, wide: Path, labels: Path) -> Path:
    """Directory of a FastBERT whose exits know something."""
    output = tmp_path_factory.mktemp("distilled") / "fastbert"
    run_distill(
        DistillConfig(
            labels=(str(labels),), backbone=str(wide), output=str(output), epochs=4, precision="fp32",
            learning_rate=3e-3,
        )
    )  # fmt: skip
    return output


@pytest.fixture(scope="session")
def calibrated(distilled: Path, labels: Path) -> Path:
    """The same with its calibration."""
    run_calibrate(CalibrateConfig(model=str(distilled), labels=(str(labels),), precision="fp32"))
    return distilled


@pytest.fixture(scope="session")
def rows(calibrated: Path) -> pd.DataFrame:
    return pd.read_parquet(calibrated / "calibration.parquet")


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Texts of the same kind that nobody has seen."""
    return write_tsv(tmp_path / "fresh.tsv", {"text": FRESH})


@pytest.fixture
def score(command: CommandLine, calibrated: Path, fresh: Path, tmp_path: Path) -> Callable[..., Any]:
    """Return the command line that scores the fresh texts."""

    def args(*more: Any, model: Path = calibrated, output: str = "scores") -> list[Any]:
        return [
            "score", *FP32, "--input", fresh, "--text-column", "text", "--model", model,
            "--output", tmp_path / output, *more,
        ]  # fmt: skip

    return args


def assert_at_most(share: float, wrong: Any) -> None:
    """Hold wrong answers to fresh rows, (rows,) bool, against a share: not more than chance would add."""
    assert binom.sf(wrong.sum() - 1, len(wrong), share) > 0.01


def calibrate(model: Path, labels: Path, *more: Any) -> list[Any]:
    return ["calibrate", *FP32, "--model", model, "--labels", labels, *more]


def test_rows_are_distinct_texts_of_the_calibration_split_and_held_out_ones(
    rows: pd.DataFrame, labels: Path, distilled: Path
):
    soft = read_output(labels).to_pandas()
    held_out = set(SoftLabels.open(str(labels)).held_out_hashes())
    ours = soft[(soft["split"] == "calibration") | soft["text_hash"].map(held_out.__contains__)]
    distinct = ours.drop_duplicates("text_hash").sort_values("text_hash")
    assert len(distinct) < len(ours), "some texts came twice"
    for name in ("source", "row", "split", "num_tokens", "teacher_prediction"):
        assert rows[name].tolist() == distinct[name].tolist()
    metrics = json.loads((distilled / "metrics.json").read_text())
    assert len(ours[ours["split"] == "train"]) == metrics["num_held_out_rows"] > 0


def test_rows_that_test_are_of_the_calibration_split_and_two_thirds_of_all(rows: pd.DataFrame):
    assert set(rows[rows["used_for"] == "test"]["split"]) == {"calibration"}
    assert set(rows[rows["used_for"] == "search"]["split"]) == {"calibration", "train"}
    assert (rows["used_for"] == "search").sum() == len(rows) // 3


def test_every_exits_answers_are_those_it_gives_when_all_leave_there(rows: pd.DataFrame, calibrated: Path):
    model = FastBertForSequenceClassification.from_pretrained(calibrated)
    temperatures = json.loads((calibrated / "calibration.json").read_text())["temperatures"]
    texts = [TEXTS[row] for row in rows["row"]]
    for exit_layer in range(NUM_LAYERS + 1):
        plain = ExitPolicy.from_exit_layer(exit_layer, num_layers=NUM_LAYERS)
        answered = model.predict(texts, policy=plain)
        assert (answered.exit_layer == exit_layer).all()
        logits = np.stack([np.stack(each)[exit_layer] for each in rows["exit_logits"]])
        np.testing.assert_allclose(logits, answered.logits, rtol=0, atol=2e-5)
        assert [each[exit_layer] for each in rows["exit_predictions"]] == answered.predictions
        temperature = 1.0 if exit_layer == NUM_LAYERS else temperatures[exit_layer]
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
        predicted = [exits[place] for exits in test["exit_predictions"]]
        assert each["agreement"] == pytest.approx(np.mean(predicted == test["teacher_prediction"]))
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


def test_a_certificate_is_kept_and_told(
    command: CommandLine, score: Callable[..., Any], calibrated: Path, tmp_path: Path
):
    out = command(*score("--max-disagreement", 0.05, "--shadow-fraction", 1))
    scored = read_output(tmp_path / "scores").to_pandas()
    assert_at_most(0.05, scored["prediction"] != scored["teacher_prediction"])
    assert (scored["exit_layer"] < NUM_LAYERS).any()
    policy = Calibration.load(str(calibrated)).policy(max_disagreement=0.05)
    manifest = read_manifest_file(tmp_path / "scores")
    assert manifest["settings"]["thresholds"] == list(policy.thresholds)
    assert manifest["settings"]["temperatures"] == list(policy.temperatures)
    assert manifest["settings"]["lexical_threshold"] == policy.lexical_threshold
    assert manifest["settings"]["lexical_temperature"] == policy.lexical_temperature
    assert manifest["settings"]["policy"] == "max disagreement 0.05, confidence 0.95"
    certificate = manifest["certificate"]
    assert certificate["is_certified"]
    assert certificate["num_disagreements"] == policy.risk.num_disagreements
    assert certificate["upper_bound"] <= 0.05
    assert certificate["calibrated_for"]["model_hash"] == manifest["settings"]["model_hash"]
    assert certificate["calibrated_for"]["precision"] == manifest["settings"]["precision"]
    told = f"certified, {policy.risk.num_disagreements} of {policy.risk.num_rows:,} test rows disagree"
    assert f"max disagreement 0.05, confidence 0.95: {told}" in out
    # Probabilities are the branch's own; a temperature is for the uncertainty beside them.
    early = scored[scored["exit_layer"] < NUM_LAYERS]
    log = torch.from_numpy(np.stack(early["probabilities"].to_list())).log()
    scaled = log / torch.tensor([policy.temperature(each) for each in early["exit_layer"]])[:, None]
    np.testing.assert_allclose(early["uncertainty"], normalised_entropy(scaled), atol=1e-4)
    thresholds = np.array([policy.threshold(each) for each in early["exit_layer"]])
    assert manifest["settings"]["length_exponent"] == certificate["length_exponent"] == 0.5
    assert (early["uncertainty"] / early["num_tokens"] ** 0.5 < thresholds * (1 + 1e-6)).all()


def test_other_texts_than_those_of_the_calibration_are_noticed(
    command: CommandLine, score: Callable[..., Any], tmp_path: Path
):
    command(*score("--max-disagreement", 0.05, "--shadow-fraction", 1))
    assert "does not hold" not in command("audit", tmp_path / "scores")
    scored = read_output(tmp_path / "scores").to_pandas()
    differs = scored["prediction"] != scored["teacher_prediction"]
    hard = [FRESH[row] for row in scored["row"][differs]]
    others = write_tsv(tmp_path / "others.tsv", {"text": [*hard, *FRESH[:500]]})
    args = score("--max-disagreement", 0.05, "--shadow-fraction", 1, output="others")
    args[args.index("--input") + 1] = others
    command(*args)
    out = " ".join(command("audit", tmp_path / "others").split())
    assert "the certificate does not hold here: " in out
    assert f"of {len(hard) + 500} shadow rows disagree, more than 5.00%" in out


def test_python_gives_the_same_answers_as_the_job(
    command: CommandLine, score: Callable[..., Any], calibrated: Path, tmp_path: Path
):
    command(*score("--max-disagreement", 0.05))
    scored = read_output(tmp_path / "scores").to_pandas().sort_values("row")
    policy = Calibration.load(str(calibrated)).policy(max_disagreement=0.05)
    model = FastBertForSequenceClassification.from_pretrained(calibrated)
    answers = model.predict(FRESH, policy=policy)
    assert answers.predictions == scored["prediction"].tolist()
    assert answers.exit_layer.tolist() == scored["exit_layer"].tolist()


def test_a_label_may_be_promised_more(command: CommandLine, score: Callable[..., Any], tmp_path: Path):
    command(*score("--max-disagreement", 0.1, "--max-missed", "yes=0.05", "--shadow-fraction", 1))
    scored = read_output(tmp_path / "scores").to_pandas()
    wrong = scored["prediction"] != scored["teacher_prediction"]
    assert_at_most(0.1, wrong)
    assert_at_most(0.05, wrong[scored["teacher_prediction"] == "yes"])
    missed = read_manifest_file(tmp_path / "scores")["certificate"]["per_label"]
    assert list(missed) == ["yes"]
    assert missed["yes"]["upper_bound"] <= 0.05


@pytest.mark.parametrize("num_labels", [77, 150])
def test_of_many_labels_something_exits_and_the_bound_holds(tmp_path: Path, num_labels: int):
    names = [f"intent {number}" for number in range(num_labels)]
    classifier = write_classifier(tmp_path / "classifier", labels=names, hidden_size=128)
    labelled, model = label(tmp_path / "labels", classifier, TEXTS[:3000]), tmp_path / "fastbert"
    run_distill(
        DistillConfig(
            labels=(str(labelled),), backbone=str(classifier), output=str(model), epochs=4, precision="fp32",
            learning_rate=3e-3,
        )
    )  # fmt: skip
    calibration = run_calibrate(CalibrateConfig(model=str(model), labels=(str(labelled),), precision="fp32"))
    policy = calibration.policy(max_disagreement=0.25)
    assert policy.is_certified
    loaded = FastBertForSequenceClassification.from_pretrained(model)
    early, full = loaded.predict(FRESH, policy=policy), loaded.predict(FRESH)
    assert (early.exit_layer < NUM_LAYERS).mean() > 0.05
    assert_at_most(0.25, early.label_ids != full.label_ids)


@pytest.mark.parametrize("target", [1, 1.3, 1.8])
def test_a_target_speed_up_is_hit(
    command: CommandLine, score: Callable[..., Any], tmp_path: Path, target: float
):
    command(*score("--target-speedup", target))
    out = command("audit", tmp_path / "scores")
    found = json.loads(
        pq.read_schema(tmp_path / "scores" / "_audit" / "exit_stats.parquet").metadata[b"fastbert.overall"]
    )["saved_compute"]
    assert found == pytest.approx(target, rel=0.05)
    assert f"found {found:.2f}x" in out
    assert (tmp_path / "scores" / "_audit" / "saved_compute.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_promised_is_full_depth(
    command: CommandLine, score: Callable[..., Any], tmp_path: Path
):
    out = command(*score("--max-disagreement", 0.0001))
    assert "not attainable; " in out
    assert "full depth; 0.0001 at 0.95 takes 29,956 test rows, none of which disagrees, and" in out
    scored = read_output(tmp_path / "scores")
    assert set(scored["exit_layer"].to_pylist()) == {NUM_LAYERS}
    assert not read_manifest_file(tmp_path / "scores")["certificate"]["is_certified"]


def test_the_calibration_may_lie_elsewhere(
    command: CommandLine, score: Callable[..., Any], distilled: Path, labels: Path, tmp_path: Path
):
    bare = shutil.copytree(
        distilled, tmp_path / "bare", ignore=lambda *_: ["calibration.json", "calibration.parquet"]
    )
    out = command(*calibrate(bare, labels, "--output", tmp_path / "elsewhere"))
    assert out.splitlines()[-1].endswith(f"--max-disagreement 0.01 --calibration {tmp_path}/elsewhere")
    line = command.refused(*score("--max-disagreement", 0.05, model=bare))
    assert line == f"'{bare}' has no calibration.json; make it with `fastbert-jobs calibrate`"
    command(*score("--max-disagreement", 0.05, "--calibration", tmp_path / "elsewhere", model=bare))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give exactly one of --max-disagreement, --target-speedup, --speed, --fixed-exit-layer"),
        (["--max-disagreement", 0.01, "--speed", 0.5], "give exactly one of --max-disagreement, "),
        (["--target-speedup", 2, "--max-missed", "yes=0.1"], "--max-missed goes with --max-disagreement"),
        (["--speed", 0.5, "--confidence", 0.9], "--confidence goes with --max-disagreement or"),
        (["--speed", 0.5, "--calibration", "x"], "--calibration goes with --max-disagreement or"),
        (["--max-disagreement", 0], "--max-disagreement 0 is not a share above 0 and below 1, as 0.01 for"),
        (["--max-disagreement", 1], "--max-disagreement 1 is not a share above 0 and below 1"),
        (["--max-disagreement", 0.1, "--confidence", 95], "--confidence 95 is not at least 0.5 and below 1"),
        (["--max-disagreement", 0.1, "--max-missed", "yes"], "--max-missed 'yes' is not LABEL=SHARE, as"),
        (["--max-disagreement", 0.1, "--max-missed", "yes=a"], "--max-missed 'yes=a' is not LABEL=SHARE"),
        (["--max-disagreement", 0.1, "--max-missed", "si=0.1"], "--max-missed si: the model has no such"),
        (["--max-disagreement", 0.1, "--max-missed", "yes=2"], "--max-missed 2 is not a share above 0"),
        (["--target-speedup", 0.5], "--target-speedup 0.5 is below 1, which is full depth"),
        (["--target-speedup", 1e9], "--target-speedup 1e+09 is out of reach: leaving at the first exit"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(
    command: CommandLine, score: Callable[..., Any], tmp_path: Path, options: list[Any], message: str
):
    assert command.refused(*score(*options)).startswith(message)
    assert not (tmp_path / "scores").exists()


def test_a_calibration_is_for_one_model_and_precision(
    command: CommandLine, score: Callable[..., Any], calibrated: Path, fastbert: Path, tmp_path: Path
):
    line = command.refused(*score("--max-disagreement", 0.05, "--precision", "bf16"))
    assert "calibrated for something else than runs here, in precision (bf16, calibrated for fp32)" in line
    assert line.endswith("run `fastbert-jobs calibrate` as you want to score")
    line = command.refused(*score("--max-disagreement", 0.05, "--calibration", calibrated, model=fastbert))
    assert line.startswith(
        "the policy is calibrated for another model, or for this one before it was changed"
    )
    assert line.endswith("run `fastbert-jobs calibrate` on this one")
    assert not (tmp_path / "scores").exists()


def damage(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("calibration.json", b"{", "calibration.json' is damaged: "),
        ("calibration.json", b"{}", "of an older version of the data contract, and this is version 3"),
        (
            "calibration.json",
            b'{"schema_version": 3}',
            "calibration.json' is damaged: 'fingerprint' is missing",
        ),
        ("calibration.parquet", b"PAR1", "cannot be read: "),
        ("calibration.parquet", None, "cannot be read: "),
    ],
)
def test_a_damaged_calibration_is_one_line(
    command: CommandLine,
    score: Callable[..., Any],
    calibrated: Path,
    tmp_path: Path,
    name: str,
    content: bytes | None,
    message: str,
):
    copy = shutil.copytree(calibrated, tmp_path / "copy")
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content)
    line = command.refused(*score("--max-disagreement", 0.05, model=copy))
    assert message in line
    assert line.endswith("run `fastbert-jobs calibrate` again")


def test_files_of_two_calibrations_do_not_go_together(
    command: CommandLine, score: Callable[..., Any], calibrated: Path, labels: Path, tmp_path: Path
):
    command(*calibrate(calibrated, labels, "--rows", 150, "--output", tmp_path / "few"))
    copy = shutil.copytree(calibrated, tmp_path / "copy")
    shutil.copy(tmp_path / "few" / "calibration.parquet", copy)
    line = command.refused(*score("--max-disagreement", 0.05, model=copy))
    assert line.startswith(f"calibration.json and calibration.parquet in '{copy}' do not belong together")


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
    assert f"'{everything}' holds for calibration what '{distilled}' was trained on, " in line
    row = int(line.split("such as row ")[1].split()[0])
    assert TEXTS[row] in set(read_output(everything)["text"].to_pylist())
    assert not (tmp_path / "out").exists()


def test_a_model_that_does_not_say_what_it_saw_is_calibrated_all_the_same(
    command: CommandLine, distilled: Path, labels: Path, tmp_path: Path
):
    copy = shutil.copytree(distilled, tmp_path / "copy")
    (copy / TRAINING_HASHES_FILE).unlink()
    assert f"has no {TRAINING_HASHES_FILE}" in command(*calibrate(copy, labels))


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


def test_a_hub_name_wants_an_output(command: CommandLine, labels: Path):
    line = command.refused(*calibrate(Path("some/model"), labels))
    assert line == "'some/model' is no local directory; give its calibration an --output"


def test_nan_logits_are_one_line(command: CommandLine, distilled: Path, labels: Path, tmp_path: Path):
    broken = FastBertForSequenceClassification.from_pretrained(distilled)
    broken.branches[0].classifier.bias.data.fill_(torch.nan)
    broken.save_pretrained(tmp_path / "broken")
    shutil.copy(distilled / TRAINING_HASHES_FILE, tmp_path / "broken")
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


def test_a_temperature_is_for_the_uncertainty_alone(calibrated: Path):
    model = FastBertForSequenceClassification.from_pretrained(calibrated)
    texts = tokenize(model.tokenizer, TEXTS[:300], max_length=MAX_LENGTH)
    engine = model.engine(resolve_execution(Precision.FP32, device="cpu"))
    policy = ExitPolicy.from_exit_layer(1, num_layers=NUM_LAYERS)
    plain = predict_tokenized(engine, texts, policy)
    warm = predict_tokenized(engine, texts, replace(policy, temperatures=(2.5, 1.0)))
    np.testing.assert_array_equal(warm.logits, plain.logits)
    assert warm.label_ids.tolist() == plain.label_ids.tolist()
    np.testing.assert_allclose(
        warm.uncertainty, normalised_entropy(torch.from_numpy(plain.logits / 2.5)), atol=1e-6
    )
    assert set(warm.predictions) <= set(LABELS)


# -- what limits a promise -----------------------------------------------------------------------------


@pytest.fixture
def report() -> CalibrationReport:
    return CalibrationReport.of(exit_calibration(num_rows=1000), fingerprint="f", confidence=0.95)


def with_saved_compute(report: CalibrationReport, *saved: float) -> CalibrationReport:
    targets = (
        replace(target, saved_compute=value) for target, value in zip(report.targets, saved, strict=True)
    )
    return replace(report, targets=tuple(targets))


def test_nothing_is_said_where_every_promise_saves(report: CalibrationReport):
    assert describe_limits(with_saved_compute(report, 2, 2, 2, 2, 2, 2), "more text would help") == ""


def test_a_promise_that_saves_nothing_is_named_with_what_would_help(report: CalibrationReport):
    line = describe_limits(with_saved_compute(report, 1.0, 1.05, 2, 2, 2, 2), "more text would help")
    assert line == (
        "at most 0.10%, 0.25% saves next to nothing; 0.10% takes 2,995 test rows at the least, and there are "
        "667: label more, or with a larger --calibration-fraction; more text would help"
    )


def test_rows_are_not_asked_for_where_there_are_enough(report: CalibrationReport):
    targets = tuple(replace(target, num_rows=3000) for target in report.targets)
    line = describe_limits(with_saved_compute(replace(report, targets=targets), 1, 1, 1, 1, 1, 1), "")
    assert line == "at most 0.10%, 0.25%, 0.50%, 1.00%, 2.00%, 5.00% saves next to nothing"


def test_what_distill_left_is_told(distilled: Path, tmp_path: Path):
    copy = shutil.copytree(distilled, tmp_path / "copy")
    metrics = (copy / "metrics.json").read_text()
    assert "would help" in describe_training(copy)
    (copy / "metrics.json").write_text(metrics.replace('"schema_version": 3', '"schema_version": 2'))
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
