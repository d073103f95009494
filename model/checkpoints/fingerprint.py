"""Model directories told apart by their bytes."""

import hashlib
from pathlib import Path

# What decides a model's answers; README.md, logs and training state do not.
MODEL_FILES = ("*.json", "*.safetensors", "*.bin", "*.txt", "*.model")
_NOT_MODEL_FILES = (
    "metrics.json",
    "README.txt",
    "training_args.json",
    "calibration.json",
    "training_state.safetensors",
)


def checkpoint_hash(directory: Path) -> str:
    """Return the SHA-256 of the files that decide a model's answers, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    names = {path.name for pattern in MODEL_FILES for path in directory.glob(pattern)}
    for name in sorted(names.difference(_NOT_MODEL_FILES)):
        with (directory / name).open("rb") as file:
            digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
