import pytest

from model.answers.rule import AnswerRule, Cut, answer_rule, check_decidable
from model.answers.task import Task
from model.errors import ParameterError

LABELS = ("ham", "spam")


def test_cuts_stand_in_the_order_of_the_model_or_of_their_values():
    found = answer_rule(Task.ONE_LABEL, LABELS, decide=["spam>=0.9", "ham>=0.25"])
    assert found.cuts == (Cut(label="ham", value=0.25), Cut(label="spam", value=0.9))
    assert str(found) == "ham>=0.25, spam>=0.9"
    found = answer_rule(Task.SCORE, ["quality"], decide=[">=3", ">=2.5"])
    assert [cut.value for cut in found.cuts] == [2.5, 3]
    assert str(answer_rule(Task.SCORE, ["quality"], decide=[">=-0"])) == ">=0"
    assert str(answer_rule(Task.SCORE, ["quality"], tolerance=0.25)) == "scores within 0.25"
    assert answer_rule(Task.LABEL_SET, LABELS) == AnswerRule(task=Task.LABEL_SET)


def test_cuts_that_differ_are_told_apart():
    close = [">=1000000", ">=1000001", ">=0.12345678", ">=0.12345679"]
    found = answer_rule(Task.SCORE, ["quality"], decide=close)
    assert found.names(["quality"]) == (">=0.12345678", ">=0.12345679", ">=1000000", ">=1000001")
    assert [Cut.parse(name) for name in found.names(["quality"])] == list(found.cuts)


def test_a_cut_may_be_named_as_it_was_written():
    found = answer_rule(Task.SCORE, ["quality"], decide=[">=3.0"])
    assert [found.spelt(name) for name in (">=3.0", ">=3", " >= 3.00")] == [">=3"] * 3
    assert answer_rule(Task.ONE_LABEL, [">=1.0", "b"]).spelt(">=1.0") == ">=1.0"


@pytest.mark.parametrize(
    ("task", "asked", "told"),
    [
        (Task.ONE_LABEL, {"decide": ["spam=0.9"]}, r"`decide` 'spam=0.9' is neither LABEL>=PROBABILITY"),
        (Task.ONE_LABEL, {"decide": ["spam>=often"]}, "is neither LABEL>=PROBABILITY"),
        (Task.SCORE, {"decide": [">=inf"]}, "is neither LABEL>=PROBABILITY"),
        (
            Task.ONE_LABEL,
            {"decide": ["eggs>=0.9"]},
            "eggs>=0.9: the model has no such label; it has ham",
        ),
        (Task.LABEL_SET, {"decide": [">=0.9"]}, "names no label; say one of ham, spam, as ham>=0.9"),
        (Task.ONE_LABEL, {"decide": ["spam>=1.5"]}, "a probability lies above 0 and below 1"),
        (Task.ONE_LABEL, {"decide": ["spam>=0"]}, "a probability lies above 0 and below 1"),
        (Task.ONE_LABEL, {"decide": ["spam>=0.5", "spam>=0.9"]}, "give one cut per label, and no cut twice"),
        (Task.SCORE, {"decide": [">=3", ">=3"]}, "give one cut per label, and no cut twice"),
        (Task.SCORE, {"decide": ["spam>=3"]}, "this model answers with a score: say >=3"),
        (Task.ONE_LABEL, {"tolerance": 0.5}, "`tolerance` is of scores, and this model answers with labels"),
        (Task.SCORE, {"decide": [">=3"], "tolerance": 0.5}, "give one of `decide` and `tolerance`"),
        (Task.SCORE, {"tolerance": 0.0}, "`tolerance` 0 is not above 0"),
        (Task.SCORE, {"tolerance": float("nan")}, "`tolerance` nan is not above 0"),
    ],
)
def test_what_cannot_be_decided_is_refused(task, asked, told):
    with pytest.raises(ParameterError, match=told):
        answer_rule(task, LABELS, **asked)


def test_of_scores_it_has_to_be_said_when_two_are_the_same():
    with pytest.raises(ParameterError, match="the model answers with a score: say by `decide`"):
        check_decidable(AnswerRule(task=Task.SCORE))
    for rule in (AnswerRule(task=Task.LABEL_SET), AnswerRule(task=Task.SCORE, tolerance=1.0)):
        check_decidable(rule)
