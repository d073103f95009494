"""Run the quickstart and put its real output into README.md: `make readme`."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
SHOW_ROWS = 'import pandas as pd; print(pd.read_parquet("quickstart/scores-max-disagreement-0.01").loc[:1].T)'
# The block of README.md that each step of the quickstart fills.
STEPS = {
    "finetune": "finetune",
    "label-teacher": "label-teacher",
    "distill": "distill",
    "calibrate": "",
    "score": "--max-disagreement 0.01",
    "audit": "scores-max-disagreement-0.01 ",
}


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [Path(sys.executable).parent / "fastbert-jobs", "quickstart"],
            cwd=home,
            env={**os.environ, "COLUMNS": "100"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        rows = subprocess.run(
            [sys.executable, "-c", SHOW_ROWS], cwd=home, stdout=subprocess.PIPE, text=True, check=True
        )
    README.write_text(fill(README.read_text(encoding="utf-8"), done.stdout, rows.stdout), encoding="utf-8")


def fill(readme: str, output: str, rows: str) -> str:
    """Return README's text with every output block replaced by a step's output."""
    steps = re.split(r"^(?=\$ fastbert-jobs )", output, flags=re.MULTILINE)
    # The last step's output is followed by the closing table.
    *_, closing = steps[-1].split("\n\n", 1)
    blocks = {
        "quickstart": "$ fastbert-jobs quickstart\n...\n" + closing,
        "rows": f"$ python -c '{SHOW_ROWS}'\n{rows}",
    }
    for name, mark in STEPS.items():
        blocks[name] = next(
            step for step in steps if step.startswith(f"$ fastbert-jobs {name}") and mark in step
        )
    for name, text in blocks.items():
        lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
        readme = re.sub(
            rf"<!-- output of: {name} -->\n.*?<!-- /output -->",
            lambda _, name=name, lines=lines: (
                f"<!-- output of: {name} -->\n```text\n{lines}\n```\n<!-- /output -->"
            ),
            readme,
            flags=re.DOTALL,
        )
    return readme


if __name__ == "__main__":
    main()
