"""The paper's hypothesis LUHA, lower uncertainty and higher accuracy (Liu et al. 2020, figure 3)."""

from collections.abc import Mapping

from jobs.report.plot import Plot
from jobs.report.plots.agreement_bins import AgreementBins
from jobs.report.plots.lines import Line, lines

# The share of fewer rows is noise.
_LEAST_ROWS = 20


def luha(
    by_exit: Mapping[str, AgreementBins], *, description: str, y_label: str = "agreement with full depth"
) -> Plot:
    """Return agreement by uncertainty, a line an exit; of few rows nothing is drawn.

    Args:
        by_exit: by its name what is drawn, in the exits' order.
        description: what is seen.
        y_label: of what is right.
    """
    drawn = [
        Line(name=name, x=shown.mean.tolist(), y=shown.agreement.tolist())
        for name, bins in by_exit.items()
        if len((shown := bins.at_least(_LEAST_ROWS)).mean)
    ]
    return lines(
        drawn, x_label="uncertainty", y_label=y_label, is_ordered=True, is_y_share=True,
        description=description,
    )  # fmt: skip
