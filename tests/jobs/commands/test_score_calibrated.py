"""`score` by the policies of a calibration."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from jobs.commands.calibrate import run as run_calibrate
from jobs.commands.distill import run as run_distill
from jobs.configs.calibrate import CalibrateConfig
from jobs.configs.distill import DistillConfig
from model.answers.scaling import UNSCALED, Scaling
from model.answers.uncertainty import normalised_entropy
from model.engine.execution import Precision, resolve_execution
from model.exits.layer_sweep import predict_tokenized
from model.exits.policy import ExitPolicy
from model.fastbert import FastBertForSequenceClassification
from model.guarantee.finite_corpus import CorpusSize
from model.tokens.tokenization import tokenize
from pipeline.contract.defaults import default_rows_per_shard
from pipeline.contract.typed_json import as_plain
from pipeline.results.calibration import Calibration
from tests.job_fixtures import (
    LABELS,
    MAX_LENGTH,
    NUM_LAYERS,
    CommandLine,
    read_manifest_file,
    read_output,
    write_classifier,
    write_tsv,
)
from tests.jobs.calibration_fixtures import FRESH, TEXTS, assert_at_most, calibrate, label

pytestmark = pytest.mark.usefixtures("quiet_machine")


def test_a_certificate_is_kept_and_told(
    command: CommandLine, score: Callable[..., Any], calibrated: Path, tmp_path: Path
):
    out = command(*score("--max-disagreement", 0.05, "--promise", "population", "--shadow-fraction", 1))
    scored = read_output(tmp_path / "scores").to_pandas()
    assert_at_most(0.05, scored["prediction"] != scored["teacher_prediction"])
    assert (scored["exit_layer"] < NUM_LAYERS).any()
    policy = Calibration.load(str(calibrated)).policy(max_disagreement=0.05)
    manifest = read_manifest_file(tmp_path / "scores")
    assert manifest["settings"]["thresholds"] == list(policy.thresholds)
    assert manifest["settings"]["scalings"] == list(map(as_plain, policy.scalings))
    assert manifest["settings"]["lexical_threshold"] == policy.lexical_threshold
    assert manifest["settings"]["lexical_scaling"] == as_plain(policy.lexical_scaling)
    assert manifest["settings"]["policy"] == "max disagreement 0.05, confidence 0.95, of the texts"
    # The more is saved, the more rows are as much work.
    assert manifest["settings"]["rows_per_shard"] == default_rows_per_shard(policy.saved_compute) > 10_000
    certificate = manifest["certificate"]
    assert certificate["is_certified"]
    assert certificate["corpus"] is None
    assert certificate["num_disagreements"] == policy.risk.num_disagreements
    assert certificate["upper_bound"] <= 0.05
    assert certificate["calibrated_for"]["model_hash"] == manifest["settings"]["model_hash"]
    assert certificate["calibrated_for"]["precision"] == manifest["settings"]["precision"]
    told = f"certified, {policy.risk.num_disagreements} of {policy.risk.num_rows:,} test rows disagree"
    assert f"max disagreement 0.05, confidence 0.95, of the texts: {told}" in out
    # Probabilities are the branch's own; a temperature is for the uncertainty beside them.
    early = scored[scored["exit_layer"] < NUM_LAYERS]
    log = torch.from_numpy(np.stack(early["probabilities"].to_list())).log()
    scaled = log / torch.tensor([policy.scaling(each).temperature for each in early["exit_layer"]])[:, None]
    np.testing.assert_allclose(early["uncertainty"], normalised_entropy(scaled), atol=1e-4)
    thresholds = np.array([policy.threshold(each) for each in early["exit_layer"]])
    assert manifest["settings"]["length_exponent"] == certificate["length_exponent"] == 0.5
    assert (early["uncertainty"] / early["num_tokens"] ** 0.5 < thresholds * (1 + 1e-6)).all()


def test_a_promise_is_of_the_corpus(
    command: CommandLine, score: Callable[..., Any], calibrated: Path, tmp_path: Path
):
    copies = write_tsv(tmp_path / "copies.tsv", {"text": [*FRESH, *FRESH[:7] * 40, "", *FRESH]})
    args = score("--max-disagreement", 0.05, "--max-missed", "yes=0.2", "--shadow-fraction", 1)
    args[args.index("--input") + 1] = copies
    out = command(*args)
    size = CorpusSize(num_units=len(set(FRESH)))
    asked = {"max_disagreement": 0.05, "max_missed": {"yes": 0.2}}
    calibration = Calibration.load(str(calibrated))
    policy = calibration.policy(**asked, corpus=size)
    manifest = read_manifest_file(tmp_path / "scores")
    assert manifest["settings"]["thresholds"] == list(policy.thresholds)
    name = "max disagreement 0.05, max missed yes=0.2, confidence 0.95"
    assert manifest["settings"]["policy"] == f"{name}, of {len(set(FRESH)):,} distinct texts"
    assert policy.corpus
    assert manifest["certificate"]["max_disagreement"] == 0.05
    assert manifest["certificate"]["corpus"] == {
        "num_units": len(set(FRESH)),
        "is_complete": True,
        "max_risk": policy.corpus.max_risk,
        "max_label_risks": {"yes": dict(policy.corpus.max_label_risks)[LABELS.index("yes")]},
        "confidence": pytest.approx(0.96),
    }
    assert policy.corpus.max_risk < 0.05
    assert f"certified, as a risk of {policy.corpus.max_risk:.3%} at 0.96, " in out
    assert policy.saved_compute < calibration.policy(**asked).saved_compute
    scored = read_output(tmp_path / "scores").to_pandas().drop_duplicates("unit_hash")
    assert len(scored) == size.num_units
    is_other = scored["prediction"] != scored["teacher_prediction"]
    assert 0 < is_other.mean() <= 0.05
    assert is_other[scored["teacher_prediction"] == "yes"].mean() <= 0.2


def test_of_a_small_corpus_no_share_can_be_promised(
    command: CommandLine, score: Callable[..., Any], tmp_path: Path
):
    few = write_tsv(tmp_path / "few.tsv", {"text": [*FRESH[:19], *FRESH[:19]]})
    args = score("--max-disagreement", 0.05)
    args[args.index("--input") + 1] = few
    assert command.refused(*args) == (
        "--max-disagreement 0.05 of 19 distinct texts is less than one of them, so that no text could leave "
        "early: ask for 0.053 or more, for --promise population, or for --speed 0, which is full depth"
    )
    assert not (tmp_path / "scores").exists()
    command(*args, "--promise", "population")


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
    num_texts = len({*hard, *FRESH[:500]})
    assert f"of {num_texts} distinct shadow texts disagree, more than 5.00%" in out


def test_copies_of_a_text_are_no_evidence_of_their_own(
    command: CommandLine, score: Callable[..., Any], tmp_path: Path
):
    command(*score("--max-disagreement", 0.05, "--shadow-fraction", 1))
    scored = read_output(tmp_path / "scores").to_pandas()
    differs = scored["prediction"] != scored["teacher_prediction"]
    hard = [FRESH[row] for row in scored["row"][differs]]
    # Few texts that disagree, and very often: the promise counts each once.
    copies = write_tsv(tmp_path / "copies.tsv", {"text": [*hard[:4] * 200, *FRESH[:500]]})
    args = score("--max-disagreement", 0.05, "--shadow-fraction", 1, output="copies")
    args[args.index("--input") + 1] = copies
    command(*args)
    out = " ".join(command("audit", tmp_path / "copies").split())
    assert "does not hold" not in out
    found = read_output(tmp_path / "copies").to_pandas()
    assert (found["prediction"] != found["teacher_prediction"]).mean() > 0.4
    assert f"of {len({*hard[:4], *FRESH[:500]})} distinct shadow texts otherwise" in out


def test_a_promise_for_a_label_is_audited_too(
    command: CommandLine, score: Callable[..., Any], tmp_path: Path
):
    promise = ("--max-disagreement", 0.2, "--max-missed", "yes=0.05", "--shadow-fraction", 1)
    command(*score(*promise))
    assert "does not hold" not in command("audit", tmp_path / "scores")
    scored = read_output(tmp_path / "scores").to_pandas()
    is_yes = scored["teacher_prediction"] == "yes"
    missed = scored["row"][is_yes & (scored["prediction"] != "yes")]
    right = scored["row"][is_yes & (scored["prediction"] == "yes")][: 2 * len(missed)]
    rest = scored["row"][~is_yes & (scored["prediction"] == scored["teacher_prediction"])]
    texts = [FRESH[row] for rows in (missed, right, rest) for row in rows]
    others = write_tsv(tmp_path / "others.tsv", {"text": texts})
    args = score(*promise, output="others")
    args[args.index("--input") + 1] = others
    command(*args)
    out = " ".join(command("audit", tmp_path / "others").split())
    assert "distinct shadow texts that full depth calls yes disagree, more than 5.00%" in out
    assert "more than 20.00%" not in out


def test_python_gives_the_same_answers_as_the_job(
    command: CommandLine, score: Callable[..., Any], calibrated: Path, tmp_path: Path
):
    command(*score("--max-disagreement", 0.05))
    scored = read_output(tmp_path / "scores").to_pandas().sort_values("row")
    policy = Calibration.load(str(calibrated)).policy(
        max_disagreement=0.05, corpus=CorpusSize(num_units=len(set(FRESH)))
    )
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
    (missed,) = read_manifest_file(tmp_path / "scores")["certificate"]["per_name"]
    assert (missed["name"], missed["kind"], missed["share"]) == ("yes", "missed", 0.05)
    assert missed["upper_bound"] <= 0.05


def test_of_many_labels_something_exits_and_the_bound_holds(tmp_path: Path):
    names = [f"intent {number}" for number in range(150)]
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
    assert f"saved compute {found:.2f}x (real lengths" in out


def test_what_cannot_be_promised_is_full_depth(
    command: CommandLine, score: Callable[..., Any], tmp_path: Path
):
    out = command(*score("--max-disagreement", 0.0001, "--promise", "population"))
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
        (["--target-speedup", 2, "--promise", "corpus"], "--promise goes with --max-disagreement"),
        (["--speed", 0.5, "--confidence", 0.9], "--confidence goes with --max-disagreement or"),
        (["--speed", 0.5, "--calibration", "x"], "--calibration goes with --max-disagreement or"),
        (["--max-disagreement", 0], "--max-disagreement 0 is not a share above 0 and below 1, as 0.01 for"),
        (["--max-disagreement", 1], "--max-disagreement 1 is not a share above 0 and below 1"),
        (["--max-disagreement", 0.1, "--confidence", 95], "--confidence 95 is not at least 0.5 and below 1"),
        (["--max-disagreement", 0.1, "--max-missed", "yes"], "--max-missed 'yes' is not LABEL=SHARE, as"),
        (["--max-disagreement", 0.1, "--max-missed", "yes=a"], "--max-missed 'yes=a' is not LABEL=SHARE"),
        (["--max-disagreement", 0.1, "--max-missed", "si=0.1"], "--max-missed si: nothing is called so"),
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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("calibration.json", b"{", "calibration.json' is damaged: "),
        ("calibration.json", b"{}", "of an older version of the data contract, and this is version 7"),
        (
            "calibration.json",
            b'{"schema_version": 7}',
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


def test_the_texts_are_counted_for_the_plan_and_not_for_its_parts(
    command: CommandLine, score: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    words = (*score("--max-disagreement", 0.05), "--rows-per-shard", 300)
    command(*words, "--plan-only")

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the texts are counted again")

    monkeypatch.setattr("pipeline.results.corpus_promise.corpus_size", fail)
    command(*words, "--items", "0:")
    command(*words, "--finish")
    monkeypatch.undo()
    command(*score("--max-disagreement", 0.05, output="whole"), "--rows-per-shard", 300)
    name = "_MANIFEST.json"
    assert (tmp_path / "scores" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_files_of_two_calibrations_do_not_go_together(
    command: CommandLine, score: Callable[..., Any], calibrated: Path, labels: Path, tmp_path: Path
):
    command(*calibrate(calibrated, labels, "--rows", 150, "--output", tmp_path / "few"))
    copy = shutil.copytree(calibrated, tmp_path / "copy")
    shutil.copy(tmp_path / "few" / "calibration.parquet", copy)
    line = command.refused(*score("--max-disagreement", 0.05, model=copy))
    assert line.startswith(f"calibration.json and calibration.parquet in '{copy}' do not belong together")


def test_a_temperature_is_for_the_uncertainty_alone(calibrated: Path):
    model = FastBertForSequenceClassification.from_pretrained(calibrated)
    texts = tokenize(model.tokenizer, TEXTS[:300], max_length=MAX_LENGTH)
    engine = model.engine(resolve_execution(Precision.FP32, device="cpu"))
    policy = ExitPolicy.from_exit_layer(1, num_layers=NUM_LAYERS)
    plain = predict_tokenized(engine, texts, policy)
    warm = predict_tokenized(engine, texts, replace(policy, scalings=(Scaling.by(2.5), UNSCALED)))
    np.testing.assert_array_equal(warm.logits, plain.logits)
    assert warm.label_ids.tolist() == plain.label_ids.tolist()
    np.testing.assert_allclose(
        warm.uncertainty, normalised_entropy(torch.from_numpy(plain.logits / 2.5)), atol=1e-6
    )
    assert set(warm.predictions) <= set(LABELS)
