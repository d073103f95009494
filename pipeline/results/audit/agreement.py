"""How often the job answered as the full model does, among which texts: the shadow sample taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.guarantee.histogram import bins_of, quantile_edges
from pipeline.results.audit.share import Share
from pipeline.results.shadow_texts import ShadowRows

_LENGTH_BINS = 5
_UNCERTAINTY_EDGES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some of the shadow sample's texts.

    Attributes:
        name: which, as "3", "spam" or "12 to 20 tokens".
        agreement: of them with full depth.
    """

    name: str
    agreement: Share


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement with full depth on the shadow sample, each of its units counted once.

    Attributes:
        overall: of all its texts.
        by_exit: of those that left at each exit.
        by_answer: of those that full depth calls something.
        by_length: of those of so many tokens, about a fifth each.
        by_uncertainty: of those that left so unsure.
    """

    overall: Share
    by_exit: tuple[Part, ...]
    by_answer: tuple[Part, ...]
    by_length: tuple[Part, ...]
    by_uncertainty: tuple[Part, ...]


def agreement_of(rows: ShadowRows, names: Sequence[str]) -> Agreement:
    """Take the shadow sample apart.

    Args:
        rows: one text of each unit.
        names: what a text may be called.
    """
    agrees = ~rows.disagrees
    edges = quantile_edges(rows.num_tokens, _LENGTH_BINS)
    lengths = bins_of(rows.num_tokens, edges)
    uncertainty = bins_of(rows.uncertainty, _UNCERTAINTY_EDGES)
    by_answer = [
        Part(
            name=name,
            agreement=Share.of(
                int((rows.by_teacher[:, place] & ~rows.missed[:, place]).sum()),
                int(rows.by_teacher[:, place].sum()),
            ),
        )
        for place, name in enumerate(names)
    ]
    return Agreement(
        overall=Share.of(int(agrees.sum()), len(rows)),
        by_exit=tuple(
            _part(str(exit_layer), agrees, rows.exit_layer == exit_layer)
            for exit_layer in np.unique(rows.exit_layer).tolist()
        ),
        by_answer=tuple(part for part in by_answer if part.agreement.whole),
        by_length=tuple(
            _part(_length_name(place, edges, rows.num_tokens), agrees, lengths == place)
            for place in np.unique(lengths).tolist()
        ),
        by_uncertainty=tuple(
            _part(_uncertainty_name(place), agrees, uncertainty == place)
            for place in np.unique(uncertainty).tolist()
        ),
    )


def _part(name: str, agrees: npt.NDArray[np.bool_], which: npt.NDArray[np.bool_]) -> Part:
    return Part(name=name, agreement=Share.of(int(agrees[which].sum()), int(which.sum())))


def _length_name(place: int, edges: Sequence[float], num_tokens: npt.NDArray[np.int64]) -> str:
    first = int(edges[place - 1]) if place else int(num_tokens.min())
    last = int(edges[place]) - 1 if place < len(edges) else int(num_tokens.max())
    return f"{first} tokens" if first == last else f"{first} to {last} tokens"


def _uncertainty_name(place: int) -> str:
    edges = (0.0, *_UNCERTAINTY_EDGES, 1.0)
    return f"{edges[place]:g} to {edges[place + 1]:g}"
