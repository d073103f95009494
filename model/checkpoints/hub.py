"""Model directories and hub names to local directories."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, HTTPError

from model.checkpoints.fingerprint import CONFIGURATION_FILES, TOKENIZER_FILES, WEIGHT_FILES
from model.checkpoints.time_limit import MORE_TIME, is_timeout, limit_silence
from model.errors import CheckpointError, ParameterError
from model.messages import first_line

# What says which copy of a hub name is meant, and how it is got.
HUB_OPTIONS = ("revision", "token", "cache_dir", "local_files_only")
# What `calibrate` leaves beside a model.
CALIBRATION_FILE, CALIBRATION_ROWS_FILE = "calibration.json", "calibration.parquet"
# Hashes of texts: what `distill` trained the branches on, and `finetune` the whole network.
BRANCH_TEXTS_FILE, TEACHER_TEXTS_FILE = "seen_texts.parquet", "teacher_texts.parquet"
# What `distill` and `finetune` tell of themselves.
METRICS_FILE = "metrics.json"
# All that is read of a checkpoint that is not on this machine.
CHECKPOINT_FILES = (
    *CONFIGURATION_FILES, *WEIGHT_FILES, *TOKENIZER_FILES, CALIBRATION_FILE, CALIBRATION_ROWS_FILE,
    BRANCH_TEXTS_FILE, TEACHER_TEXTS_FILE, METRICS_FILE,
)  # fmt: skip


def resolve_checkpoint(name: str, **hub_options: str | bool | None) -> Path:
    """Return the local directory of a model directory or a Hugging Face hub name.

    Args:
        name: a directory, or a name on the hub.
        hub_options: some of `HUB_OPTIONS`, as `snapshot_download` takes them.

    Raises:
        CheckpointError: if there is no such directory and the hub does not provide it.
        ParameterError: if a revision of a directory is asked for.
    """
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise CheckpointError(f"{name!r} is no model directory: it has no config.json")
        if hub_options.get("revision") is not None:
            raise ParameterError(f"`revision` is for names on the hub, and {name!r} is a directory")
        return path
    if path.exists() or path.is_absolute() or name.startswith(".") or name.count("/") > 1:
        raise CheckpointError(f"there is no model directory {name!r}")
    try:
        with limit_silence():
            return Path(snapshot_download(name, allow_patterns=[*CHECKPOINT_FILES], **hub_options))
    # Most of the hub's own errors are OSErrors; those of its HTTP library, a proxy's among them, are not.
    except (OSError, HTTPError, HFValidationError) as error:
        cure = f"; {MORE_TIME}" if is_timeout(error) else ""
        raise CheckpointError(
            f"there is no model directory {name!r}, and the Hugging Face hub did not provide it: "
            f"{first_line(error)}{cure}"
        ) from error
