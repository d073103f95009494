"""Run the quickstart and put its real output into docs/tutorial.md: `make tutorial`.

The page that its audit leaves is pictured in README.md.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.audit_picture import AUDIT_PAGE, PICTURE, take_picture

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.md"
SHOW_ROWS = 'import pandas as pd; print(pd.read_parquet("quickstart/scores-max-disagreement-0.01").loc[:1].T)'
# The block of the tutorial that each step of the quickstart fills: a word of the step's command line.
STEPS = {
    "finetune": "finetune",
    "label-teacher": "label-teacher",
    "distill": "distill",
    "calibrate": "",
    "score": "--max-disagreement 0.01",
    "audit": "scores-max-disagreement-0.01 ",
}


def main() -> None:
    with tempfile.TemporaryDirectory() as work_dir:
        quickstart = subprocess.run(
            [Path(sys.executable).parent / "fastbert-jobs", "quickstart"],
            cwd=work_dir,
            env={**os.environ, "COLUMNS": "100"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        rows = subprocess.run(
            [sys.executable, "-c", SHOW_ROWS], cwd=work_dir, stdout=subprocess.PIPE, text=True, check=True
        )
        take_picture(Path(work_dir, "quickstart") / AUDIT_PAGE, PICTURE)
    text = TUTORIAL.read_text(encoding="utf-8")
    TUTORIAL.write_text(fill(text, quickstart.stdout, rows.stdout), encoding="utf-8")


def fill(tutorial: str, output: str, rows: str) -> str:
    """Return the tutorial with every output block replaced by a step's output.

    Args:
        tutorial: text with blocks between `<!-- output of: STEP -->` and `<!-- /output -->`.
        output: what the quickstart printed.
        rows: what `SHOW_ROWS` printed.
    """
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
        block = f"<!-- output of: {name} -->\n```text\n{lines}\n```\n<!-- /output -->"
        # A function, since a string's backslashes would be taken for escapes.
        tutorial = re.sub(
            rf"<!-- output of: {name} -->\n.*?<!-- /output -->",
            lambda _, block=block: block,
            tutorial,
            flags=re.DOTALL,
        )
    return tutorial


if __name__ == "__main__":
    main()
