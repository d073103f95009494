import random
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import execute
from jobs.configs.quickstart import POLICIES, QuickstartConfig
from jobs.quickstart.command import run
from model.errors import OutputError, ParameterError
from tests.job_fixtures import WORDS, snapshot


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> QuickstartConfig:
    """A quickstart of few sentences, each told apart by its first word."""
    draw = random.Random(0)
    halves = {"one": WORDS[:10], "two": WORDS[10:]}
    rows = [
        (" ".join(draw.choices(words, k=6)) + f" {number}", label)
        for number in range(900)
        for label, words in halves.items()
    ]

    def corpus(*_: Any, **__: Any) -> list[tuple[str, str]]:
        return rows

    monkeypatch.setattr("jobs.quickstart.docstring_corpus.corpus", corpus)
    return QuickstartConfig(
        output=str(tmp_path / "quick"), train_rows=100, eval_rows=40, test_rows=400, corpus_rows=1500,
        finetune_epochs=2, distill_epochs="1", num_layers=3, hidden_size=64, vocab_size=100, max_length=12,
        policies=(*POLICIES[:4], "--target-speedup 1.05", POLICIES[-1]),
    )  # fmt: skip


def test_the_whole_line_runs(config: QuickstartConfig, capsys: pytest.CaptureFixture[str]):
    results = run(config, execute)
    assert [result.policy for result in results] == list(config.policies)
    full, *others = results
    assert (full.mean_exit_layer, full.agreement) == (3.0, 1.0)
    assert full.saved_compute == pytest.approx(1.0)
    assert all(0 <= result.mean_exit_layer <= 3 for result in others)
    assert all(0 <= result.agreement <= 1 for result in others)
    out = capsys.readouterr().out
    for name in ("finetune", "label-teacher", "distill", "calibrate", "score", "audit"):
        assert f"$ fastbert-jobs {name} " in out
    assert "400 rows, 3 layers" in out
    assert (
        "saved compute: full depth's FLOPs over these, real text lengths, attention and branches counted"
        in (" ".join(out.split()))
    )
    assert "next: fastbert-jobs label-teacher" in out


def test_it_replaces_an_earlier_quickstart_and_nothing_else(config: QuickstartConfig, tmp_path: Path):
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "mine").write_text("mine")
    with pytest.raises(OutputError, match="exists and is no quickstart's; choose another `output`"):
        run(config, execute)
    assert snapshot(tmp_path) == {"quick/mine": b"mine"}


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("/proc/nope/x", "'/proc/nope/x' cannot be written: "),
        ("gs://bucket/x", "'gs://bucket/x' is no local directory"),
    ],
)
def test_an_output_that_cannot_be_made_is_one_line(output: str, message: str):
    with pytest.raises(OutputError, match=message) as caught:
        run(QuickstartConfig(output=output), execute)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_that_is_none_is_refused_before_anything_is_made(tmp_path: Path, seed: int):
    with pytest.raises(ParameterError, match=f"`seed` {seed} is not between"):
        run(QuickstartConfig(output=str(tmp_path / "quick"), seed=seed), execute)
    assert not list(tmp_path.iterdir())
