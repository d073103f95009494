"""How a teacher's answers are spread over its labels, in a line."""

from __future__ import annotations

from collections.abc import Mapping

_SHOWN_LABELS = 8
# Where one label has more, texts hardly tell the teacher anything.
_NEARLY_ALL = 0.99


def describe_answers(counts: Mapping[str, int], num_labels: int) -> str:
    """Return which share of the rows was answered with each label, the most frequent first.

    >>> describe_answers({"no": 1, "yes": 3}, 3)
    "answers: 'yes' 75.0%, 'no' 25.0%; 1 of 3 labels never"
    """
    num_rows = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{label!r} {count / num_rows:.1%}" for label, count in ranked[:_SHOWN_LABELS]]
    others = sum(count for _, count in ranked[_SHOWN_LABELS:])
    if others:
        shown.append(f"{len(ranked) - _SHOWN_LABELS} more {others / num_rows:.1%}")
    never = f"; {num_labels - len(counts)} of {num_labels} labels never" if len(counts) < num_labels else ""
    return f"answers: {', '.join(shown)}{never}"


def warn_of_one_answer(counts: Mapping[str, int]) -> str:
    """Return a line where nearly all rows got one label; else nothing.

    >>> warn_of_one_answer({"no": 1, "yes": 1})
    ''
    """
    label, count = max(counts.items(), key=lambda item: item[1])
    share = count / sum(counts.values())
    if share < _NEARLY_ALL:
        return ""
    return (
        f"warning: {share:.2%} of the rows got one label, {label!r}: the teacher may have learnt nothing, or "
        "be one for other texts than these"
    )
