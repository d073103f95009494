"""Rows whose exits behave in known ways, for what is to hold whatever a model does."""

from dataclasses import replace

import numpy as np
from transformers import BertConfig

from model.answers.rule import AnswerRule
from model.answers.scaling import Scaling
from model.answers.task import Task
from model.cost.latency import RunCost
from model.cost.network_flops import flops_model
from model.exits.policy import CalibratedFor
from model.guarantee.exit_calibration import ExitCalibration
from model.guarantee.exit_outcomes import Calls, ExitOutcomes
from model.network.branches.paper import PaperBranch
from model.network.part_flops import BranchFlops
from model.version import NUMERICS_VERSION

LAYERS = 4
NUM_LABELS = 4


def population(kind, num_rows=20_000, seed=0):
    """Return rows of which a draw is a corpus."""
    rng = np.random.default_rng(seed)
    teacher = rng.choice(NUM_LABELS, size=num_rows, p=[0.5, 0.3, 0.17, 0.03])
    difficulty = rng.random(num_rows)[:, None]
    depth = np.arange(1, LAYERS) / LAYERS
    noise = rng.random((num_rows, LAYERS - 1))
    disagrees, uncertainty = {
        # The harder the row and the earlier the exit, the likelier a wrong answer; exits know about it.
        "sensible": lambda: (noise < difficulty**2 * (1 - depth), 0.8 * difficulty + 0.2 * noise),
        # One answer in eight is wrong, and all are given as certain.
        "overconfident": lambda: (noise < 0.125, 0.01 * rng.random(noise.shape)),
        # Uncertainty says nothing.
        "useless": lambda: (noise < 0.5, rng.random(noise.shape)),
        "perfect": lambda: (np.zeros_like(noise, dtype=bool), rng.random(noise.shape)),
        "never agree": lambda: (np.ones_like(noise, dtype=bool), rng.random(noise.shape)),
    }[kind]()
    tokens = rng.integers(4, 60, size=num_rows)
    return ExitOutcomes(
        uncertainty=uncertainty.astype(np.float32),
        disagrees=np.concatenate([disagrees, np.zeros((num_rows, 1), dtype=bool)], axis=1),
        exit_cost=tokens[:, None] * np.arange(1.0, LAYERS + 1),
        branch_cost=np.tile(0.07 * tokens[:, None], LAYERS - 1),
        calls=label_calls(teacher, disagrees),
    )


def label_calls(teacher, disagrees):
    """Return which rows are called by each label; who disagrees gives the next one."""
    own = np.concatenate([disagrees, np.zeros((len(teacher), 1), dtype=bool)], axis=1)
    answers = np.where(own, (teacher[:, None] + 1) % NUM_LABELS, teacher[:, None])
    return {
        label: Calls(by_exit=answers == label, by_teacher=teacher == label) for label in range(NUM_LABELS)
    }


KINDS = ("sensible", "overconfident", "useless", "perfect", "never agree")

CALIBRATED_FOR = CalibratedFor(
    model_hash="abc",
    numerics_version=NUMERICS_VERSION,
    device="cpu",
    precision="fp32",
    backend="onednn",
    max_length=40,
)
LABELS = ("ham", "spam", "other")


def exit_calibration(num_rows=6000, seed=0, *, lexical=False, held_out=0.0):
    """Return what a model gives whose exits get better from layer to layer and know what they do not know.

    With a lexical branch it has one more exit before the first layer, worse than that. The rows of a share
    `held_out` of all are known to training.
    """
    rng = np.random.default_rng(seed)
    teacher = rng.choice(3, size=num_rows, p=[0.6, 0.1, 0.3])
    exits = np.arange(0 if lexical else 1, LAYERS + 1)
    depth = np.maximum(exits, 0.5)[:, None] * 2.0
    logits = rng.normal(0, 1, (num_rows, len(exits), 3)) + np.eye(3)[teacher][:, None] * depth
    logits[:, -1] = np.eye(3)[teacher] * 9
    logits = logits.astype(np.float32)
    odds = np.exp(logits)
    shares = odds / odds.sum(axis=2, keepdims=True)
    flops = flops_model(
        BertConfig(hidden_size=32, num_hidden_layers=LAYERS, num_attention_heads=2, intermediate_size=64),
        PaperBranch(hidden_size=32, width=8, num_heads=2, num_outputs=3),
    )
    return ExitCalibration(
        labels=LABELS,
        is_held_out=np.random.default_rng(seed).random(num_rows) < held_out,
        num_tokens=rng.integers(3, 40, num_rows),
        num_unknown=np.zeros(num_rows, dtype=np.int64),
        teacher_logits=(np.eye(3)[teacher] * 9).astype(np.float32),
        logits=logits,
        rule=AnswerRule(task=Task.ONE_LABEL),
        uncertainty=(-(shares * np.log(shares)).sum(axis=2) / np.log(3)).astype(np.float32),
        scalings=tuple(map(Scaling.by, (*([2.0] if lexical else []), 1.5, 1.0, 0.9))),
        flops=replace(flops, lexical=BranchFlops(per_token=9, per_text=5) if lexical else None),
        cost=RunCost(
            layer_seconds=1.0,
            branch_seconds=0.1,
            layer_flops=100.0,
            branch_flops=10.0,
            lexical_seconds=0.04,
            lexical_flops=0.5,
        ),
        calibrated_for=CALIBRATED_FOR,
    )
