"""Peak memory of `score` at 100,000 and at 1,000,000 short rows: python benchmarks/memory.py

A tiny random model, so that it runs in minutes; each job in a process of its own. Prints both peaks and their
ratio for Parquet in one row group and for TSV.
"""

import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from jobs.quickstart.tiny_bert import write_tiny_bert
from model.checkpoints.loading import quiet_transformers
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


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        make_model(home)
        for extension in ("parquet", "tsv"):
            peaks = []
            for num_rows in (100_000, 1_000_000):
                path = home / f"{num_rows}.{extension}"
                write_rows(path, num_rows)
                peaks.append(peak_mib(home, path))
                print(f"{extension:8} {num_rows:>9,} rows: {peaks[-1]:,.0f} MiB", flush=True)
            print(f"{extension:8} ratio {peaks[1] / peaks[0]:.3f}", flush=True)


def make_model(home: Path) -> None:
    write_tiny_bert(home / "encoder", WORDS, vocab_size=200, num_layers=3, hidden_size=32, num_heads=2)
    with quiet_transformers():
        classifier = AutoModelForSequenceClassification.from_pretrained(home / "encoder", num_labels=2)
    tokenizer = AutoTokenizer.from_pretrained(home / "encoder")
    model = FastBertForSequenceClassification.from_backbone(classifier, tokenizer, max_length=32)
    model.save_pretrained(home / "fastbert")


def write_rows(path: Path, num_rows: int) -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(3, 9))) + f" {row}" for row in range(num_rows)]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": texts}), path)
    else:
        path.write_text("\n".join(["text", *texts]) + "\n", encoding="utf-8")


def peak_mib(home: Path, path: Path) -> float:
    words = f"score --input {path} --text-column text --model {home}/fastbert --speed 0.9"
    child = subprocess.run(
        [sys.executable, "-c", CHILD, *words.split(), "--output", f"{path}-scores"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(child.stdout.split()[-1]) / 1024


if __name__ == "__main__":
    main()
