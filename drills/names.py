"""Names that would do something: to a terminal, to a shell's globs, to a reader of markup."""

import json
import shutil
import unicodedata
from pathlib import Path

from drills.forked import run
from drills.home import Home
from drills.report import Report
from tests.job_fixtures import make_texts, snapshot, write_csv

HOSTILE = (
    "\x1b[31mred", "\x1b]0;title\x07", "a\nb", "a\rb", "\u202egnirts", "[/b]", "[bold]x[/bold]",
    "<script>x</script>", "scores*", "scores?", "scores[1]", "-leading", "~", "$HOME", "a b", "%s", "{0}",
    "\u200b", ":smile:", "caf\u00e9", "x" * 200,
)  # fmt: skip
# Letters that turn the order of writing round.
_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def drill_names(home: Home, scratch: Path) -> Report:
    """Give files, columns, outputs and labels hostile names: taken literally, and shown harmlessly."""
    report = Report("hostile names")
    neighbours = ("scores", "scores1", "scores-2024", "x", "a")
    for place, name in enumerate(HOSTILE):
        directory = scratch / str(place)
        directory.mkdir()
        file_name = name.replace("/", "_")
        for each in neighbours:
            shutil.copytree(home.path / "scores", directory / each)
        before = {each: snapshot(directory / each) for each in neighbours if each != file_name}
        texts = make_texts(30)
        path = write_csv(directory / f"{file_name}.csv", {name: texts, "k": texts})
        model = _with_label(home.path / "fastbert", directory / "model", name)
        score = (
            "score", f"--input={path}", f"--text-column={name}", f"--keep={name}", "--model", model,
            "--speed", 0.5, f"--output={directory / file_name}",
        )  # fmt: skip
        for words in (score, (*score, "--overwrite"), ("audit", directory / file_name)):
            ended = run(words, scratch / "log")
            shown = ended.output.replace("\n", "")
            is_harmless = not any(unicodedata.category(each) == "Cc" or each in _TURNING for each in shown)
            what = f"{words[0]} with {name!r}: {ended.status}, {ended.last_line!r} (harmless: {is_harmless})"
            # A name that a kept column may not have is refused, and every other works.
            report.check(is_harmless and not ended.status, what)
        same = {each: snapshot(directory / each) for each in before} == before
        report.check(same, f"the neighbours of {name!r} were touched")
        shutil.rmtree(directory)
    return report


def _with_label(model: Path, copy: Path, name: str) -> Path:
    """Copy a FastBERT, and give its first label another name."""
    shutil.copytree(model, copy)
    config = json.loads((copy / "config.json").read_text())
    for each in (config, config["backbone_config"]):
        old = each["id2label"]["0"]
        each["id2label"]["0"] = name
        each["label2id"] = {
            name if label == old else label: place for label, place in each["label2id"].items()
        }
    (copy / "config.json").write_text(json.dumps(config))
    return copy
