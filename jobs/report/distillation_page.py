"""The page that `distill` leaves beside a FastBERT: how its branches came to answer as the teacher does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.driver.distill_metrics import DistillMetrics
from jobs.report.content import (
    Banner,
    Block,
    Figure,
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
from jobs.report.plots.bars import bars
from jobs.report.plots.intervals import Interval, intervals
from jobs.report.plots.lines import Line, lines
from model.answers.task import Task
from model.checks import DEFAULT_CONFIDENCE
from model.guarantee.binomial import interval
from model.training.distillation_result import Advice, RoundQualities, TrainedBranch

DISTILLATION_PAGE_FILE = "distill.html"


@dataclass(frozen=True)
class _Measures:
    """What the two measures of a branch are called.

    Attributes:
        distance: from the teacher.
        agreement: with it.
        is_nats: whether the distance is a divergence in nats.
    """

    distance: str
    agreement: str
    is_nats: bool = True


# `BranchQuality` says what they are of a score.
_OF_SCORES = _Measures("spread around the teacher's score", "share of the variance known", is_nats=False)
_OF_LABELS = _Measures("KL(teacher || student)", "agreement")


def distillation_page(
    metrics: DistillMetrics, *, source: str, task: Task, decided: Mapping[str, str]
) -> Page:
    """Return the page of a distillation.

    Args:
        metrics: how the branches did.
        source: what they are around, as the user named it.
        task: of the teacher.
        decided: what the command decided before it started, by name.
    """
    measures = _OF_SCORES if task is Task.SCORE else _OF_LABELS
    sections = [Section(title="What was decided", blocks=(Settings(values=_settings(metrics, decided)),))]
    if metrics.branches:
        sections.insert(0, Section(title="How the branches ended", blocks=_ends(metrics, measures)))
    if metrics.rounds:
        sections.insert(0, Section(title="Convergence", blocks=_convergence(metrics, measures)))
    return Page(
        title=f"Distillation of {source}",
        lead="A branch after every layer learns to answer as the whole network does.",
        top=(_banner(metrics), _key_figures(metrics, measures)),
        sections=tuple(sections),
    )


def _banner(metrics: DistillMetrics) -> Banner:
    if not metrics.branches:
        sentence = "No text was held out to judge the branches by: how they do, calibrate says."
        return Banner(verdict=Verdict.UNKNOWN, word="Not judged", sentence=sentence)
    advices = {branch.advice for branch in metrics.branches}
    if Advice.MORE_EPOCHS in advices:
        verdict, word = Verdict.UNKNOWN, "Ended before all branches had converged"
    elif Advice.MORE_TEXT in advices:
        verdict, word = Verdict.GOOD, "Converged; more text would help"
    else:
        verdict, word = Verdict.GOOD, "Converged"
    described = metrics.describe()
    return Banner(verdict=verdict, word=word, sentence=f"{described[:1].upper()}{described[1:]}.")


def _key_figures(metrics: DistillMetrics, measures: _Measures) -> KeyFigures:
    figures = [
        KeyFigure(value=f"{metrics.num_train_rows:,}", name="rows to learn from"),
        KeyFigure(value=f"{metrics.num_held_out_rows:,}", name="rows held out"),
        KeyFigure(value=f"{metrics.epochs:.3g}", name="epochs"),
    ]
    if metrics.branches:
        first, last = metrics.branches[0], metrics.branches[-1]
        figures += [
            KeyFigure(value=f"{branch.agreement:.2%}", name=measures.agreement, note=_place(branch.layer))
            for branch in dict.fromkeys((first, last))
        ]
    return KeyFigures(figures=tuple(figures))


def _place(layer: int) -> str:
    return f"after layer {layer}" if layer else "before the first layer"


def _convergence(metrics: DistillMetrics, measures: _Measures) -> tuple[Block, ...]:
    """Return distance and agreement by step, a line a branch."""
    of_rows = f"on {metrics.num_held_out_rows:,} held-out rows, after every round"
    distances = _by_layer(metrics.rounds, "kl")
    is_log = all(value > 0 for line in distances for value in line.y)
    unit = ", nats" if measures.is_nats else ""
    figures = (
        Figure(
            plot=lines(
                distances, x_label="step", y_label=f"{measures.distance}{unit}", is_ordered=True,
                is_y_log=is_log, description=f"{measures.distance} of every branch by training step",
            ),
            caption=f"How far every branch is from the teacher, {of_rows}.",
        ),
        Figure(
            plot=lines(
                _by_layer(metrics.rounds, "agreement"), x_label="step", y_label=measures.agreement,
                is_ordered=True, is_y_share=True, description=f"{measures.agreement} of every branch by step",
            ),
            caption=f"How often every branch answers as the teacher, {of_rows}."
            if measures.is_nats
            else f"How much every branch knows of the teacher's scores, {of_rows}.",
        ),
    )  # fmt: skip
    note = Note(text="What is judged are the running averages of the weights, of which the best are kept.")
    return Figures(figures=figures), note


def _by_layer(rounds: Sequence[RoundQualities], measure: str) -> list[Line]:
    steps = [each.step for each in rounds]
    return [
        Line(
            name=f"layer {branch.layer}",
            x=steps,
            y=[getattr(each.branches[place], measure) for each in rounds],
        )
        for place, branch in enumerate(rounds[0].branches)
    ]


def _ends(metrics: DistillMetrics, measures: _Measures) -> tuple[Block, ...]:
    """Return how every branch ended, seen and in numbers."""
    layers = [str(branch.layer) for branch in metrics.branches]
    distances = {
        "held out": [branch.kl for branch in metrics.branches],
        "its own texts": [branch.train_kl for branch in metrics.branches],
    }
    figures = (
        Figure(
            plot=bars(
                layers, distances, x_label="branch after layer", y_label=measures.distance,
                description=f"{measures.distance} of every branch, on held-out rows and on its own texts",
            ),
            caption="Far from the teacher on new text but not on its own: more text would help.",
        ),
        _agreement_figure(metrics, measures),
    )  # fmt: skip
    table = Table(
        columns=(
            "branch after layer", measures.distance, "on its own texts", measures.agreement, "would help",
        ),
        rows=tuple(map(_row, metrics.branches)),
        text_columns=(0, 4),
    )  # fmt: skip
    return Figures(figures=figures), table


def _agreement_figure(metrics: DistillMetrics, measures: _Measures) -> Figure:
    """Return every branch's agreement; of shares of rows with exact intervals."""
    num_rows = metrics.num_held_out_rows
    drawn = []
    for branch in metrics.branches:
        low = high = branch.agreement
        if measures.is_nats:
            low, high = interval(round(branch.agreement * num_rows), num_rows, DEFAULT_CONFIDENCE)
        drawn.append(Interval(name=str(branch.layer), value=branch.agreement, low=low, high=high))
    exact = f", exact intervals at {DEFAULT_CONFIDENCE:.0%}" if measures.is_nats else ""
    return Figure(
        plot=intervals(
            drawn, x_label="branch after layer", y_label=measures.agreement, is_share=True,
            description=f"{measures.agreement} of every branch",
        ),
        caption=f"On {num_rows:,} held-out rows{exact}.",
    )  # fmt: skip


def _row(branch: TrainedBranch) -> tuple[str, ...]:
    layer = str(branch.layer) if branch.layer else "0, before the first"
    quality = (f"{branch.kl:.4f}", f"{branch.train_kl:.4f}", f"{branch.agreement:.2%}")
    return (layer, *quality, str(branch.advice))


def _settings(metrics: DistillMetrics, decided: Mapping[str, str]) -> dict[str, str]:
    job = metrics.config
    return {
        **decided,
        "epochs": "until every branch has converged" if job.epochs is None else str(job.epochs),
        "learning rate": f"{job.learning_rate:g}",
        "batch size": str(job.batch_size),
        "seed": str(job.seed),
        "precision": f"{job.precision}, {job.backend}",
        "soft labels": ", ".join(job.labels),
        "hash of the backbone": job.backbone,
    }
