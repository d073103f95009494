"""What a distillation starts from: the same in each of its processes."""

from jobs.configs.distill import DistillConfig
from jobs.driver.compatibility import check_labels_match_model
from jobs.driver.distill_metrics import DistillationJob
from model.checkpoints.fingerprint import checkpoint_hash
from model.checkpoints.loading import load_classifier, load_tokenizer
from model.engine.execution import Execution
from model.errors import EnvironmentMismatchError
from model.fastbert import FastBertForSequenceClassification
from model.network.branch_design import BranchDesign
from model.training.distillation_config import KlDirection
from model.training.ranks import Ranks
from pipeline.contract.job import differences
from pipeline.contract.typed_json import as_plain
from pipeline.reading.remote_checkpoints import find_checkpoint
from pipeline.results.soft_labels import SoftLabels


def load_fresh_fastbert(config: DistillConfig, labels: SoftLabels) -> FastBertForSequenceClassification:
    """Return the backbone with fresh branches, checked against the soft labels.

    Raises:
        CheckpointError: if it cannot be loaded, or has other labels.
    """
    directory = find_checkpoint(config.backbone)
    backbone, tokenizer = load_classifier(directory), load_tokenizer(directory)
    model = FastBertForSequenceClassification.from_backbone(
        backbone,
        tokenizer,
        max_length=labels.max_length,
        branch_design=BranchDesign(config.branch),
        seed=config.seed,
    )
    check_labels_match_model(model, config.backbone, labels)
    return model


def describe_job(config: DistillConfig, labels: SoftLabels, execution: Execution) -> DistillationJob:
    """Return all that the weights depend on."""
    return DistillationJob(
        labels=labels.fingerprints,
        backbone=checkpoint_hash(find_checkpoint(config.backbone)),
        epochs=config.distillation.epochs,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        branch=BranchDesign(config.branch),
        seed=config.seed,
        kl_direction=KlDirection(config.kl_direction),
        hard_label_weight=config.hard_label_weight,
        lexical_size=config.lexical_size,
        precision=execution.precision,
        backend=execution.backend,
    )


def check_same_job(job: DistillationJob, ranks: Ranks) -> None:
    """Refuse a process that trains on, or computes, something else than the first.

    Raises:
        EnvironmentMismatchError: naming what differs.
    """
    first = ranks.from_first(job)
    if job != first:
        differing = differences(as_plain(job), as_plain(first))
        raise EnvironmentMismatchError(
            f"process {ranks.rank} of {ranks.size} would not train as the first: they differ in {differing}"
        )
