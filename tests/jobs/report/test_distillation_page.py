from dataclasses import replace

import pytest

from jobs.report.content import Verdict
from jobs.report.distillation_page import distillation_page
from jobs.report.page import render_page
from model.answers.task import Task
from model.training.distillation_result import Advice, RoundQualities
from model.training.self_distillation import BranchQuality
from tests.jobs.driver.test_distill_metrics import METRICS, branch
from tests.jobs.report.pages import banner, section, table, texts

DECIDED = {"backbone": "<b>mine</b>, 4 layers, frozen"}


def trained(*advices, kl=0.3):
    """Metrics of a lexical branch and three others, over two rounds."""
    rounds = tuple(
        RoundQualities(
            step=step,
            epochs=step / 100,
            branches=tuple(
                BranchQuality(layer=layer, kl=kl * layer / step, agreement=0.8 + layer / 30)
                for layer in (1, 2, 3)
            ),
        )
        for step in (100, 250)
    )
    ended = tuple(branch(layer, advice) for layer, advice in enumerate(advices))
    return replace(METRICS, num_held_out_rows=200, epochs=2.5, rounds=rounds, branches=ended)


def page_of(metrics, task=Task.ONE_LABEL):
    return distillation_page(metrics, source="<b>mine</b>", task=task, decided=DECIDED)


DONE, TEXT, EPOCHS = Advice.NOTHING, Advice.MORE_TEXT, Advice.MORE_EPOCHS


@pytest.mark.parametrize(
    ("advices", "verdict", "word"),
    [
        ((DONE, DONE, DONE, DONE), Verdict.GOOD, "Converged"),
        ((DONE, TEXT, DONE, DONE), Verdict.GOOD, "Converged; more text would help"),
        ((DONE, TEXT, EPOCHS, DONE), Verdict.UNKNOWN, "Ended before all branches had converged"),
        ((), Verdict.UNKNOWN, "Not judged"),
    ],
)
def test_the_verdict_is_what_would_help(advices, verdict, word):
    found = banner(page_of(trained(*advices)))
    assert (found.verdict, found.word) == (verdict, word)
    if advices:
        assert found.sentence[1:-1] == trained(*advices).describe()[1:]


def test_convergence_is_by_step_a_line_a_branch():
    plots = section(page_of(trained(DONE, DONE, DONE, DONE)), "Convergence").blocks[0].figures
    assert [texts(each.plot) & {"layer 1", "layer 2", "layer 3", "step"} for each in plots] == [
        {"layer 1", "layer 2", "layer 3", "step"}
    ] * 2
    assert "KL(teacher || student), nats" in texts(plots[0].plot)
    assert "200 held-out rows" in plots[0].caption


def test_the_ends_are_what_the_terminal_says():
    found = table(section(page_of(trained(DONE, TEXT)), "How the branches ended"))
    assert found.rows == (
        ("0, before the first", "0.3000", "0.1000", "90.00%", "nothing"),
        ("1", "0.3000", "0.1000", "90.00%", "more text"),
    )


def test_a_score_has_a_spread_and_no_divergence():
    html = render_page(page_of(trained(DONE, DONE, kl=-0.3), Task.SCORE))
    assert "spread around the teacher&#39;s score" in html
    assert "KL(teacher" not in html


def test_what_was_never_judged_has_a_page():
    page = page_of(METRICS)
    assert [each.title for each in page.sections] == ["What was decided"]
    assert "&lt;b&gt;mine&lt;/b&gt;, 4 layers, frozen" in render_page(page)
