"""Peak memory of `score` on corpora of growing size.

    python -m benchmarks.jobs.peak_memory [--rows 100000 1000000]

A tiny random model, so that it runs in minutes; each job in a process of its own, Parquet in one row group
and TSV. Writes a Parquet file; `make performance` makes the table from it. Other corpora's rows in that file
(AG News, other sizes of oneDNN's kernel cache) were measured by hand with the same child; they are kept.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.results import RESULTS, read_file, write_rows
from jobs.quickstart.tiny_bert import write_tiny_bert
from model.checkpoints.loading import silence_transformers
from model.engine.kernel_cache import KEPT_BY_ONEDNN
from model.fastbert import FastBertForSequenceClassification

# VmHWM and not ru_maxrss: that one carries the parent's peak over exec.
CHILD = """
import re, sys
from pathlib import Path
from jobs.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    assert not stop.code, stop.code
print("peak", re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""
WORDS = [a + b for a in ("ba", "co", "di", "fu", "ge") for b in ("la", "mo", "ni", "ru", "te")]


TEXTS = "random short texts, 3 layers of 32"
FORMATS = {"parquet": "Parquet, one row group", "tsv": "TSV"}
PRECISION = "bf16"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--output", type=Path, default=RESULTS / "peak_memory.parquet")
    args = parser.parse_args()
    measured = []
    with tempfile.TemporaryDirectory() as name:
        work_dir = Path(name)
        make_model(work_dir)
        for extension in args.formats:
            for num_rows in args.rows:
                path = work_dir / f"{num_rows}.{extension}"
                write_texts(path, num_rows)
                row = {"texts": TEXTS, "format": FORMATS[extension], "rows": num_rows, "precision": PRECISION}
                peak = peak_mib(work_dir, path)
                measured.append({**row, "kernel_cache_capacity": KEPT_BY_ONEDNN, "peak_mib": peak})
                print(measured[-1], flush=True)
    write_rows(args.output, [*measured, *others(args.output, measured)], {"cores": os.cpu_count()})


def others(path: Path, measured: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return the rows of an earlier file that were not measured again."""
    if not path.exists():
        return []
    rows, _ = read_file(path)
    keys = ["texts", "format", "rows", "precision", "kernel_cache_capacity"]
    again = {tuple(row[key] for key in keys) for row in measured}
    earlier = rows.to_dict("records")
    return [row for row in earlier if tuple(row[key] for key in keys) not in again]


def make_model(work_dir: Path) -> None:
    write_tiny_bert(work_dir / "encoder", WORDS, vocab_size=200, num_layers=3, hidden_size=32, num_heads=2)
    with silence_transformers():
        classifier = AutoModelForSequenceClassification.from_pretrained(work_dir / "encoder", num_labels=2)
    tokenizer = AutoTokenizer.from_pretrained(work_dir / "encoder")
    model = FastBertForSequenceClassification.from_backbone(classifier, tokenizer, max_length=32)
    model.save_pretrained(work_dir / "fastbert")


def write_texts(path: Path, num_rows: int) -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(3, 9))) + f" {row}" for row in range(num_rows)]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": texts}), path)
    else:
        path.write_text("\n".join(["text", *texts]) + "\n", encoding="utf-8")


def peak_mib(work_dir: Path, path: Path) -> float:
    words = f"score --input {path} --text-column text --model {work_dir}/fastbert --speed 0.9"
    words += f" --precision {PRECISION}"
    child = subprocess.run(
        [sys.executable, "-c", CHILD, *words.split(), "--output", f"{path}-scores"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(child.stdout.split()[-1]) / 1024


if __name__ == "__main__":
    main()
