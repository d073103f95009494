"""Model directories told apart by their bytes."""

import hashlib
from pathlib import Path

# What decides a model's answers, and nothing else: notes, logs, metrics and training state may come and go.
CONFIGURATION_FILES = ("config.json",)
WEIGHT_FILES = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
# Read only where a local directory has no safetensors; never asked of the hub.
PICKLED_WEIGHT_FILES = ("pytorch_model.bin", "pytorch_model-*-of-*.bin", "pytorch_model.bin.index.json")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
)


def checkpoint_hash(directory: Path) -> str:
    """Return the SHA-256 of the files that decide a model's answers, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    weights = WEIGHT_FILES if _has_any(directory, WEIGHT_FILES) else PICKLED_WEIGHT_FILES
    patterns = (*CONFIGURATION_FILES, *weights, *TOKENIZER_FILES)
    for name in sorted({path.name for pattern in patterns for path in directory.glob(pattern)}):
        with (directory / name).open("rb") as file:
            digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def has_only_pickles(directory: Path) -> bool:
    """Return whether the weights in `directory` are pickled, and there are no others."""
    return _has_any(directory, PICKLED_WEIGHT_FILES) and not _has_any(directory, WEIGHT_FILES)


def _has_any(directory: Path, patterns: tuple[str, ...]) -> bool:
    return any(next(directory.glob(pattern), None) for pattern in patterns)
