"""How many layers a checkpoint's weights are of, from the names of its tensors."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from safetensors import safe_open

from model.checkpoints.fingerprint import WEIGHT_FILES


def count_layers(directory: Path) -> int | None:
    """Return how many layers the safetensors in `directory` have at most; None where there are none.

    Only the files' headers are read.
    """
    paths = [path for pattern in WEIGHT_FILES for path in directory.glob(pattern)]
    names: list[str] = []
    for path in paths:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                names.extend(file.keys())
    return most_repeated(names) if names else None


def most_repeated(names: Iterable[str]) -> int:
    """Return how often the module stands in a network that stands in it most often, told by its numbers.

    >>> most_repeated(["layer.0.up.weight", "layer.0.up.bias", "layer.1.norm.weight"])
    2
    >>> most_repeated(["blocks.0.0.up", "blocks.0.1.up", "blocks.1.0.up", "pooler.weight"])
    3
    >>> most_repeated(["pooler.weight"])
    0
    """
    modules = {name[: number.end()] for name in names for number in re.finditer(r"\d+", name)}
    repeated = Counter(re.sub(r"\d+", "#", module) for module in modules)
    return max(repeated.values(), default=0)
