"""English text that every installation already has: the docstrings of the packages we depend on.

`corpus` makes a labelled set out of it (which package is this sentence from?) without a network, a licence
question or a file of ours. Nothing is imported: the source files are parsed, so that the text is the same
whatever a package does at import.
"""

import ast
import importlib.util
import inspect
import itertools
import random
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from model.errors import InputError

MIN_WORDS = 5
MAX_WORDS = 40

# Directories whose text is not the package's own, or is about its tests.
_SKIPPED_DIRECTORIES = frozenset({"tests", "test", "_vendor", "vendor", "third_party"})

_FENCE = re.compile(r"^\s*(```|~~~)")
# `.. code-block:: python`; the body of a note or a warning is prose, that of any other directive is not.
_DIRECTIVE = re.compile(r"\.\. ?(?P<name>[\w-]+)::\s*(?P<rest>.*)")
_PROSE_DIRECTIVES = frozenset({"note", "warning", "caution", "important", "tip", "seealso"})
# What opens a paragraph of its own without a blank line: a list item (`- `, `2. `), a field (`:param x:`)
# or a documented parameter (`name:`, `name (int, optional):`).
_ITEM = re.compile(
    r"(?:[-*+•]|\d+[.)]|[:@]\w[^:]*:|[*`]*\w+[*`]*(?: ?\([^()]*(?:\([^()]*\)[^()]*)*\))?:)(?:\s+|$)"
)
# Underlines a title.
_RULE = re.compile(r"^[-=~^*+_#\"']+$")

# In this order: each replaces one kind of markup by what a reader would see of it.
_MARKUP = [
    (re.compile(r"!?\[+([^\[\]]+)\]+\([^()\s]+\)"), r"\1"),  # [text](address)
    (re.compile(r"\[`+~?!?([^`\]]+)`+\]"), r"\1"),  # [`Name`], as transformers writes it
    (re.compile(r":[\w:+.-]+:`~?([^`<]+?)(?:\s*<[^`>]*>)?`"), r"\1"),  # :class:`~torch.Tensor`
    (re.compile(r"`+([^`<]+?)\s*<[^`>]*>`+__?"), r"\1"),  # `text <address>`_
    (re.compile(r"`+([^`]*)`+_?"), r"\1"),  # ``code``, `reference`_
    (re.compile(r"(?<!\w)\*{1,2}([^*\s](?:[^*]*[^*\s])?)\*{1,2}(?!\w)"), r"\1"),  # *emphasis*
    (re.compile(r"\s+"), " "),
]

# A full stop ends a sentence unless it belongs to an abbreviation or an initial.
_SENTENCE_END = re.compile(
    r"(?<=[.!?])(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\betc\.)(?<!\bcf\.)(?<!\bvs\.)(?<!\bal\.)(?<!\b[A-Z]\.)"
    r"\s+(?=[A-Z\"'(\[])"
)
_SENTENCE = re.compile(r"[A-Z].*[.!?]")
_CODE = re.compile(r"[{}<>=|\\^~#$%@`*]|::|__|https?:|\w\(|\.\.|--")
_WORD = re.compile(r"[\"'(\[]*[A-Za-z]+(?:['’/-][A-Za-z]+)*[\"')\].,:;!?]*")
_MIN_SHARE_OF_WORDS = 0.8


def sentences(docstring: str) -> list[str]:
    r"""Split a docstring into its sentences of prose, without code, markup or section headers.

    Args:
        docstring: as it stands in the source; Google, NumPy, reStructuredText or Markdown.

    Returns:
        The sentences of `MIN_WORDS` to `MAX_WORDS` words, in order.

    Example:
        >>> sentences("Adds two :class:`Tensor` objects, element by element.\n\n>>> add(x, y)")
        ['Adds two Tensor objects, element by element.']
    """
    prose: list[str] = []
    for paragraph in _paragraphs(inspect.cleandoc(docstring)):
        for pattern, replacement in _MARKUP:
            paragraph = pattern.sub(replacement, paragraph)
        prose += [sentence for sentence in _SENTENCE_END.split(paragraph.strip()) if _is_prose(sentence)]
    return prose


def docstrings_of(package: str, *, seed: int = 0) -> Iterator[str]:
    """Reads the docstrings of an installed package from its source files, without importing it.

    Files come in an order that follows from their names and `seed` alone: whoever stops early has a
    cross-section of the package, and the same one on every machine.

    Args:
        package: name of a top-level package.
        seed: seeds the order of the files.

    Yields:
        Docstrings of modules, classes and functions.

    Raises:
        InputError: If the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"no docstrings of {package}: no such package is installed")
    root = Path(next(iter(spec.submodule_search_locations)))
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    random.Random(seed).shuffle(files)
    for file in files:
        if _SKIPPED_DIRECTORIES.isdisjoint(file.split("/")):
            yield from _docstrings_in(root / file)


def corpus(packages: Sequence[str], *, max_per_package: int, seed: int) -> list[tuple[str, str]]:
    """Collects distinct sentences, each labelled with the package that it comes from.

    A sentence that two packages share is left out, so that the label is a function of the text.

    Args:
        packages: the packages, which are also the labels.
        max_per_package: at most so many sentences of one package.
        seed: seeds which sentences are taken, and their order.

    Returns:
        `(text, package)` pairs, shuffled; the same for the same versions of the packages.
    """
    texts_by_package = {
        name: _distinct_sentences(name, limit=max_per_package, seed=seed) for name in packages
    }
    rows = [(text, name) for name, texts in texts_by_package.items() for text in texts]
    num_packages = Counter(text.casefold() for text, _ in rows)
    rows = [(text, name) for text, name in rows if num_packages[text.casefold()] == 1]
    random.Random(seed).shuffle(rows)
    return rows


def _distinct_sentences(package: str, *, limit: int, seed: int) -> list[str]:
    every = (text for docstring in docstrings_of(package, seed=seed) for text in sentences(docstring))
    return list(itertools.islice(_distinct(every), limit))


def _distinct(texts: Iterable[str]) -> Iterator[str]:
    # A lower-casing tokenizer makes the same of texts that differ in case only.
    seen = set()
    for text in texts:
        if (key := text.casefold()) not in seen:
            seen.add(key)
            yield text


def _docstrings_in(file: Path) -> Iterator[str]:
    source = file.read_bytes()
    if b'"""' not in source and b"'''" not in source:  # parsing is what takes the time
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(source)
    except (SyntaxError, ValueError):  # templates and files for another Python
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring:
                yield docstring


def _paragraphs(text: str) -> Iterator[str]:
    """Joins the wrapped lines of each paragraph, list item and parameter; leaves code out."""
    lines: list[str] = []
    indent = 0
    hanging = False  # the line before opened an item, whose further lines may be indented
    for line in _without_code(text.expandtabs().splitlines()):
        stripped = line.strip()
        item = _ITEM.match(stripped)
        new_indent = len(line) - len(line.lstrip())
        # A change of indentation parts NumPy's `name : type` from the description below it.
        if item or not stripped or _RULE.fullmatch(stripped) or (new_indent != indent and not hanging):
            yield " ".join(lines)
            lines = []
        lines.append(stripped[item.end() :] if item else _RULE.sub("", stripped))
        indent, hanging = new_indent, item is not None
        if stripped.endswith(":"):  # words that lead to an example
            yield " ".join(lines)
            lines = []
    yield " ".join(lines)


def _without_code(lines: Iterable[str]) -> Iterator[str]:
    """Blanks fenced, literal and doctest blocks and the directives of reStructuredText."""
    fenced = False
    body_of: int | None = None  # indentation of the line whose indented body is being skipped
    for line in lines:
        indent = len(line) - len(line.lstrip())
        directive = _DIRECTIVE.match(line.strip())
        if _FENCE.match(line):
            fenced = not fenced
        elif fenced or not line.strip() or (body_of is not None and indent > body_of):
            pass
        elif directive:
            is_prose = directive["name"] in _PROSE_DIRECTIVES
            body_of = None if is_prose else indent
            yield ""
            yield directive["rest"] if is_prose else ""
            continue
        elif not line.lstrip().startswith((">>>", "...")):
            body_of = indent if line.rstrip().endswith("::") else None
            yield line
            continue
        yield ""


def _is_prose(sentence: str) -> bool:
    words = sentence.split()
    if not MIN_WORDS <= len(words) <= MAX_WORDS:
        return False
    if not _SENTENCE.fullmatch(sentence) or _CODE.search(sentence):
        return False
    return sum(1 for word in words if _WORD.fullmatch(word)) >= _MIN_SHARE_OF_WORDS * len(words)
