"""Model directories and hub names to local directories."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, HTTPError

from model.checkpoints.fingerprint import MODEL_FILES
from model.errors import CheckpointError
from model.messages import first_line


def resolve_checkpoint(name: str) -> Path:
    """Return the local directory of a model directory or a Hugging Face hub name.

    Raises:
        CheckpointError: if there is no such directory and the hub does not provide it.
    """
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise CheckpointError(f"{name!r} is no model directory: it has no config.json")
        return path
    if path.exists() or path.is_absolute() or name.startswith(".") or name.count("/") > 1:
        raise CheckpointError(f"there is no model directory {name!r}")
    try:
        patterns = [pattern for pattern in MODEL_FILES if pattern != "*.bin"]
        return Path(snapshot_download(name, allow_patterns=patterns))
    # Most of the hub's own errors are OSErrors; those of its HTTP library, a proxy's among them, are not.
    except (OSError, HTTPError, HFValidationError) as error:
        raise CheckpointError(
            f"there is no model directory {name!r}, and the Hugging Face hub did not provide it: "
            f"{first_line(error)}"
        ) from error
