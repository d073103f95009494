"""From a FastBERT, texts that it never saw and the teacher's answers to them: its exits, calibrated."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from model.answers.answer import answer_of
from model.answers.rule import AnswerRule, check_decidable
from model.checks import MIN_CALIBRATION_ROWS
from model.cost.flops import FlopsModel
from model.cost.latency import RunCost, measure_cost
from model.cost.network_flops import fastbert_flops
from model.engine.engine import Engine
from model.engine.execution import Execution, check_finite, resolve_execution
from model.errors import CheckpointError, InputError
from model.exits.binding import running_as
from model.exits.exit_logits import all_exit_logits
from model.exits.policy import CalibratedFor
from model.fastbert import FastBertForSequenceClassification
from model.guarantee.calibration_split import search_rows
from model.guarantee.exit_calibration import ExitCalibration
from model.guarantee.temperature_scaling import fit_exits
from model.guarantee.unit import Unit
from model.tokens.tokenization import TokenizedTexts, tokenize

_ROWS_PER_STEP = 2048
_COST_TOKENS = 1 << 15
# Rounding in 16 bits moves logits by some hundredths of their spread, another fine-tuning by some tenths.
_MAX_RELATIVE_LOGIT_ERROR = 0.15
# Of texts that are all answered alike rounding is all the spread there is: it goes by the logits' size.
_MAX_ROUNDING = 0.002


def _ignore(num_rows: int) -> None:
    """Tell nobody how many rows are done."""


def _not_known(engine: CalibratedFor) -> None:
    """Let costs be measured."""


def calibrate(
    model: FastBertForSequenceClassification,
    texts: Sequence[str],
    teacher_logits: npt.NDArray[np.float32],
    *,
    text_pairs: Sequence[str] | None = None,
    is_held_out: Sequence[bool] | None = None,
    rule: AnswerRule | None = None,
    unit: Unit = Unit.TEXTS,
    execution: Execution | None = None,
    known_cost: Callable[[CalibratedFor], RunCost | None] = _not_known,
    on_rows: Callable[[int], None] = _ignore,
) -> ExitCalibration:
    """Run all exits over texts that training never saw, and fit a scaling for each.

    Args:
        model: the FastBERT.
        texts: exchangeable with the texts to score, in an order that says nothing of them, such as that of
            their hashes.
        teacher_logits: (rows, num_labels) of the model's own backbone at full depth.
        text_pairs: the second text of each pair, for a model of pairs.
        is_held_out: (rows,) texts for the search alone, by which training may have judged the branches; None
            where there are none.
        rule: which answers are the same; None for labels, or sets of labels, themselves.
        unit: what there is one text each of. Where it is the text itself, texts have to be distinct.
        execution: what to run on; what is found holds for it alone. None for this machine's default.
        known_cost: returns what the exits of an engine cost where it was measured before, and None
            elsewhere. Thresholds depend on it, and a clock does not tell the same twice.
        on_rows: told how many rows are done.

    Raises:
        InputError: if the texts that may test are too few, a text is there twice, or the logits or flags are
            not as many.
        ParameterError: if the answer is a score, and nobody says when two of them are the same.
        CheckpointError: if an answer is not finite, or `teacher_logits` are another model's.
    """
    held_out = np.array([False] * len(texts) if is_held_out is None else is_held_out, dtype=np.bool_)
    _check_rows(texts, teacher_logits, held_out, num_labels=len(model.labels))
    if unit is Unit.TEXTS:
        _check_distinct(texts, text_pairs)
    rule = rule or AnswerRule(task=model.task)
    check_decidable(rule)
    engine = model.engine(execution or resolve_execution())
    max_length = model.config.max_length
    tokenized = tokenize(model.tokenizer, texts, text_pairs, max_length=max_length)
    logits = _run_all_exits(engine, tokenized, on_rows)
    check_same_model(logits[:, -1, : len(model.labels)], teacher_logits, rule, model.labels)
    is_search = search_rows(held_out)
    scalings, uncertainty = fit_exits(
        logits, teacher_logits, answer_of(rule, model.labels), is_search=is_search
    )
    flops = fastbert_flops(model.config)
    calibrated_for = running_as(engine, max_length)
    return ExitCalibration(
        labels=model.labels,
        is_held_out=held_out,
        num_tokens=tokenized.lengths,
        num_unknown=tokenized.count(model.tokenizer.unk_token_id),
        teacher_logits=teacher_logits,
        logits=logits,
        rule=rule,
        scalings=scalings,
        uncertainty=uncertainty,
        flops=flops,
        cost=known_cost(calibrated_for) or _measure_cost(engine, tokenized, is_search, flops),
        calibrated_for=calibrated_for,
        unit=unit,
    )


def _measure_cost(
    engine: Engine, texts: TokenizedTexts, is_search: npt.NDArray[np.bool_], flops: FlopsModel
) -> RunCost:
    """Measure on the search rows alone: thresholds depend on the cost, and not on rows that test them."""
    searching = texts.take(np.flatnonzero(is_search))
    step = max(1, len(searching.input_ids) // _COST_TOKENS)
    return measure_cost(engine, searching.take(np.arange(0, len(searching), step)), flops)


def _check_rows(
    texts: Sequence[str],
    teacher_logits: npt.NDArray[np.float32],
    is_held_out: npt.NDArray[np.bool_],
    *,
    num_labels: int,
) -> None:
    """Refuse what no bound can be had from."""
    if is_held_out.shape != (len(texts),):
        raise InputError(f"`is_held_out` has {len(is_held_out)} flags for {len(texts)} texts")
    num_unseen = int((~is_held_out).sum())
    if num_unseen < MIN_CALIBRATION_ROWS:
        raise InputError(f"{num_unseen} texts are too few to calibrate with; give {MIN_CALIBRATION_ROWS}")
    if teacher_logits.shape != (len(texts), num_labels):
        raise InputError(
            f"`teacher_logits` is of shape {teacher_logits.shape}, and {len(texts)} texts of {num_labels} "
            f"labels need {(len(texts), num_labels)}"
        )


def _check_distinct(texts: Sequence[str], text_pairs: Sequence[str] | None) -> None:
    # A text that is there twice may be searched and tested with, and counts twice.
    if len(set(texts if text_pairs is None else zip(texts, text_pairs, strict=True))) < len(texts):
        raise InputError("a text is there twice among those to calibrate with; give each one once")


def _run_all_exits(
    engine: Engine, texts: TokenizedTexts, on_rows: Callable[[int], None]
) -> npt.NDArray[np.float32]:
    """Return (rows, num_exits, num_outputs) float32."""
    logits = np.empty((len(texts), len(engine.exits), engine.num_outputs), dtype=np.float32)
    for first in range(0, len(texts), _ROWS_PER_STEP):
        rows = np.arange(first, min(first + _ROWS_PER_STEP, len(texts)))
        logits[rows] = all_exit_logits(engine, texts.take(rows))
        on_rows(int(rows[-1]) + 1)
    check_finite(logits.reshape(len(texts), -1))
    return logits


def check_same_model(
    full_depth: npt.NDArray[np.float32],
    teacher_logits: npt.NDArray[np.float32],
    rule: AnswerRule,
    labels: Sequence[str],
) -> None:
    """Refuse soft labels that are not what the model's own last layer answers.

    Args:
        full_depth: (rows, num_labels) of the model.
        teacher_logits: (rows, num_labels) of the soft labels.
        rule: which answers are the same.
        labels: of the model.

    Raises:
        CheckpointError: if they are further apart than another number format explains.
    """
    check_finite(teacher_logits)
    spread = float(np.sqrt(np.mean((teacher_logits - teacher_logits.mean(axis=0)) ** 2)))
    apart = float(np.sqrt(np.mean((full_depth - teacher_logits) ** 2)))
    size = float(np.sqrt(np.mean(teacher_logits**2)))
    if apart > max(_MAX_RELATIVE_LOGIT_ERROR * spread, _MAX_ROUNDING * size):
        answer = answer_of(rule, labels)
        differs = answer.differs(torch.from_numpy(full_depth), torch.from_numpy(teacher_logits))
        disagreement = float(differs.float().mean())
        raise CheckpointError(
            "`teacher_logits` are another model's answers: at full depth this one gives other logits, and "
            f"another answer to {disagreement:.1%} of the texts; label with the model's own backbone"
        )
