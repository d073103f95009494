"""What goes wrong while a checkpoint is read, in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError

from model.errors import CheckpointError
from model.messages import first_line


@contextmanager
def foreign(refusal: str) -> Iterator[None]:
    """Raise whatever goes wrong inside as an error of the checkpoint that is read there.

    A checkpoint is foreign input: libraries meet in it what nobody thought of, and answer with assertions,
    recursion errors and missing attributes. All of these mean that it cannot be used.

    Args:
        refusal: the beginning of the line, which names the checkpoint.

    Raises:
        CheckpointError: saying `refusal` and the reason.
    """
    try:
        yield
    except MemoryError:
        raise
    except UnpicklingError as error:
        # Its own words advise to unpickle without care.
        raise CheckpointError(f"{refusal}: its pickle is damaged, or holds more than tensors") from error
    except Exception as error:
        raise CheckpointError(f"{refusal}: {first_line(error)}") from error
