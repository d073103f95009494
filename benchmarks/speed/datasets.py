"""The texts of the benchmark: real ones, in a random order that is always the same."""

import csv
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from benchmarks.speed.system import Rows
from pipeline.contract.defaults import default_calibration_fraction
from pipeline.sampling.hash_sampling import HashStream, in_hash_sample, text_hashes


def read_dataset(dataset: str, data: Path, num_rows: int, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return at most `num_rows` texts of a dataset: `sst2`, `dev`, `ag` or `long`."""
    if dataset == "sst2":
        # Of the texts that students and branches come from, those that they were not trained on.
        return unseen(distinct_texts(data / "sst2_glue/train.tsv"))[:num_rows]
    if dataset == "dev":
        return distinct_texts(data / "sst2_glue/dev.tsv")[:num_rows]
    news = distinct_texts(data / "ag_news/test.tsv")
    return news[:num_rows] if dataset == "ag" else concatenate(news, num_rows, tokenizer)


def distinct_texts(path: Path) -> list[str]:
    """Return the texts of a file, each once: `score` would run equal ones once, others would not."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        texts = list(dict.fromkeys(row["text_a"] for row in rows))
    return [texts[index] for index in np.random.default_rng(0).permutation(len(texts))]


def unseen(texts: list[str]) -> list[str]:
    """Return the texts that `label-teacher`, with its defaults, sets aside for calibration."""
    fraction = default_calibration_fraction(len(texts))
    is_unseen = in_hash_sample(text_hashes(texts), fraction, HashStream.CALIBRATION)
    return [text for text, keep in zip(texts, is_unseen, strict=True) if keep]


def concatenate(texts: list[str], num_rows: int, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return long texts: one after another of `texts` until there are enough tokens, 256 or more."""
    lengths = Rows(texts, tokenizer, 512).tokenized.lengths
    rng = np.random.default_rng(0)
    long_texts: list[str] = []
    first = stop = 0
    while len(long_texts) < num_rows and stop < len(texts):
        enough = rng.integers(256, 480)
        while stop < len(texts) and lengths[first:stop].sum() < enough:
            stop += 1
        long_texts.append(" ".join(texts[first:stop]))
        first = stop
    return long_texts
