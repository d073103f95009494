"""Beam, Arrow and the data contract: what is read, what is written, and how the work is cut.

What is named here is the public interface, imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.results.calibration import Calibration
    from pipeline.results.corpus_promise import CorpusPromise
    from pipeline.transforms.labelling import LabelWithTeacher
    from pipeline.transforms.model_handler import FastBertModelHandler
    from pipeline.transforms.scoring import ScoreWithEarlyExit

_MODULES = {
    "Calibration": "pipeline.results.calibration",
    "CorpusPromise": "pipeline.results.corpus_promise",
    "FastBertModelHandler": "pipeline.transforms.model_handler",
    "LabelWithTeacher": "pipeline.transforms.labelling",
    "ScoreWithEarlyExit": "pipeline.transforms.scoring",
}

__all__ = ["Calibration", "CorpusPromise", "FastBertModelHandler", "LabelWithTeacher", "ScoreWithEarlyExit"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
