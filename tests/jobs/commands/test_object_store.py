"""Every command on an object store, where every path is a URL."""

from pathlib import Path

import pytest

from tests.job_fixtures import CommandLine, make_texts
from tests.jobs.driver.dataflow_service import Bucket, bucket

__all__ = ["bucket"]


def test_the_whole_line_on_a_bucket(bucket: Bucket, command: CommandLine, teacher: Path):
    lines = ["text", *make_texts(600, seed=3)]
    rows = bucket.write("in/rows.tsv", "\n".join(lines).encode())
    backbone, labels, model = bucket.upload(teacher, "teacher"), f"{bucket.url}/labels", f"{bucket.url}/mine"
    text = ["--input", rows, "--text-column", "text", "--precision", "fp32"]
    command(
        "label-teacher", *text, "--teacher", backbone, "--output", labels, "--calibration-fraction", "0.5"
    )
    train = ["--labels", labels, "--backbone", backbone, "--output", model, "--epochs", "1"]
    command("distill", *train, "--lexical-size", "0", "--precision", "fp32")
    assert {"config.json", "model.safetensors", "metrics.json"} <= bucket.files("mine").keys()
    assert "exists already; choose another --output" in command.refused("distill", *train)
    out = command("calibrate", "--model", model, "--labels", labels, "--precision", "fp32")
    assert f"--model {model}" in out
    assert {"calibration.json", "calibration.parquet"} <= bucket.files("mine").keys()
    scores = f"{bucket.url}/scores"
    command("score", *text, "--model", model, "--output", scores, "--max-disagreement", "0.2")
    assert "_MANIFEST.json" in bucket.files("scores")
    assert " rows/s; of the workers' " in command("audit", scores)
    assert {"_audit/exit_stats.parquet", "_audit/audit.html"} <= bucket.files("scores").keys()


def test_what_is_not_in_the_bucket_is_one_line(bucket: Bucket, command: CommandLine, fastbert: Path):
    rows = bucket.write("in/rows.tsv", b"text\na\n")
    model = bucket.upload(fastbert, "fastbert")
    line = ["--text-column", "text", "--speed", "0.5", "--output", f"{bucket.url}/out"]
    url = f"{bucket.url}/none"
    found = command.refused("score", "--input", rows, "--model", url, *line)
    assert found == f"{url!r} is no model directory: it has no config.json"
    assert url in command.refused("score", "--input", f"{url}/rows.tsv", "--model", model, *line)
    assert "_JOB.json" not in bucket.files("out")
    assert f"{url!r}" in command.refused("audit", url)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--output": "gs://no-such-bucket/out"}, "No such file or directory: 'gs://no-such-bucket/out"),
        ({"--model": "gs://no-such-bucket/m"}, "the checkpoint 'gs://no-such-bucket/m' cannot be copied: "),
        (
            {"--input": "gs://no-such-bucket/in.tsv"},
            "gs://no-such-bucket/in.tsv: cannot be read: No such",
        ),
        ({"--output": "gs://UPPER_/out"}, "Bucket names must start and end with a number or letter"),
        ({"--output": "gs://"}, "'gs://' cannot be used: it names no bucket and no directory"),
        ({"--model": "gs://"}, "'gs://' cannot be used: it names no bucket and no directory"),
        ({"--input": "gs://"}, "no file matches 'gs://'"),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_place_that_is_not_there_is_one_line(
    bucket: Bucket, command: CommandLine, fastbert: Path, changed: dict[str, str], message: str,
    dry: list[str],
):  # fmt: skip
    place = {
        "--input": bucket.write("in/rows.tsv", b"text\na\n"),
        "--model": str(fastbert),
        "--output": f"{bucket.url}/out",
        **changed,
    }
    words = [word for pair in place.items() for word in pair]
    assert message in command.refused("score", *words, "--text-column", "text", "--speed", "0.5", *dry)
    assert bucket.names() == ["in/rows.tsv"]
