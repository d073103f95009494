"""Fill the tables of README.md and docs/ from `benchmarks/*.parquet`: `make performance`.

A table stands between `<!-- table: NAME -->` and `<!-- /table -->`; NAME is a key of `TABLES`. The plots
are made from the same files. tests/test_docs.py checks that what is committed is what these files say.
"""

import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.answers import report as answers
from benchmarks.early_exit import report as early_exit
from benchmarks.exits import report as exits
from benchmarks.families import report as families
from benchmarks.guarantee import report as guarantee
from benchmarks.jobs import report as jobs
from benchmarks.markdown import percent, table
from benchmarks.memory import report as memory
from benchmarks.promise import report as promise
from benchmarks.results import read_results
from benchmarks.rivals import report as rivals
from benchmarks.speed import report as speed
from benchmarks.speed.measurements import medians
from benchmarks.speed.plot import plot
from benchmarks.true_labels import report as true_labels
from tools import scale
from tools.finite_corpus import CORPUS_ROWS, TARGET_CORPUS_ROWS, TEST_ROWS, chance_above, stricter_share

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def _chances() -> str:
    header = ("test rows", *(f"corpus of {rows:,}" for rows in CORPUS_ROWS))
    rows = [
        (f"{tests:,}", *(percent(chance_above(tests, corpus), 0) for corpus in CORPUS_ROWS))
        for tests in TEST_ROWS
    ]
    return table(header, rows)


def _stricter_shares() -> str:
    shares = [percent(stricter_share(corpus)) for corpus in TARGET_CORPUS_ROWS]
    header = ("texts in the corpus", *(f"{corpus:,}" for corpus in TARGET_CORPUS_ROWS))
    return table(header, [("a risk of at most", *shares)])


TABLES: dict[str, Callable[[], str]] = {
    "guarantee data": guarantee.data,
    "guarantee": guarantee.disagreements,
    "target speedup": guarantee.targets,
    "promise data": promise.data,
    "promise": promise.broken,
    "promise saved": promise.saved,
    "promise six": promise.six_promises,
    "promise unit data": promise.unit_data,
    "promise unit": promise.units,
    "memory kinds": memory.kinds,
    "memory": memory.promises,
    "exits summary": exits.summary,
    "exits": exits.designs,
    "exits environment": exits.environment,
    "exits by texts": exits.by_texts,
    "answers": answers.saved,
    "answers environment": answers.environment,
    "answers checks": answers.checks,
    "answers checks data": answers.checks_data,
    "true labels": true_labels.weights,
    "true labels environment": true_labels.environment,
    "rivals summary": rivals.summary,
    "rivals": rivals.systems,
    "speed ratios in words": speed.full_depth_ratios,
    "speed environment": speed.environment,
    "speed gemm": speed.gemm_peaks,
    "speed openvino": speed.openvino,
    "speed ratios": speed.ratios,
    "speed systems": speed.all_systems,
    "speed long texts": speed.long_texts,
    "early exit full depth": early_exit.full_depth,
    "early exit": early_exit.speeds,
    "engines": jobs.engines,
    "families environment": families.environment,
    "families": families.speeds,
    "job rates": jobs.rates,
    "wall clock": jobs.wall_clock,
    "peak memory": jobs.peak_memory,
    "scale work": scale.work,
    "scale jobs": scale.jobs,
    "scale driver": scale.driver,
    "scale storage": scale.storage,
    "finite corpus": _chances,
    "finite corpus stricter": _stricter_shares,
}
_BLOCK = re.compile(r"<!-- table: ([^>]+?) -->\n.*?<!-- /table -->", re.DOTALL)


def _filled(block: re.Match[str]) -> str:
    return f"<!-- table: {block[1]} -->\n{TABLES[block[1]]()}\n<!-- /table -->"


def fill(text: str) -> str:
    """Return a document with every table made anew.

    Raises:
        KeyError: if a marker names no table.
    """
    return _BLOCK.sub(_filled, text)


def main() -> None:
    for path in DOCUMENTS:
        path.write_text(fill(path.read_text(encoding="utf-8")), encoding="utf-8")
    plot(medians(read_results("speed")[0]), IMAGES / "speed.png")
    rivals.plot(IMAGES / "rivals.png")
    (IMAGES / "target_speedup.png").write_bytes(guarantee.target_plot())


if __name__ == "__main__":
    main()
