"""What a configuration refuses, whichever way it is made."""

import subprocess
import sys
from typing import Any

import pytest

from jobs.configs.calibrate import CalibrateConfig
from jobs.configs.distill import DistillConfig
from jobs.configs.label_teacher import LabelTeacherConfig
from jobs.configs.runner import RunnerConfig
from jobs.configs.score import ScoreConfig, parse_share
from model.errors import ParameterError

SCORE = {"input": ("a.tsv",), "text_column": "text", "model": "m", "output": "o", "speed": 0.0}
LABEL = {"input": ("a.tsv",), "text_column": "text", "teacher": "t", "output": "o"}
DISTILL = {"labels": ("l",), "backbone": "b", "output": "o"}
CALIBRATE = {"model": "m", "labels": ("l",)}


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (ScoreConfig, {**SCORE, "speed": None}, "give exactly one of `max_disagreement`, `target_speedup`"),
        (ScoreConfig, {**SCORE, "target_speedup": 2.0}, "give exactly one of "),
        (ScoreConfig, {**SCORE, "max_missed": ("a=0.1",)}, "`max_missed` goes with `max_disagreement`"),
        (ScoreConfig, {**SCORE, "confidence": 0.9}, "`confidence` goes with `max_disagreement` or"),
        (ScoreConfig, {**SCORE, "calibration": "c"}, "`calibration` goes with `max_disagreement` or"),
        (ScoreConfig, {**SCORE, "shadow_fraction": 2}, "`shadow_fraction` 2 is not a share, 0 to 1"),
        (ScoreConfig, {**SCORE, "max_rejected": -1}, "`max_rejected` -1 is not a share, 0 to 1"),
        (LabelTeacherConfig, {**LABEL, "calibration_fraction": 2}, "`calibration_fraction` 2 is not a share"),
        (LabelTeacherConfig, {**LABEL, "max_rejected": 2}, "`max_rejected` 2 is not a share"),
        (DistillConfig, {**DISTILL, "hard_label_weight": -1.0}, "`hard_label_weight` -1.0 is not 0 or above"),
        (DistillConfig, {**DISTILL, "resume": True, "overwrite": True}, "`resume` and `overwrite` exclude"),
        (CalibrateConfig, {**CALIBRATE, "rows": 99}, "`rows` 99 is not at least 100"),
        (CalibrateConfig, {**CALIBRATE, "confidence": 95}, "`confidence` 95 is not at least 0.5"),
        (RunnerConfig, {"workers": 0}, "`workers` 0 is not at least 1"),
        (RunnerConfig, {"threads": 0}, "`threads` 0 is not at least 1"),
        (RunnerConfig, {"workers": 2, "runner": "FlinkRunner"}, "`workers` is for the DirectRunner; tell Fl"),
    ],
)
def test_what_is_refused(kind: type, given: dict[str, Any], message: str):
    with pytest.raises(ParameterError) as error:
        kind(**given)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("text", ["spam", "=0.1", "spam=", "spam=much"])
def test_a_share_of_a_label_is_label_equals_share(text: str):
    with pytest.raises(ParameterError, match=r"is not LABEL=SHARE, as spam=0\.01"):
        parse_share("max_missed", text)


def test_a_label_may_hold_an_equals_sign():
    certified = {"speed": None, "max_disagreement": 0.1, "max_missed": ("a=b=0.1",)}
    config = ScoreConfig(**{**SCORE, **certified})
    assert config.max_missed_shares == {"a=b": 0.1}


def test_a_label_has_one_share():
    certified = {"speed": None, "max_disagreement": 0.1, "max_missed": ("a=0.01", "b=0.1", "a=0.9")}
    with pytest.raises(ParameterError, match="`max_missed` names 'a' twice; give one share per label"):
        _ = ScoreConfig(**{**SCORE, **certified}).max_missed_shares


def test_configurations_are_light():
    heavy = "torch", "transformers", "apache_beam", "pyarrow", "pandas", "numpy", "matplotlib"
    code = (
        "import sys, pkgutil, importlib, jobs.configs as room\n"
        "for each in pkgutil.iter_modules(room.__path__):\n"
        "    importlib.import_module(f'jobs.configs.{each.name}')\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
