"""What is seen of a calibration, from its test rows."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from jobs.report.content import Figure, Table
from jobs.report.plots.agreement_bins import NUM_BINS, AgreementBins
from jobs.report.plots.bars import bars
from jobs.report.plots.intervals import Interval, intervals
from jobs.report.plots.lines import Line, lines
from jobs.report.plots.luha import luha
from jobs.report.plots.reliability import reliability
from model.answers.scaling import UNSCALED, Scaling
from model.checks import DEFAULT_CONFIDENCE
from model.guarantee.binomial import interval
from model.guarantee.exit_calibration import ExitCalibration
from pipeline.results.calibration import Calibration
from pipeline.results.calibration_report import CalibrationReport, CertifiedTarget

# So many promises are told apart in one plot.
_MOST_PROMISES = 3


def exit_name(exit_layer: int) -> str:
    """Return what an exit is called in a legend."""
    return f"exit {exit_layer}"


def percent(share: float) -> str:
    """Return a share in as few digits as it takes.

    >>> [percent(share) for share in (0.0025, 0.01, 0.1)]
    ['0.25%', '1%', '10%']
    """
    return f"{share * 100:.4g}%"


def reliability_figures(calibration: Calibration) -> tuple[Figure, ...]:
    """Return a reliability diagram for every exit but the last, before and after its temperature."""
    exits, agrees = calibration.exits, _agrees(calibration.exits)
    branches = calibration.report.exits[:-1]
    confidences = [
        (_confidence(exits, place), _confidence(exits, place, each.scaling))
        for place, each in enumerate(branches)
    ]
    # The same axis for all: of few labels nobody is less sure than chance.
    lowest = min((float(each.min()) for both in confidences for each in both), default=0.0)
    return tuple(
        Figure(
            plot=reliability(
                {
                    "before": AgreementBins.of(before, agrees[:, place]),
                    f"temperature {each.scaling}": AgreementBins.of(after, agrees[:, place]),
                },
                description=f"Reliability of exit {each.exit_layer}: agreement by confidence, before and "
                "after its temperature",
                lowest=np.floor(lowest * NUM_BINS) / NUM_BINS,
            ),
            caption=f"Exit {each.exit_layer}: expected calibration error {each.ece_before:.2%} before, "
            f"{each.ece_after:.2%} after; {len(agrees):,} rows.",
        )
        for place, (each, (before, after)) in enumerate(zip(branches, confidences, strict=True))
    )


def counted_confidence(calibration: Calibration) -> Table:
    """Return how many test rows every exit is so sure of, its temperature applied."""
    exits, agrees = calibration.exits, _agrees(calibration.exits)
    rows = []
    for place, each in enumerate(calibration.report.exits[:-1]):
        bins = AgreementBins.of(_confidence(exits, place, each.scaling), agrees[:, place])
        counts = np.zeros(NUM_BINS, dtype=np.int64)
        counts[bins.places] = bins.num_rows
        rows.append((str(each.exit_layer), *(f"{count:,}" for count in counts)))
    edges = [f"{place / NUM_BINS:.0%} to {(place + 1) / NUM_BINS:.0%}" for place in range(NUM_BINS)]
    return Table(
        columns=("exit layer", *edges), rows=tuple(rows), caption="Test rows by confidence, after temperature"
    )


def agreement_figure(exits: ExitCalibration) -> Figure:
    """Return every exit's agreement, with exact intervals."""
    agrees = _agrees(exits)
    num_rows = len(agrees)
    drawn = []
    for place, layer in enumerate(exits.exits[:-1]):
        num_agreeing = int(agrees[:, place].sum())
        low, high = interval(num_agreeing, num_rows, DEFAULT_CONFIDENCE)
        drawn.append(Interval(name=str(layer), value=num_agreeing / num_rows, low=low, high=high))
    return Figure(
        plot=intervals(
            drawn, x_label="exit layer", y_label="agreement with full depth", is_share=True,
            description="Agreement with full depth, if every text left at one exit",
        ),
        caption=f"If every text left there: {num_rows:,} test rows, exact intervals at "
        f"{DEFAULT_CONFIDENCE:.0%}.",
    )  # fmt: skip


def luha_figure(exits: ExitCalibration) -> Figure:
    """Return agreement by uncertainty, a line an exit."""
    agrees, uncertainty = _agrees(exits), exits.uncertainty[~exits.is_search]
    by_exit = {
        exit_name(layer): AgreementBins.of(uncertainty[:, place], agrees[:, place])
        for place, layer in enumerate(exits.exits[:-1])
    }
    return Figure(
        plot=luha(by_exit, description="Agreement with full depth by uncertainty, a line an exit"),
        caption="Lower uncertainty, higher accuracy: what early exit lives on. Tenths of the uncertainty, "
        "those of 20 test rows and more.",
    )


def savings_figure(report: CalibrationReport) -> Figure | None:
    """Return what every certified promise saves; None where none was."""
    certified = [target for target in report.targets if target.is_certified]
    if not certified:
        return None
    names = [percent(target.max_disagreement) for target in certified]
    return Figure(
        plot=bars(
            names, {"saved compute": [target.saved_compute for target in certified]},
            x_label="at most so many disagree", y_label="saved compute, times",
            description="Saved compute by promise",
        ),
        caption="FLOPs at full depth over FLOPs used, on the test rows.",
    )  # fmt: skip


def exits_taken_figure(calibration: Calibration) -> Figure | None:
    """Return where test rows leave under some certified promises; None where none was."""
    certified = [target for target in calibration.report.targets if target.is_certified]
    if not certified:
        return None
    exits = calibration.exits
    outcomes = exits.flops_outcomes.take(~exits.is_search)
    chosen = np.linspace(0, len(certified) - 1, min(len(certified), _MOST_PROMISES)).round().astype(int)
    series = {}
    for target in (certified[place] for place in chosen):
        taken = outcomes.exits_taken(_thresholds(exits, target))
        counts = np.bincount(taken, minlength=len(exits.exits))
        series[f"at most {percent(target.max_disagreement)}"] = (counts / len(taken)).tolist()
    return Figure(
        plot=bars(
            [str(layer) for layer in exits.exits], series, x_label="exit layer", y_label="share of test rows",
            is_share=True, description="Where test rows leave, by promise",
        ),
        caption=f"Where {len(outcomes):,} test rows leave.",
    )  # fmt: skip


def speedup_figure(curve: Sequence[tuple[float, float]]) -> Figure:
    """Return the saved compute that was asked for against that found on the test rows."""
    asked, found = zip(*curve, strict=True)
    return Figure(
        plot=lines(
            [Line(name="test rows", x=asked, y=found)], x_label="--target-speedup",
            y_label="saved compute found", diagonal=True,
            description="Saved compute found on the test rows, by what was asked for",
        ),
        caption="On the dashed line what was asked for is found.",
    )  # fmt: skip


def _agrees(exits: ExitCalibration) -> npt.NDArray[np.bool_]:
    """Return whether exits agree with the teacher, (test rows, num_exits - 1)."""
    agrees: npt.NDArray[np.bool_] = ~exits.flops_outcomes.disagrees[~exits.is_search, :-1]
    return agrees


def _confidence(exits: ExitCalibration, place: int, scaling: Scaling = UNSCALED) -> npt.NDArray[np.float32]:
    """Return how sure an exit is of every test row, (test rows,)."""
    logits = torch.from_numpy(exits.logits[~exits.is_search, place])
    confidence: npt.NDArray[np.float32] = exits.answer.confidence(logits, scaling).numpy()
    return confidence


def _thresholds(exits: ExitCalibration, target: CertifiedTarget) -> list[float]:
    lexical = [target.lexical_threshold] if 0 in exits.exits else []
    return [*lexical, *target.thresholds]
