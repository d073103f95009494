"""Checkpoints of anybody's making: used as they are, or refused in one line; never a traceback or a hang."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drills.forked import run
from drills.home import Home
from drills.report import Report

VALUES: tuple[Any, ...] = (
    None,
    -1,
    0,
    1,
    7,
    10**9,
    1e308,
    "x",
    "",
    True,
    [],
    {},
    [[1]],
    {"0": "a", "2": "b"},
)
_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")
_PARTS_OF_TOKENIZERS = (
    "truncation",
    "padding",
    "added_tokens",
    "normalizer",
    "pre_tokenizer",
    "post_processor",
    "model",
)
_SECONDS = 60.0


def drill_checkpoints(home: Home, scratch: Path) -> Report:
    """Give every field of a checkpoint's files values that it should not have, one at a time."""
    report = Report("hostile checkpoints")
    rows = ("--input", home.path / "rows.tsv", "--text-column", "text")
    for name, words in (
        ("teacher", ("label-teacher", *rows, "--teacher")),
        ("fastbert", ("score", *rows, "--speed", 0.5, "--model")),
    ):
        for what, copy in _changed(home.path / name, scratch / "copy"):
            shutil.rmtree(scratch / "out", ignore_errors=True)
            ended = run((*words, copy, "--output", scratch / "out"), scratch / "log", timeout=_SECONDS)
            is_fine = ended.is_refusal or not ended.status
            report.check(is_fine, f"{name}: {what}: {ended.status}, {ended.last_line[:200]}")
    return report


def _changed(directory: Path, copy: Path) -> Iterator[tuple[str, Path]]:
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(directory, copy)
    for name in _FILES:
        if not (directory / name).is_file():
            continue
        content = json.loads((directory / name).read_text())
        for path in _fields(content, name):
            for value in VALUES:
                changed = json.loads(json.dumps(content))
                holder = changed
                for key in path[:-1]:
                    holder = holder[key]
                holder[path[-1]] = value
                (copy / name).write_text(json.dumps(changed))
                yield f"{name}, {'.'.join(path)} = {value!r}", copy
        shutil.copy(directory / name, copy / name)


def _fields(content: dict[str, Any], name: str) -> Iterator[tuple[str, ...]]:
    for key, value in content.items():
        if name == "tokenizer.json" and key not in _PARTS_OF_TOKENIZERS:
            continue
        yield (key,)
        if key == "backbone_config" and isinstance(value, dict):
            for inner in value:
                yield key, inner
