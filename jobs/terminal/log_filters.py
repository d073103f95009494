"""What Beam may say: its warnings, but not its known noise."""

import logging


def silence_beam() -> None:
    """Filter Beam's records on the way to the screen; idempotent."""
    # Adds it only once.
    logging.getLogger().addFilter(_is_no_known_noise)
    # Logs whatever a DoFn raises, before Beam raises it again.
    logging.getLogger("apache_beam.runners.common").disabled = True
    # Tells each of its attempts with a traceback; what comes of the last one is told.
    logging.getLogger("apache_beam.utils.retry").setLevel(logging.ERROR)


def _is_no_known_noise(record: logging.LogRecord) -> bool:
    # Said at every import of Beam without Google's libraries, to whoever does not use them.
    return "bigquery client libraries" not in record.getMessage()
