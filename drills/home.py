"""Tiny models, texts and outputs that the drills' commands work with, in a directory of their own."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from drills.forked import Words, in_child, run
from tests.job_fixtures import LABELS, MAX_LENGTH, make_texts, write_classifier, write_fastbert, write_tsv

Files = dict[str, bytes]
NUM_ROWS = 240


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command whose output must be the same, however often it was killed on the way.

    Attributes:
        words: of its line, without the output.
        again: what a rerun's has besides.
        as_compared: what of the files in the output must be equal.
        first: of a job that is done in steps, what the lines of those before this one have besides.
        step: what this one has.
        then: what those after it have.
    """

    words: Words
    again: Words = ()
    as_compared: Callable[[Files], object] = dict
    first: tuple[Words, ...] = ()
    step: Words = ()
    then: tuple[Words, ...] = ()

    @property
    def name(self) -> str:
        """What it is called."""
        return " ".join(map(str, (self.words[0], *self.step[:1])))


@dataclass(frozen=True)
class Home:
    """A directory with a teacher, labels, a FastBERT, a calibration and scores."""

    path: Path

    @classmethod
    def make(cls, path: Path) -> "Home":
        """Fill an empty directory, all of it in children: who forks must not have computed before."""
        home = cls(path)
        texts = make_texts(NUM_ROWS)
        labels = [LABELS[len(text) % len(LABELS)] for text in texts]
        write_tsv(path / "rows.tsv", {"text": [*texts, "", " "]})
        write_tsv(path / "labelled.tsv", {"text": texts, "label": labels})
        in_child(lambda: write_fastbert(path / "fastbert", write_classifier(path / "teacher")), path / "log")
        for name, output in (("label-teacher", "labels"), ("calibrate", "calibration"), ("score", "scores")):
            ended = run((*home.commands[name].words, "--output", path / output), path / "log")
            if ended.status:
                raise RuntimeError(f"{name} failed: {ended.output}")
        return home

    @cached_property
    def commands(self) -> dict[str, Command]:
        """Every command that writes, by name."""
        path = self.path
        rows = ("--input", path / "rows.tsv", "--text-column", "text", "--rows-per-shard", 40)
        training = ("--epochs", 1, "--batch-size", 16)
        made = (
            Command(
                words=("label-teacher", *rows, "--teacher", path / "teacher", "--calibration-fraction", 0.4),
            ),
            Command(
                words=("distill", "--labels", path / "labels", "--backbone", path / "teacher", *training),
                again=("--resume",),
            ),
            Command(
                words=("calibrate", "--model", path / "fastbert", "--labels", path / "labels"),
                as_compared=_but_for_what_is_timed,
            ),
            Command(words=("score", *rows, "--model", path / "fastbert", "--speed", 0.7)),
            Command(
                words=(
                    "finetune", "--input", path / "labelled.tsv", "--text-column", "text", "--label-column",
                    "label", "--model", path / "teacher", "--max-length", MAX_LENGTH, *training,
                ),
                again=("--resume",),
            ),
        )  # fmt: skip
        return {command.name: command for command in made}

    @cached_property
    def steps(self) -> dict[str, Command]:
        """Every step of a job that is done in parts, by name."""
        plan, finish = ("--plan-only",), ("--finish",)
        all_items, some, others = (("--items", items) for items in ("0:", "0:2", "2:"))
        order = {
            plan: ((), (all_items, finish)),
            some: ((plan,), (others, finish)),
            finish: ((plan, all_items), ()),
        }
        made = (
            replace(self.commands[name], first=first, step=step, then=then, as_compared=_but_for_the_plan)
            for name in ("label-teacher", "score")
            for step, (first, then) in order.items()
        )
        return {command.name: command for command in made}


def _but_for_the_plan(files: Files) -> object:
    """Return what a job in one step leaves too."""
    return {name: content for name, content in files.items() if name != "_PLAN.parquet"}


def _but_for_what_is_timed(files: Files) -> object:
    """Return a calibration's rows, and what its other file tells of; what a branch costs is timed."""
    return files.get("calibration.parquet"), json.loads(files.get("calibration.json", b"{}")).keys()
