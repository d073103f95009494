"""The page that `calibrate` leaves: how far every exit can be believed, and what each promise saves."""

from collections.abc import Mapping, Sequence

from jobs.report.calibration_figures import (
    agreement_figure,
    counted_confidence,
    exits_taken_figure,
    luha_figure,
    reliability_figures,
    savings_figure,
    speedup_figure,
)
from jobs.report.content import (
    Banner,
    Block,
    Figures,
    KeyFigure,
    KeyFigures,
    Note,
    Page,
    Section,
    Settings,
    Table,
    Verdict,
)
from model.messages import format_ratio, format_share
from pipeline.results.calibration import Calibration
from pipeline.results.calibration_report import CalibrationReport, CertifiedTarget

CALIBRATION_PAGE_FILE = "calibration.html"
# What is told first, where it could be certified.
_FIRST_TOLD = 0.01


def calibration_page(
    calibration: Calibration,
    *,
    model: str,
    decided: Mapping[str, str],
    limits: str = "",
    warnings: Sequence[str] = (),
) -> Page:
    """Return the page of a calibration.

    Args:
        calibration: what was found.
        model: as the user named it.
        decided: what the command decided before it started, by name.
        limits: why some promises save next to nothing; empty where all save.
        warnings: what else is to be seen, a sentence each.
    """
    report, exits = calibration.report, calibration.exits
    told = _told(report)
    return Page(
        title=f"Calibration of {model}",
        lead=f"Every exit held against the full model. Compared are {report.rule}; promises are "
        f"{report.unit.promised}.",
        top=(
            _banner(report, told, limits),
            *(Note(text=warning, is_warning=True) for warning in warnings),
            _key_figures(calibration, told),
        ),
        sections=(
            Section(title="What each promise saves", blocks=_promises(calibration)),
            Section(
                title="How often exits agree",
                blocks=(Figures(figures=(agreement_figure(exits), luha_figure(exits))), _exit_table(report)),
            ),
            Section(title="How sure, and how often right", blocks=_reliability(calibration)),
            Section(title="Compute asked for", blocks=_speedups(report)),
            Section(title="What was decided", blocks=(Settings(values=dict(decided)),)),
        ),
    )


def _told(report: CalibrationReport) -> CertifiedTarget | None:
    """Return the promise that is told first: of 1 %, else the strictest that was certified."""
    certified = [target for target in report.targets if target.is_certified]
    usual = [target for target in certified if target.max_disagreement == _FIRST_TOLD]
    return next(iter([*usual, *certified]), None)


def _banner(report: CalibrationReport, told: CertifiedTarget | None, limits: str) -> Banner:
    details = (f"{limits[:1].upper()}{limits[1:]}.",) if limits else ()
    if told is None:
        sentence = "No promise could be certified on these rows: every text takes the whole network."
        return Banner(verdict=Verdict.BAD, word="Nothing certified", sentence=sentence, details=details)
    return Banner(
        verdict=Verdict.GOOD,
        word="Certified",
        sentence=f"With --max-disagreement {told.max_disagreement:g}, saved compute is "
        f"{format_ratio(told.saved_compute)}. {told.num_disagreements:,} of {told.num_rows:,} test rows "
        f"disagree; certified is at most {format_share(told.max_disagreement)} {report.unit.promised}, at "
        f"{format_share(report.confidence, 0)} confidence.",
        details=details,
    )


def _key_figures(calibration: Calibration, told: CertifiedTarget | None) -> KeyFigures:
    report, exits = calibration.report, calibration.exits
    num_search = int(exits.is_search.sum())
    figures = [
        KeyFigure(value=f"{len(exits) - num_search:,}", name="rows that test"),
        KeyFigure(value=f"{num_search:,}", name="rows that search"),
        KeyFigure(value=format_share(report.confidence, 0), name="confidence"),
    ]
    if told is not None:
        asked = f"at most {format_share(told.max_disagreement)}"
        figures.insert(0, KeyFigure(value=format_ratio(told.saved_compute), name="saved compute", note=asked))
    return KeyFigures(figures=tuple(figures))


def _promises(calibration: Calibration) -> tuple[Block, ...]:
    report = calibration.report
    confidence = format_share(report.confidence, 0)
    figures = tuple(
        figure for figure in (savings_figure(report), exits_taken_figure(calibration)) if figure is not None
    )
    rows = tuple(
        (
            format_share(target.max_disagreement),
            "yes" if target.is_certified else "no: full depth",
            format_ratio(target.saved_compute),
            f"{target.num_disagreements:,} of {target.num_rows:,}",
        )
        for target in report.targets
    )
    table = Table(
        columns=("at most", "certified", "saved compute", "test rows that disagree"),
        rows=rows,
        caption=f"--max-disagreement at {confidence} confidence, {report.unit.promised}",
        text_columns=(0, 1),
    )
    note = Note(
        text=f"Each promise holds by itself at {confidence}, not all of them together; distilling "
        "or calibrating again until one passes spends the confidence."
    )
    return (*((Figures(figures=figures),) if figures else ()), table, note)


def _exit_table(report: CalibrationReport) -> Table:
    return Table(
        columns=("exit layer", "agreement", "temperature", "ECE before", "ECE after"),
        rows=tuple(
            (
                str(each.exit_layer),
                f"{each.agreement:.2%}",
                str(each.scaling),
                f"{each.ece_before:.2%}",
                f"{each.ece_after:.2%}",
            )
            for each in report.exits[:-1]
        ),
        caption=f"Exits on {report.targets[0].num_rows:,} test rows",
    )


def _reliability(calibration: Calibration) -> tuple[Block, ...]:
    return (
        Note(
            text="On the diagonal an exit is right as often as it says. Temperatures are fitted on the rows "
            "that search; these are the rows that test. The larger a marker, the more rows it stands for."
        ),
        Figures(figures=reliability_figures(calibration)),
        counted_confidence(calibration),
    )


def _speedups(report: CalibrationReport) -> tuple[Block, ...]:
    if not report.speed_curve:
        return (Note(text="There is no speed-up within reach."),)
    table = Table(
        columns=("asked", "on test rows"),
        rows=tuple((f"{asked:g}x", format_ratio(found)) for asked, found in report.speed_curve),
        caption="--target-speedup",
    )
    return Figures(figures=(speedup_figure(report.speed_curve),)), table
