import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.results.audit.agreement import agreement_of
from pipeline.results.audit.share import Share
from pipeline.results.shadow_texts import ShadowRows

NAMES = ("a", "b", "c")


def shadow(num_rows: int, seed: int = 0) -> ShadowRows:
    """Texts, of which some are answered otherwise."""
    rng = np.random.default_rng(seed)
    by_teacher = np.eye(3, dtype=bool)[rng.integers(0, 3, num_rows)]
    disagrees = rng.random(num_rows) < 0.2
    called = np.where(disagrees[:, None], np.roll(by_teacher, 1, axis=1), by_teacher)
    return ShadowRows(
        exit_layer=rng.integers(0, 4, num_rows),
        uncertainty=rng.random(num_rows),
        first_uncertainty=np.zeros(num_rows),
        num_tokens=rng.integers(3, 50, num_rows),
        num_unknown=np.zeros(num_rows, dtype=np.int64),
        by_teacher=by_teacher,
        called=called,
        missed=by_teacher & ~called,
        disagrees=disagrees,
    )


@given(st.integers(0, 200), st.integers(0, 5))
def test_each_way_of_taking_it_apart_has_every_text_once(num_rows: int, seed: int):
    rows = shadow(num_rows, seed)
    agreement = agreement_of(rows, NAMES)
    assert agreement.overall == Share.of(int((~rows.disagrees).sum()), num_rows)
    for parts in (agreement.by_exit, agreement.by_answer, agreement.by_length, agreement.by_uncertainty):
        assert sum(part.agreement.whole for part in parts) == num_rows
        assert sum(part.agreement.part for part in parts) == agreement.overall.part
        assert len({part.name for part in parts}) == len(parts)
        assert all(part.agreement.whole for part in parts)


def test_parts_are_those_that_they_are_called():
    rows = shadow(500)
    agreement = agreement_of(rows, NAMES)
    for part in agreement.by_exit:
        here = rows.exit_layer == int(part.name)
        assert part.agreement == Share.of(int((~rows.disagrees[here]).sum()), int(here.sum()))
    for part in agreement.by_answer:
        here = rows.by_teacher[:, NAMES.index(part.name)]
        assert part.agreement == Share.of(int((~rows.disagrees[here]).sum()), int(here.sum()))
    for part in agreement.by_length:
        first, last = (int(word) for word in part.name.removesuffix(" tokens").split(" to "))
        here = (rows.num_tokens >= first) & (rows.num_tokens <= last)
        assert part.agreement.whole == here.sum()
    for part in agreement.by_uncertainty:
        first, last = (float(word) for word in part.name.split(" to "))
        assert part.agreement.whole == ((rows.uncertainty >= first) & (rows.uncertainty < last)).sum()
