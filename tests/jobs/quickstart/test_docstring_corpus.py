import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from jobs.quickstart.docstring_corpus import MAX_WORDS, MIN_WORDS, corpus, docstrings_of, sentences
from model.errors import InputError

CLASS = '''
class C:
    """A {thing} is a thing of some use."""
    async def f(self):
        """Return the {thing} that was found first."""
'''


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two installed packages: `fruits_for_test` and `tools_for_test`, which share one sentence."""
    monkeypatch.syspath_prepend(tmp_path)
    write_package(tmp_path, "fruits_for_test", "apple", "pear", "plum", "cherry")
    write_package(tmp_path, "tools_for_test", "hammer", "saw", "plane", "file")
    return tmp_path


def write_package(root: Path, package: str, *things: str) -> None:
    (root / package / "inner").mkdir(parents=True)
    about = (
        f"Everything about the things in {package.split('_')[0]}.\n\nBoth packages say the very same thing."
    )
    (root / package / "__init__.py").write_text(f'"""{about}"""\nraise RuntimeError("imported")\n')
    for thing in things:
        source = CLASS.format(thing=thing)
        (root / package / "inner" / f"{thing}.py").write_text(source)


def test_wrapped_lines_are_joined_and_paragraphs_are_not() -> None:
    docstring = """Summary line without a full stop at its end

    This sentence is wrapped
    over three lines
    of text. Here is one more in the paragraph.
    """
    assert sentences(docstring) == [
        "This sentence is wrapped over three lines of text.",
        "Here is one more in the paragraph.",
    ]


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        (
            "Uses the ``fast`` path for :class:`~torch.Tensor` inputs.",
            "Uses the fast path for torch.Tensor inputs.",
        ),
        ("See :ref:`the manual <manual>` for a longer text.", "See the manual for a longer text."),
        ("Read `the guide <https://a.b>`_ for a longer text.", "Read the guide for a longer text."),
        ("A [`BertModel`] with [a link](https://a.b/c) in it.", "A BertModel with a link in it."),
        ("This is **very** important for *all* of us.", "This is very important for all of us."),
        (
            "The formats are many, e.g. Parquet is one of them.",
            "The formats are many, e.g. Parquet is one of them.",
        ),
    ],
)
def test_markup_is_replaced_by_what_a_reader_sees(markup: str, text: str) -> None:
    assert sentences(markup) == [text]


@pytest.mark.parametrize(
    "block",
    [
        ">>> print('Some words that are code.')\nSome words that are code.",
        "```python\nThis line is inside of a fence.\n```",
        "Example::\n\n    This line is in a literal block.\n\n    So is this one after it.",
        ".. code-block:: python\n\n    This line is in a code block.",
        ".. math::\n    This line is in a formula block.",
        "    ========  =========\n    Column A  Column B\n    ========  =========",
        "x = compute(the, value, of, this) {or not}.",
    ],
)
def test_code_is_left_out(block: str) -> None:
    docstring = f"The first sentence is a good one.\n\n{block}\n\nThe last sentence is a good one."
    found = sentences(docstring)
    assert found[0] == "The first sentence is a good one."
    assert found[-1] == "The last sentence is a good one."
    assert [sentence for sentence in found[1:-1] if sentence != "Some words that are code."] == []


def test_notes_are_prose() -> None:
    assert sentences(".. note:: The body of a note\n    is a sentence as well.") == [
        "The body of a note is a sentence as well."
    ]


def test_sentences_before_a_colon_are_kept() -> None:
    docstring = "The first sentence is a good one. It leads to\nan example as follows:\n\n    f(x)"
    assert sentences(docstring) == ["The first sentence is a good one."]


def test_headers_and_names_of_parameters_are_left_out() -> None:
    docstring = """Args:
        size (int, optional): The size of the thing
            that is to be made.
        name (`str`, *optional*, defaults to `"x"`):
            The name of the thing in question.
        :param flag: Whether or not to do it.

    Parameters
    ----------
    axis : int
        The axis along which to go.
    Returns
    -------
    DataFrame
        The frame with all of it.

    Returns:
        The thing that was made here.
    """
    assert sentences(docstring) == [
        "The size of the thing that is to be made.",
        "The name of the thing in question.",
        "Whether or not to do it.",
        "The axis along which to go.",
        "The frame with all of it.",
        "The thing that was made here.",
    ]


def test_length_is_bounded() -> None:
    def of(num_words: int) -> str:
        return " ".join(["Word"] * num_words) + "."

    assert sentences(of(MIN_WORDS)) == [of(MIN_WORDS)]
    assert sentences(of(MAX_WORDS)) == [of(MAX_WORDS)]
    assert sentences(of(MIN_WORDS - 1)) == sentences(of(MAX_WORDS + 1)) == []


def test_nothing_is_imported(packages: Path) -> None:
    assert len(list(docstrings_of("fruits_for_test"))) == 1 + 2 * 4
    assert "fruits_for_test" not in sys.modules


def test_files_that_do_not_parse_and_tests_are_skipped(packages: Path) -> None:
    before = sorted(docstrings_of("fruits_for_test"))
    (packages / "fruits_for_test" / "template.py").write_text('"""Template."""\n{{ name }} = = 1\n')
    (packages / "fruits_for_test" / "latin.py").write_bytes(b'"""Gr\xfc\xdfe."""\n')
    (packages / "fruits_for_test" / "escape.py").write_text("x = \"\\d\"\n'''A docstring it is not.'''\n")
    (packages / "fruits_for_test" / "tests").mkdir()
    (packages / "fruits_for_test" / "tests" / "test_it.py").write_text('"""A test is not prose of it."""\n')
    assert sorted(docstrings_of("fruits_for_test")) == before


def test_missing_package_is_named() -> None:
    with pytest.raises(InputError, match="no_such_package"):
        next(docstrings_of("no_such_package"))


def test_corpus_is_labelled_distinct_and_free_of_shared_sentences(packages: Path) -> None:
    rows = corpus(["fruits_for_test", "tools_for_test"], max_per_package=100, seed=0)
    texts = [text for text, _ in rows]
    assert len(set(texts)) == len(texts)
    assert "Both packages say the very same thing." not in texts
    assert Counter(label for _, label in rows) == {"fruits_for_test": 9, "tools_for_test": 9}
    assert ("A pear is a thing of some use.", "fruits_for_test") in rows


def test_corpus_is_capped_by_package_and_seeded(packages: Path) -> None:
    names = ["fruits_for_test", "tools_for_test"]
    rows = corpus(names, max_per_package=4, seed=1)
    assert max(Counter(label for _, label in rows).values()) <= 4
    assert rows == corpus(names, max_per_package=4, seed=1)
    assert rows != corpus(names, max_per_package=4, seed=2)


def test_corpus_does_not_depend_on_the_hash_seed(packages: Path) -> None:
    names = ["fruits_for_test", "rich"]
    program = (
        "from jobs.quickstart.docstring_corpus import corpus\n"
        f"print(corpus({names}, max_per_package=30, seed=0))"
    )
    printed = set()
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": f"{packages}:{Path.cwd()}"}
        run = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True
        )
        printed.add(run.stdout)
    assert len(printed) == 1
