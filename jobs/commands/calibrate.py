"""`fastbert-jobs calibrate`: soft labels to temperatures, thresholds, and what each target gives."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.configs.calibrate import CalibrateConfig
from jobs.driver.compatibility import check_labels_match_model, check_same_length
from jobs.driver.distill_metrics import describe_training, known_metrics
from jobs.report.calibration_limits import describe_limits
from jobs.report.calibration_page import CALIBRATION_PAGE_FILE, calibration_page
from jobs.report.page import write_page
from jobs.terminal.console import print_next_step, print_settings, progress_bar, stdout_console, table
from model.answers.rule import AnswerRule, answer_rule, check_decidable
from model.checkpoints.hub import CALIBRATION_FILE, CALIBRATION_ROWS_FILE
from model.checks import MIN_CALIBRATION_ROWS
from model.cost.latency import RunCost
from model.engine.elsewhere import execution_elsewhere
from model.engine.execution import Device, Execution, Precision, execution_here
from model.errors import InputError, ParameterError
from model.exits.policy import CalibratedFor
from model.fastbert import FastBertForSequenceClassification
from model.guarantee.calibrate import calibrate
from model.guarantee.calibration_split import search_rows
from model.guarantee.exit_calibration import ExitCalibration
from model.guarantee.unit import Unit
from model.messages import format_ratio, format_share
from pipeline.contract import schema
from pipeline.contract.result_files import check_holds_no_job
from pipeline.contract.storage import check_output_directory, is_local
from pipeline.reading.remote_checkpoints import find_checkpoint
from pipeline.results.calibration import Calibration, known_cost
from pipeline.results.calibration_report import CalibrationReport
from pipeline.results.calibration_table import float_array
from pipeline.results.calibration_texts import CalibrationTexts, calibration_texts
from pipeline.results.near_copies import NearCopies, near_copies
from pipeline.results.soft_labels import SoftLabels
from pipeline.sampling.training_hashes import read_branch_texts, read_teacher_texts


def run(config: CalibrateConfig) -> Calibration:
    """Calibrate a FastBERT.

    Raises:
        FastBertJobsError: a mistake that the user can cure; nothing is written then.
    """
    if config.output is None and is_local(config.model) and not Path(config.model).is_dir():
        raise ParameterError(f"{config.model!r} is no local directory; give its calibration an `output`")
    # Before the work, which takes long.
    check_output_directory(config.output or config.model)
    check_holds_no_job(config.output or config.model)
    directory = find_checkpoint(config.model)
    labels = SoftLabels.open(config.labels)
    model = FastBertForSequenceClassification.from_pretrained(directory)
    check_labels_match_model(model, config.model, labels)
    check_same_length(model, config.model, labels)
    rule = answer_rule(model.task, model.labels, decide=config.decide, tolerance=config.tolerance)
    check_decidable(rule)
    trained = known_metrics(directory)
    if trained is not None and trained.held_out_share is not None:
        labels = labels.holding_out(trained.held_out_share)
    texts = calibration_texts(labels, config.rows)
    training = _check_rows(config, directory, labels, texts)
    with stdout_console().status("looking for near copies"):
        learnt = labels if trained is None else labels.only(trained.labels_learnt_from)
        copies = near_copies(texts.calibration_rows, learnt)
    execution = execution_here(Precision(config.precision), Device(config.device))
    decided = {
        "model": f"{config.model}, {model.num_layers} layers, {model.task.describe(len(model.labels))}",
        "compares": str(rule),
        "labels": _describe_labels(labels, texts),
        "rows": _describe_rows(texts.is_held_out, labels.unit),
        "training": training,
        "near copies": copies.describe(),
        "runs on": execution_elsewhere(model.backbone, execution).summary(),
    }
    print_settings(stdout_console(), decided)
    output = config.output or config.model
    earlier_cost = cache(partial(known_cost, output))
    exits = _calibrate(model, texts, rule, labels.unit, execution, earlier_cost)
    is_cost_known = earlier_cost(exits.calibrated_for) is not None
    calibration = Calibration.of(
        exits,
        sources=texts.rows[schema.SOURCE].to_pylist(),
        row_numbers=texts.rows[schema.ROW].to_numpy(),
        confidence=config.confidence,
        near_copies=copies,
    )
    calibration.save(output)
    limits = describe_limits(calibration.report, describe_training(directory))
    warnings = _warnings(copies)
    seen = calibration_page(
        calibration, model=config.model, decided=decided, limits=limits, warnings=warnings
    )
    page = write_page(output, CALIBRATION_PAGE_FILE, seen)
    _show(calibration.report, is_cost_known=is_cost_known)
    for warning in warnings:
        stdout_console().print(warning, style="bold red", soft_wrap=True)
    if limits:
        stdout_console().print(limits, soft_wrap=True)
    _say_what_is_next(config, output, page)
    return calibration


def _warnings(copies: NearCopies) -> list[str]:
    """Return what is to be seen before any number."""
    if not copies.are_many:
        return []
    return [
        f"{copies.num_near / copies.num_told:.0%} of the texts are near copies of texts to train on: "
        "promises are of texts with as many of them, and of others more may disagree; where a column "
        "tells what belongs together, label with --group-column"
    ]


def _describe_labels(labels: SoftLabels, texts: CalibrationTexts) -> str:
    told = f"{labels.name}, {labels.num_calibration_rows:,} rows for calibration"
    if labels.unit is not Unit.ROWS:
        told += f", {texts.num_in_split:,} {labels.unit.counted}"
    if labels.unit is Unit.GROUPS and texts.on_both_sides:
        told += f"; {len(texts.on_both_sides):,} texts that groups of both splits hold calibrate nothing"
    return told


def _describe_rows(is_held_out: npt.NDArray[np.bool_], unit: Unit) -> str:
    is_search = search_rows(is_held_out)
    return (
        f"{(~is_held_out).sum():,} of these {unit}, and {is_held_out.sum():,} that training held out: "
        f"{is_search.sum():,} to find thresholds with, {(~is_search).sum():,} to test them"
    )


def _calibrate(
    model: FastBertForSequenceClassification,
    texts: CalibrationTexts,
    rule: AnswerRule,
    unit: Unit,
    execution: Execution,
    cost: Callable[[CalibratedFor], RunCost | None],
) -> ExitCalibration:
    """Run all exits over calibration rows, and show how far it is."""
    rows = texts.rows
    has_pairs = schema.TEXT_PAIR in rows.column_names
    with progress_bar(rate="rate") as progress:
        bar = progress.add_task("calibrate", total=len(rows), rate="")
        return calibrate(
            model,
            rows[schema.TEXT].to_pylist(),
            _teacher_logits(rows),
            text_pairs=rows[schema.TEXT_PAIR].to_pylist() if has_pairs else None,
            is_held_out=texts.is_held_out.tolist(),
            rule=rule,
            unit=unit,
            execution=execution,
            known_cost=cost,
            on_rows=lambda done: progress.update(bar, completed=done),
        )


def _teacher_logits(rows: pa.Table) -> npt.NDArray[np.float32]:
    """Return (rows, num_labels) float32."""
    logits = float_array(rows[schema.TEACHER_LOGITS])
    return logits.reshape(len(rows), -1)


def _check_rows(config: CalibrateConfig, directory: Path, labels: SoftLabels, texts: CalibrationTexts) -> str:
    """Refuse too few rows, and rows that training has seen; say in a line what could be told of that."""
    rows = texts.calibration_rows
    if len(rows) < MIN_CALIBRATION_ROWS:
        raise InputError(
            f"{labels.name!r} holds {len(rows)} {labels.unit.counted} for calibration, and at least "
            f"{MIN_CALIBRATION_ROWS} are needed (1 % at 95 % takes 299 to test); label more, or with a "
            "larger `calibration_fraction`"
        )
    hashes = rows[schema.TEXT_HASH].to_pylist()
    branch_texts, teacher_texts = read_branch_texts(directory), read_teacher_texts(directory)
    # A row may repeat a text that other rows of these very labels teach, as rows to score may.
    refused = {
        "branches": None if branch_texts is None else branch_texts - texts.on_both_sides,
        "full model": teacher_texts,
    }
    told = []
    for learner, learnt in refused.items():
        seen = [row for row, text_hash in enumerate(hashes) if text_hash in (learnt or ())]
        if seen:
            source, row = rows[schema.SOURCE][seen[0]].as_py(), rows[schema.ROW][seen[0]].as_py()
            raise InputError(
                f"{labels.name!r} holds for calibration what the {learner} of {config.model!r} learnt from, "
                f"{len(seen):,} of {len(rows):,} {labels.unit}, such as row {row} of {source!r}; calibrate "
                "with the soft labels that it was distilled from, or label other texts"
            )
        told.append(
            f"the {learner} saw none of them" if learnt is not None else _describe_unknown(learner, labels)
        )
    if labels.unit is Unit.ROWS and branch_texts is not None:
        repeated = sum(text_hash in texts.on_both_sides for text_hash in hashes)
        told[0] = f"{repeated:,} of them repeat texts of the train split, as rows of a corpus do"
    return "; ".join(told)


def _describe_unknown(learner: str, labels: SoftLabels) -> str:
    """Return what may be said of rows where the model does not tell what it learnt from."""
    # Named when these were labelled, by --teacher-training-input.
    if learner == "full model" and all(manifest.settings.teacher_texts for _, manifest in labels.outputs):
        return "none of them is among the texts that the full model is known to have learnt from"
    return f"what the {learner} learnt from is not known"


def _show(report: CalibrationReport, *, is_cost_known: bool) -> None:
    console = stdout_console()
    exits = [
        (
            each.exit_layer,
            f"{each.agreement:.2%}",
            str(each.scaling),
            f"{each.ece_before:.2%}",
            f"{each.ece_after:.2%}",
        )
        # The last layer is the one that the others are held against.
        for each in report.exits[:-1]
    ]
    reliability = ("exit layer", "agreement", "temperature", "ECE before", "after")
    console.print(table(f"exits on {report.targets[0].num_rows:,} test rows", reliability, exits))
    cost = report.cost
    console.print(
        f"a branch takes {cost.branch_seconds / cost.layer_seconds:.1%} of a layer's time, "
        f"{cost.branch_flops / cost.layer_flops:.1%} of its FLOPs"
        + (", as an earlier calibration measured" if is_cost_known else "")
    )
    targets = [
        (
            format_share(each.max_disagreement),
            format_ratio(each.saved_compute) if each.is_certified else "full depth",
            f"{each.num_disagreements:,}",
        )
        for each in report.targets
    ]
    title = f"--max-disagreement at {format_share(report.confidence, 0)} confidence, {report.unit.promised}"
    columns = ("at most", "saved compute", "test rows that disagree")
    console.print(table(title, columns, targets))
    console.print(
        f"each promise holds by itself at {format_share(report.confidence, 0)}, not all of them together; "
        "distilling or calibrating again until one passes spends the confidence",
        soft_wrap=True,
    )
    speeds = [(f"{asked:g}x", format_ratio(found)) for asked, found in report.speed_curve]
    console.print(table("--target-speedup", ("asked", "on test rows"), speeds))


def _say_what_is_next(config: CalibrateConfig, output: str, page: str) -> None:
    console = stdout_console()
    written = f"{output}/{CALIBRATION_FILE} and {CALIBRATION_ROWS_FILE}"
    console.print(f"wrote {written}, to look at: {page}", soft_wrap=True)
    elsewhere = ("--calibration", config.output) if config.output else ()
    print_next_step(
        console, "score", "--input", "CORPUS", "--text-column", "text", "--model", config.model,
        "--output", "scores", "--max-disagreement", 0.01, *elsewhere,
    )  # fmt: skip
