"""What Beam may say: its warnings, but not its known noise."""

import logging


def silence_beam() -> None:
    """Filter Beam's records on the way to the screen; idempotent."""
    logger = logging.getLogger()
    if _is_wanted not in logger.filters:
        logger.addFilter(_is_wanted)


def _is_wanted(record: logging.LogRecord) -> bool:
    # Said at every import of Beam without Google's libraries, to whoever does not use them.
    return "bigquery client libraries" not in record.getMessage()
