"""Configuration of `quickstart`."""

from dataclasses import dataclass

from jobs.configs.options import Output, Seed

POLICIES = (
    "--speed 0",
    "--max-disagreement 0.005",
    "--max-disagreement 0.01",
    "--max-disagreement 0.02",
    "--target-speedup 2",
    "--target-speedup 3",
    "--speed 0.5",
)


@dataclass(frozen=True, kw_only=True)
class QuickstartConfig:
    """Do all of it on built-in text: five to seven minutes on two cores.

    Attributes:
        output: directory that everything is written to; emptied first if an earlier quickstart made it.
        seed: of everything.
        train_rows: labelled rows to fine-tune with.
        eval_rows: labelled rows to choose the epoch by.
        test_rows: rows to score.
        corpus_rows: most rows for the teacher to label.
        finetune_epochs: passes over the labelled rows.
        distill_epochs: passes over the soft labels, or `auto`.
        num_layers: of the BERT that is trained.
        hidden_size: of the same.
        vocab_size: word pieces.
        max_length: tokens that a text is cut to.
        policies: what to score with, full depth first.
    """

    output: Output = "quickstart"
    seed: Seed = 0
    train_rows: int = 20_000
    eval_rows: int = 2_000
    test_rows: int = 15_000
    corpus_rows: int = 30_000
    finetune_epochs: int = 3
    distill_epochs: str = "auto"
    num_layers: int = 6
    hidden_size: int = 128
    vocab_size: int = 8192
    max_length: int = 48
    policies: tuple[str, ...] = POLICIES
