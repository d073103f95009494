"""What Beam may say: its warnings, but neither known noise nor a traceback of a user's mistake."""

import logging

# Repeats what worker processes log, exceptions as text.
_OF_WORKERS = "apache_beam.runners.portability.local_job_service"


def quieten_beam() -> None:
    """Filter Beam's records on the way to the screen; idempotent."""
    for name in (None, "apache_beam.runners.common", _OF_WORKERS):
        logger = logging.getLogger(name)
        if _is_wanted not in logger.filters:
            logger.addFilter(_is_wanted)


def _is_wanted(record: logging.LogRecord) -> bool:
    from model.errors import FastBertJobsError

    # Said at every import of Beam without Google's libraries, to whoever does not use them.
    if "bigquery client libraries" in record.getMessage():
        return False
    if record.name == _OF_WORKERS and "\\nmodel.errors." in record.getMessage():
        return False
    error = record.exc_info[1] if record.exc_info else None
    # These come back to the driver, which prints them as one line.
    return not isinstance(error, FastBertJobsError)
