"""The texts that a teacher was fine-tuned on, which calibrate nothing: it remembers them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.reading.inputs import Inputs
from pipeline.reading.labelled_texts import read_rows
from pipeline.sampling.distinct_texts import DistinctTexts
from pipeline.sampling.training_hashes import read_teacher_texts


@dataclass(frozen=True, kw_only=True)
class TeacherTexts:
    """What is known of these texts.

    Attributes:
        hashes: of all that are known.
        is_known: whether anything says what the teacher was fine-tuned on; where nothing does, no hash is
            known either.
    """

    hashes: frozenset[bytes]
    is_known: bool

    @classmethod
    def of(cls, directory: Path, training_inputs: Inputs | None) -> TeacherTexts:
        """Find out what there is to know.

        Args:
            directory: of the teacher, where `finetune` leaves what it trained on.
            training_inputs: files of further texts that the teacher was fine-tuned on; read to their ends.

        Raises:
            ArtifactError: if what the teacher says is damaged.
            InputError: if a file cannot be read.
        """
        remembered = read_teacher_texts(directory)
        given: set[bytes] = set()
        if training_inputs is not None:
            for _, rows, _ in read_rows(training_inputs):
                given.update(DistinctTexts.of(rows).hashes)
        return cls(
            hashes=frozenset(given | (remembered or frozenset())),
            is_known=remembered is not None or training_inputs is not None,
        )

    @cached_property
    def digest(self) -> str:
        """Tells them apart from others: a SHA-256 in hexadecimal, empty where no text is known."""
        return hashlib.sha256(b"".join(sorted(self.hashes))).hexdigest() if self.hashes else ""
