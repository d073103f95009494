"""A job over very many files: its driver's memory is bounded, and so is what it asks of the storage."""

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.contract.job import JobDescription
from tests.many_files import CORPUS, ManyFiles
from tests.pipeline.contract.score_jobs import Store, store

__all__ = ["store"]

# A hundred million rows; `python -m drills plan` has a thousand million.
FILES = 10_000
TRACED_FILES = 1_000
# Of a file, its work item and its shard: what stays, and what a step takes besides.
MOST_BYTES_KEPT, MOST_BYTES_MORE = 2_500, 5_000
# Whatever the number of files: listings, the description, the manifest.
MOST_REQUESTS_BESIDES = 12
# What a step asks for of each file.
OF_A_FILE = {
    "list and inspect": {"open input": 1, "checksum input": 2},
    "resume scan": {"open .parquet": 1},
    "commit": {"open .parquet": 1},
    "claim what is finished": {"open .parquet": 1},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, store: dict[str, bytes]) -> Counter[str]:
    """How often the store is asked for what."""
    counts: Counter[str] = Counter()

    def count(name: str) -> None:
        method = getattr(Store, name)

        def counted(self: Store, path: str, *args: Any, **kwargs: Any) -> Any:
            kind = "input" if path.startswith(CORPUS) else Path(path).suffix
            counts[f"{name} {kind}"] += 1
            return method(self, path, *args, **kwargs)

        monkeypatch.setattr(Store, name, counted)

    for name in ("open", "exists", "checksum", "_list"):
        count(name)
    return counts


@pytest.fixture
def traced() -> Iterator[None]:
    """Memory is counted meanwhile."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.no_cover
def test_each_step_asks_for_a_file_once_and_for_little_else(asked: Counter[str]):
    files = ManyFiles(FILES)
    for name, step in files.steps.items():
        asked.clear()
        step()
        of_files = {what: FILES * times for what, times in OF_A_FILE.get(name, {}).items()}
        asked.subtract(of_files)
        # Of very few a plan or a source is read besides.
        assert all(0 <= more <= MOST_REQUESTS_BESIDES for more in asked.values()), (name, asked)


def memory_of_steps() -> dict[str, tuple[int, int]]:
    """How many bytes stay after each step, and how many it took at most."""
    files = ManyFiles(TRACED_FILES)
    before, _ = tracemalloc.get_traced_memory()
    taken = {}
    for name, step in files.steps.items():
        at_first, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        step()
        kept, peak = tracemalloc.get_traced_memory()
        taken[name] = kept - before, peak - at_first
    return taken


@pytest.mark.no_cover
def test_memory_is_bounded_by_a_few_thousand_bytes_a_file(store: dict[str, bytes], traced: None):
    """Twice, of which the less counts: what the whole process takes is traced.

    A table of the interpreter that grows by megabytes at once, as that of its strings does after
    thousands of other tests, grows so once.
    """
    first = memory_of_steps()
    store.clear()
    for name, (kept, more) in memory_of_steps().items():
        assert min(kept, first[name][0]) < TRACED_FILES * MOST_BYTES_KEPT, name
        assert min(more, first[name][1]) < TRACED_FILES * MOST_BYTES_MORE, name


def test_the_description_is_made_no_oftener_for_many_files(
    store: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
):
    as_json = JobDescription.as_json
    made: list[int] = []

    def spy(description: JobDescription) -> dict[str, object]:
        made.append(len(description.inputs))
        return as_json(description)

    monkeypatch.setattr(JobDescription, "as_json", spy)
    of_number = {}
    for num_files in (2, 40):
        store.clear()
        made.clear()
        for step in ManyFiles(num_files).steps.values():
            step()
        of_number[num_files] = len(made)
    assert of_number[2] == of_number[40] <= 5
