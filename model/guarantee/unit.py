"""The unit of a promise: what is drawn at random, stands on one side of every split, and counts once."""

from enum import StrEnum


class Unit(StrEnum):
    """What the share that disagrees is a share of.

    TEXTS: distinct texts. A text counts once, however many rows hold it, and all of these are on one side.
    ROWS: rows. A text counts as often as rows hold it, and they may be on both sides: what training saw of
        it, it meets as often among the rows to score.
    GROUPS: groups of rows, such as the posts of a thread, each of which one row, drawn at random, speaks for.
        All rows of a group are on one side, so that nothing tests that is a near copy of what training saw.
    """

    TEXTS = "texts"
    ROWS = "rows"
    GROUPS = "groups"

    @property
    def counted(self) -> str:
        """What a number of them is a number of.

        >>> f"5 {Unit.TEXTS.counted}"
        '5 distinct texts'
        """
        return "distinct texts" if self is Unit.TEXTS else str(self)

    @property
    def promised(self) -> str:
        """What a promised share is of.

        >>> f"at most 1 % {Unit.GROUPS.promised}"
        'at most 1 % of the texts, one of each group'
        """
        return "of the texts, one of each group" if self is Unit.GROUPS else f"of the {self}"
