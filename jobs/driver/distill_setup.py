"""What a distillation starts from: the same in each of its processes."""

from jobs.configs.distill import DistillConfig
from jobs.driver.compatibility import check_labels_match_model, check_same_length
from jobs.driver.distill_metrics import DistillationJob, DistillMetrics, read_metrics
from model.checkpoints.fingerprint import checkpoint_hash
from model.checkpoints.loading import load_classifier, load_tokenizer
from model.engine.execution import Execution
from model.errors import ArtifactError, CheckpointError, EnvironmentMismatchError
from model.fastbert import FastBertForSequenceClassification
from model.network.branch_design import BranchDesign
from model.training.distillation_config import KlDirection
from model.training.ranks import Ranks
from model.training.soft_labelled_texts import SoftLabelledTexts
from pipeline.contract.job import differences
from pipeline.contract.typed_json import as_plain
from pipeline.reading.remote_checkpoints import find_checkpoint
from pipeline.results.soft_labels import SoftLabels
from pipeline.sampling.hash_sampling import text_hashes
from pipeline.sampling.training_hashes import read_branch_texts


def open_soft_labels(config: DistillConfig) -> SoftLabels:
    """Return what is learnt from.

    Raises:
        FastBertJobsError: if it cannot be trained on, or has no such true labels.
    """
    labels = SoftLabels.open(config.labels)
    labels.check_trainable()
    return labels if config.true_labels is None else labels.with_true_labels(config.true_labels)


def load_fastbert(config: DistillConfig, labels: SoftLabels) -> FastBertForSequenceClassification:
    """Return the backbone with fresh branches, or the FastBERT that is trained on; it fits the labels.

    Raises:
        CheckpointError: if it cannot be loaded, or has other labels or another teacher.
    """
    directory = find_checkpoint(config.source)
    if config.continue_from is not None:
        _check_teacher(config.continue_from, _earlier_metrics(config.continue_from).config, labels)
        model: FastBertForSequenceClassification = FastBertForSequenceClassification.from_pretrained(
            directory
        )
        check_labels_match_model(model, config.continue_from, labels)
        check_same_length(model, config.continue_from, labels)
        return model
    backbone, tokenizer = load_classifier(directory), load_tokenizer(directory)
    model = FastBertForSequenceClassification.from_backbone(
        backbone,
        tokenizer,
        max_length=labels.max_length,
        branch_design=BranchDesign(config.branch),
        seed=config.seed,
    )
    check_labels_match_model(model, config.source, labels)
    return model


def _earlier_metrics(name: str) -> DistillMetrics:
    """Return what `distill` left beside a FastBERT that is trained on.

    Raises:
        CheckpointError: if it left nothing that can be read.
    """
    try:
        return read_metrics(find_checkpoint(name))
    except ArtifactError as error:
        raise CheckpointError(
            f"{name!r} does not tell what its branches learnt from, so none can be trained on; make a "
            "FastBERT with `fastbert-jobs distill` and `backbone`"
        ) from error


def _check_teacher(name: str, earlier: DistillationJob, labels: SoftLabels) -> None:
    """Refuse soft labels of another teacher than a FastBERT's branches learnt from.

    Raises:
        CheckpointError: naming both.
    """
    if not earlier.teacher:
        raise CheckpointError(
            f"{name!r} does not tell which teacher its branches learnt from; distil anew from `backbone`"
        )
    if earlier.teacher != labels.teacher_hash:
        raise CheckpointError(
            f"{labels.name!r} holds the answers of another teacher than the branches of {name!r} learnt "
            "from; label with that teacher, or distil anew from `backbone`"
        )


def texts_learnt_before(config: DistillConfig) -> frozenset[bytes]:
    """Return hashes of the texts that the branches that are trained on have learnt from; none of fresh ones.

    Raises:
        CheckpointError: if the FastBERT does not tell.
        ArtifactError: if what it tells is damaged.
    """
    if config.continue_from is None:
        return frozenset()
    known = read_branch_texts(find_checkpoint(config.continue_from))
    if known is None:
        raise CheckpointError(
            f"{config.continue_from!r} does not tell which texts its branches learnt from, so nothing could "
            "be calibrated afterwards; distil anew from `backbone`"
        )
    return known


def held_out_texts(labels: SoftLabels, learnt_before: frozenset[bytes]) -> SoftLabelledTexts | None:
    """Return the texts that branches are judged by, none that they have learnt before; None for none."""
    texts = labels.held_out()
    if texts is None or not learnt_before:
        return texts
    hashes = text_hashes(texts.texts, texts.text_pairs)
    rows = [row for row, text_hash in enumerate(hashes) if text_hash not in learnt_before]
    return texts.take(rows) if rows else None


def new_metrics(
    config: DistillConfig, job: DistillationJob, labels: SoftLabels, held_out: SoftLabelledTexts | None
) -> DistillMetrics:
    """Return what is known before training.

    Args:
        config: of the command.
        job: of `describe_job`.
        labels: that are learnt from.
        held_out: of `held_out_texts`.
    """
    earlier = None if config.continue_from is None else _earlier_metrics(config.continue_from).held_out_share
    return DistillMetrics(
        config=job,
        num_train_rows=labels.num_train_rows,
        num_held_out_rows=0 if held_out is None else len(held_out),
        # Drawn by the same part of the hash, the smaller sample lies in the larger.
        held_out_share=labels.held_out_share if earlier is None else min(labels.held_out_share, earlier),
    )


def describe_job(
    config: DistillConfig,
    model: FastBertForSequenceClassification,
    labels: SoftLabels,
    execution: Execution,
) -> DistillationJob:
    """Return all that the weights depend on."""
    hashed = checkpoint_hash(find_checkpoint(config.source))
    earlier = None if config.continue_from is None else _earlier_metrics(config.continue_from).config
    return DistillationJob(
        labels=labels.fingerprints,
        backbone=earlier.backbone if earlier else hashed,
        epochs=config.distillation.epochs,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        branch=BranchDesign(model.config.branch_design),
        seed=config.seed,
        kl_direction=KlDirection(config.kl_direction),
        hard_label_weight=config.hard_label_weight,
        lexical_size=config.lexical_size,
        precision=execution.precision,
        backend=execution.backend,
        teacher=labels.teacher_hash,
        true_labels=config.true_labels or "",
        true_label_weight=config.true_label_weight if config.true_labels else 0.0,
        continued=hashed if earlier else "",
        labels_before=(*earlier.labels, *earlier.labels_before) if earlier else (),
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
