"""Texts of which everything is known: what every exit answers, and what full depth does.

40,000 distinct texts each, lengths and difficulties with heavy tails, labels by Zipf's law. Six exits: one
before the first of five layers, as a lexical branch is, good where a text is easy; four branches; full depth.
Most populations are made to break a promise, if it can be broken.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from transformers import BertConfig

from model.answers.answer import OneLabel
from model.answers.rule import AnswerRule
from model.answers.task import Task
from model.cost.latency import RunCost
from model.cost.network_flops import flops_model
from model.exits.policy import CalibratedFor
from model.guarantee.calibration_split import search_rows
from model.guarantee.exit_calibration import ExitCalibration
from model.guarantee.temperature_scaling import fit_exits
from model.network.part_flops import BranchFlops
from model.version import NUMERICS_VERSION

NUM_TEXTS = 40_000
NUM_LAYERS = 5
# Of the layers' branches and of the exit before them: how far the right logit is above noise of scale 1.
_MARGINS = np.array([2.6, 2.2, 3.0, 4.2, 6.0])
_FLOPS = replace(
    flops_model(BertConfig(num_hidden_layers=NUM_LAYERS)), lexical=BranchFlops(per_token=2_000, per_text=0)
)
_COST = RunCost(
    layer_seconds=1.0,
    branch_seconds=0.05,
    layer_flops=100.0,
    branch_flops=2.5,
    lexical_seconds=0.004,
    lexical_flops=0.014,
)
_CALIBRATED_FOR = CalibratedFor(
    model_hash="made up",
    numerics_version=NUMERICS_VERSION,
    device="cpu",
    precision="fp32",
    backend="onednn",
    max_length=512,
)


# From a number of labels and the share that is promised.
MakePopulation = Callable[[int, float], "Texts"]


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Distinct texts and their answers.

    Attributes:
        num_tokens: (texts,) int64.
        teacher_labels: (texts,) int64.
        logits: (texts, exits, labels) float32.
        copies: (texts,) rows that each text stands in.
    """

    num_tokens: np.ndarray
    teacher_labels: np.ndarray
    logits: np.ndarray
    copies: np.ndarray

    def __len__(self) -> int:
        return len(self.num_tokens)

    def take(self, rows: np.ndarray) -> "Texts":
        return Texts(**{name: value[rows] for name, value in vars(self).items()})

    def calibrate(self) -> ExitCalibration:
        """Return what `calibrate` makes of answers: scalings from the search rows, uncertainties."""
        is_held_out = np.zeros(len(self), dtype=np.bool_)
        labels = tuple(f"label {number}" for number in range(self.logits.shape[2]))
        teacher_logits = np.eye(len(labels), dtype=np.float32)[self.teacher_labels]
        scalings, uncertainty = fit_exits(
            self.logits, teacher_logits, OneLabel(labels), is_search=search_rows(is_held_out)
        )
        return ExitCalibration(
            labels=labels,
            is_held_out=is_held_out,
            num_tokens=self.num_tokens,
            num_unknown=np.zeros_like(self.num_tokens),
            teacher_logits=teacher_logits,
            logits=self.logits,
            rule=AnswerRule(task=Task.ONE_LABEL),
            uncertainty=uncertainty,
            scalings=scalings,
            flops=_FLOPS,
            cost=_COST,
            calibrated_for=_CALIBRATED_FOR,
        )


def heavy_tailed(num_labels: int, share: float) -> Texts:
    """Exits that know what they do not know, whatever is promised."""
    return _with_answers(num_labels, _sensible)


def anti_correlated(num_labels: int, share: float) -> Texts:
    """Exits that are wrong somewhat oftener than is allowed, and surer where they are wrong."""

    def logits(rng: np.random.Generator, labels: np.ndarray, difficulty: np.ndarray) -> np.ndarray:
        wrong = rng.random((len(labels), NUM_LAYERS)) < share * np.array([1.8, 1.5, 1.2, 1.05, 0.8])
        surer = np.where(wrong, 3.0, 1.0) * rng.lognormal(0, 0.7, wrong.shape)
        return _one_answer(rng, labels, wrong, surer, num_labels)

    return _with_answers(num_labels, logits)


def just_above(num_labels: int, share: float) -> Texts:
    """Every exit is wrong just above what is allowed, whatever its uncertainty."""

    def logits(rng: np.random.Generator, labels: np.ndarray, difficulty: np.ndarray) -> np.ndarray:
        wrong = rng.random((len(labels), NUM_LAYERS)) < 1.04 * share
        return _one_answer(rng, labels, wrong, rng.lognormal(0.7, 0.7, wrong.shape), num_labels)

    return _with_answers(num_labels, logits)


def tied(num_labels: int, share: float) -> Texts:
    """Exits that know what they do not know, but of few uncertainties, and texts of few lengths."""

    def logits(rng: np.random.Generator, labels: np.ndarray, difficulty: np.ndarray) -> np.ndarray:
        fine = _sensible(rng, labels, difficulty, num_labels=num_labels)
        ordered = np.sort(fine, axis=2)
        surer = np.clip(np.rint((ordered[..., -1] - ordered[..., -2]) / 1.5), 0, 4) + 1
        return np.eye(num_labels)[fine.argmax(axis=2)] * surer[..., None]

    texts = _with_answers(num_labels, logits)
    return replace(texts, num_tokens=4 ** np.rint(np.log(texts.num_tokens) / np.log(4)).astype(np.int64))


def cliff(num_labels: int, share: float) -> Texts:
    """All texts are alike to all exits: all leave, and a hundredth more is wrong than is allowed, or none."""

    def logits(rng: np.random.Generator, labels: np.ndarray, difficulty: np.ndarray) -> np.ndarray:
        wrong = rng.permutation(len(labels)) < np.ceil(1.01 * share * len(labels))
        wrong = np.repeat(wrong[:, None], NUM_LAYERS, axis=1)
        return _one_answer(rng, labels, wrong, np.full(wrong.shape, 2.0), num_labels)

    texts = _with_answers(num_labels, logits)
    return replace(texts, num_tokens=np.full(len(texts), 16))


def _with_answers(num_labels: int, answers: Callable[..., np.ndarray], seed: int = 0) -> Texts:
    rng = np.random.default_rng(seed)
    difficulty = rng.pareto(1.5, NUM_TEXTS)
    num_tokens = np.minimum(4 + 10 * rng.pareto(1.6, NUM_TEXTS) * (1 + difficulty) ** 0.3, 512)
    law = 1 / np.arange(1, num_labels + 1)
    labels = rng.choice(num_labels, size=NUM_TEXTS, p=law / law.sum())
    # Texts that stand in many rows are easier, as greetings are.
    copies = np.minimum(rng.zipf(1.6, NUM_TEXTS), 10_000)
    more = {"num_labels": num_labels} if answers is _sensible else {}
    early = answers(rng, labels, difficulty / copies**0.2, **more)
    last = 9 * np.eye(num_labels)[labels][:, None]
    return Texts(
        num_tokens=num_tokens.astype(np.int64),
        teacher_labels=labels.astype(np.int64),
        logits=np.concatenate([early, last], axis=1).astype(np.float32),
        copies=copies,
    )


def _sensible(
    rng: np.random.Generator, labels: np.ndarray, difficulty: np.ndarray, *, num_labels: int
) -> np.ndarray:
    """(texts, branches, labels): the right logit stands out by less the harder a text is; over-confident."""
    logits = rng.standard_normal((len(labels), NUM_LAYERS, num_labels), dtype=np.float32)
    margins = _MARGINS * (1 + np.log(num_labels) / 4) / (1 + difficulty[:, None]) ** 0.8
    # The first exit is good where a text is easy, and knows nothing elsewhere.
    margins[:, 0] *= 2.0 * (difficulty < 0.4)
    logits[np.arange(len(labels)), :, labels] += margins
    return logits * np.float32(1.7)


def _one_answer(
    rng: np.random.Generator, labels: np.ndarray, wrong: np.ndarray, surer: np.ndarray, num_labels: int
) -> np.ndarray:
    """(texts, branches, labels): one label stands out by `surer`, another than the teacher's if `wrong`."""
    others = (labels[:, None] + rng.integers(1, num_labels, wrong.shape)) % num_labels
    answers = np.where(wrong, others, labels[:, None])
    return np.eye(num_labels, dtype=np.float32)[answers] * surer[..., None].astype(np.float32)
