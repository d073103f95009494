"""Some of a job's work items: what one task of a scheduler does."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from model.errors import ParameterError
from pipeline.contract.plan import WorkItem

_SHARE = re.compile(r"(\d+)/(\d+)", re.ASCII)
_RANGE = re.compile(r"(\d+)(?:(:)(\d*))?", re.ASCII)
_SHOWN_RANGES = 20


@dataclass(frozen=True)
class ItemRanges:
    """Numbers of work items, from 0, as runs, or one of several equal parts of all.

    Attributes:
        runs: pairs of a run's first number and the one behind its last; None to the end.
        share: instead of `runs`, the number of a part, from 0, and of how many; None without.
    """

    runs: tuple[tuple[int, int | None], ...]
    share: tuple[int, int] | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the numbers that a text names.

        Args:
            text: runs as Python's slices and single numbers, several with commas; or a part, as 0/10 and
                9/10 for the first and the last of ten.

        Raises:
            ParameterError: if it is something else, a run is empty, or there is no such part.

        >>> ItemRanges.parse("0:400,512,600:").runs
        ((0, 400), (512, 513), (600, None))
        >>> ItemRanges.parse("9/10").share
        (9, 10)
        """
        if match := _SHARE.fullmatch(text.strip()):
            number, of = int(match[1]), int(match[2])
            if not of:
                raise ParameterError(f"`items` {text}: of no parts there is none; say 0/1 for all")
            if number >= of:
                raise ParameterError(f"`items` {text}: parts are counted from 0, the last is {of - 1}/{of}")
            return cls((), (number, of))
        return cls(tuple(_parse_run(text, part) for part in text.split(",")))

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Self:
        """Return these numbers, which ascend.

        >>> str(ItemRanges.of([0, 1, 2, 7, 9, 10]))
        '0:3,7,9:11'
        """
        runs: list[tuple[int, int]] = []
        for number in numbers:
            if runs and runs[-1][1] == number:
                runs[-1] = (runs[-1][0], number + 1)
            else:
                runs.append((number, number + 1))
        return cls(tuple(runs))

    def __str__(self) -> str:
        """Return them as they are parsed; of very many runs the first ones."""
        if self.share is not None:
            return "{}/{}".format(*self.share)
        shown = [_show_run(first, end) for first, end in self.runs[:_SHOWN_RANGES]]
        return ",".join([*shown, *(["..."] if len(self.runs) > _SHOWN_RANGES else [])])

    def select(self, items: Sequence[WorkItem]) -> tuple[WorkItem, ...]:
        """Return the work items of these numbers, each once, in their order; of a small part maybe none.

        Args:
            items: all of a job, in order.

        Raises:
            ParameterError: if a run begins behind the last item.
        """
        if self.share is not None:
            number, of = self.share
            return tuple(items[len(items) * number // of : len(items) * (number + 1) // of])
        chosen: set[int] = set()
        for first, end in self.runs:
            if first >= len(items):
                raise ParameterError(
                    f"`items` {self}: there is no item {first}; the plan has {len(items):,}, from 0 on"
                )
            chosen.update(range(first, len(items) if end is None else min(end, len(items))))
        return tuple(items[number] for number in sorted(chosen))


ALL_ITEMS = ItemRanges(((0, None),))


def _parse_run(text: str, part: str) -> tuple[int, int | None]:
    match = _RANGE.fullmatch(part.strip())
    if match is None:
        raise ParameterError(f"`items` {text!r} are no items, as 0:400 or 7 or 0:400,512 or 0/10")
    first, colon, end = int(match[1]), match[2], match[3]
    if not colon:
        return first, first + 1
    if end and int(end) <= first:
        raise ParameterError(f"`items` {text!r}: {part.strip()} is empty; 0:2 are 0 and 1")
    return first, int(end) if end else None


def _show_run(first: int, end: int | None) -> str:
    if end is None:
        return f"{first}:"
    return f"{first}" if end == first + 1 else f"{first}:{end}"
