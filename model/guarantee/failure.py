"""Why nothing but full depth keeps a constraint, in words."""

from collections.abc import Sequence

from model.guarantee.binomial import p_value, rows_needed
from model.guarantee.exit_outcomes import ExitOutcomes
from model.guarantee.risk_constraint import Kind, RiskConstraint
from model.guarantee.risk_control import candidate_thresholds
from model.guarantee.threshold_search import SearchEffort


def explain_failure(
    constraint: RiskConstraint,
    search: ExitOutcomes,
    test: ExitOutcomes,
    names: Sequence[str],
    *,
    effort: SearchEffort = SearchEffort(),  # noqa: B008 - frozen
) -> str:
    """Say in one line why nothing but full depth keeps a constraint, and what would help."""
    safest = next(iter(candidate_thresholds(search, constraint, effort=effort)), None)
    if safest is None:
        return "no exit saves any time: full depth"
    exits = test.exits_taken(safest.thresholds)
    parts = [(part, part.wrong_of(test, exits)) for part in constraint.parts]
    part, rows = max(parts, key=lambda each: p_value(int(each[1].sum()), len(each[1]), each[0].share))
    share, name = part.share, ""
    if part.name is not None:
        who = "the teacher calls" if part.kind is Kind.MISSED else "they call"
        name = f" that {who} {names[part.name]}"
    rate = float(rows.mean()) if len(rows) else 0.0
    needed = rows_needed(share, constraint.confidence, error_rate=rate if rate < share else 0.0)
    often = "of which as many disagree" if 0 < rate < share else "none of which disagrees"
    tested = f"even the safest exits disagree on {rows.sum():,} of {len(rows):,} test rows{name}"
    takes = f"{share:.3g} at {constraint.confidence:g} takes {needed:,} test rows{name}"
    return f"{tested}: full depth; {takes}, {often}, and half as many to search with"
