"""What Beam may say: its warnings, but not its known noise."""

import logging

# Logs whatever a DoFn raises, before Beam raises it again.
_DO_FN_LOGGER = "apache_beam.runners.common"


def silence_beam() -> None:
    """Filter Beam's records on the way to the screen; idempotent."""
    for name, is_wanted in ((None, _is_no_known_noise), (_DO_FN_LOGGER, _is_no_interrupt)):
        # Adds it only once.
        logging.getLogger(name).addFilter(is_wanted)


def _is_no_known_noise(record: logging.LogRecord) -> bool:
    # Said at every import of Beam without Google's libraries, to whoever does not use them.
    return "bigquery client libraries" not in record.getMessage()


def _is_no_interrupt(record: logging.LogRecord) -> bool:
    return not record.exc_info or not isinstance(record.exc_info[1], KeyboardInterrupt)
