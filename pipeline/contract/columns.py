"""Which columns of the input a job reads, and what to say where one is missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import pyarrow as pa

from model.answers.task import Task
from model.errors import InputError, ParameterError
from pipeline.contract import schema
from pipeline.contract.answer_fields import ALL_ANSWER_COLUMNS, soft_label_field

_SHOWN_NAMES = 20
_SCORE_NAMES = ALL_ANSWER_COLUMNS | frozenset(
    schema.score_schema(answer=(), teacher=(), id_type=pa.string()).names
)
_LABEL_NAMES = frozenset(
    schema.label_schema(num_labels=1, answer=(), id_type=pa.string(), with_pair=True).names
) | {soft_label_field(task).name for task in Task}
_INPUT_NAMES = frozenset({schema.INPUT_TEXT, schema.INPUT_TEXT_PAIR, schema.GROUP})


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns of the input are read.

    Attributes:
        text: the column to classify; None where texts are not wanted.
        text_pair: the second text of a pair.
        id: a column that tells rows apart, passed through as ``id``.
        keep: columns to pass through under their own names.
        group: a column that says which rows belong together.

    Raises:
        ParameterError: a kept column is named twice.
    """

    text: str | None = None
    text_pair: str | None = None
    id: str | None = None
    keep: tuple[str, ...] = ()
    group: str | None = None

    def __post_init__(self) -> None:
        for index, name in enumerate(self.keep):
            if name in self.keep[:index]:
                raise ParameterError(f"`keep` names {name!r} twice: name it once")

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the names of the text columns, as in the input."""
        return tuple(name for name in (self.text, self.text_pair) if name is not None)

    @property
    def passthrough(self) -> tuple[str, ...]:
        """Return the names of the columns that are read as they are: the id, kept ones, the group."""
        return tuple(name for name in (self.id, *self.keep, self.group) if name is not None)

    @property
    def all_columns(self) -> tuple[str, ...]:
        """Return the names of all columns to read, each once."""
        return tuple(dict.fromkeys((*self.texts, *self.passthrough)))


def check_kept_names(columns: Columns, *, is_labelling: bool = False) -> None:
    """Make sure that kept columns can stand beside a shard's own, and beside texts and groups before.

    Args:
        columns: which are read.
        is_labelling: whether the shards are of soft labels; else they are of scores.

    Raises:
        ParameterError: the name of a kept column is taken.
    """
    for name in columns.keep:
        if name in (_LABEL_NAMES if is_labelling else _SCORE_NAMES):
            raise ParameterError(f"`keep` {name}: the output has a column {name!r} of its own: rename yours")
        if name in _INPUT_NAMES:
            raise ParameterError(f"`keep` {name}: the name is taken: rename yours")


def check_label_name(label_column: str, id_column: str | None = None) -> None:
    """Make sure that a column of labels can be read beside texts, the number of its row and its id.

    Raises:
        ParameterError: it has the name of one of these.
    """
    taken = _INPUT_NAMES | {schema.ROW} | (set() if id_column is None else {schema.ID})
    if label_column in taken:
        raise ParameterError(f"`label_column` {label_column}: the name is taken: rename yours")


def check_present(path: str, names: Sequence[str], columns: Columns) -> None:
    """Make sure that a file with columns of these names has what `columns` wants, once each.

    Raises:
        InputError: a wanted column is missing, or there are two of its name.
    """
    for wanted in columns.all_columns:
        if names.count(wanted) > 1:
            raise InputError(
                f"{path}: {names.count(wanted)} columns are named {wanted!r}: rename all but one"
            )
        if wanted not in names:
            near = get_close_matches(wanted, names, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            shown = ", ".join([*names[:_SHOWN_NAMES], *(["..."] if len(names) > _SHOWN_NAMES else [])])
            raise InputError(f"{path}: no column {wanted!r}{hint}; its columns: {shown or 'none'}")
