"""A sequence classifier with a branch after every layer but the last."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from model.answers.rule import answer_rule
from model.answers.task import Task
from model.checkpoints.completeness import check_complete, check_nothing_unexpected
from model.checkpoints.fingerprint import checkpoint_hash
from model.checkpoints.foreign import foreign
from model.checkpoints.hub import HUB_OPTIONS, resolve_checkpoint
from model.checkpoints.identity import ModelIdentity
from model.checkpoints.loading import (
    label_names,
    load_tokenizer,
    loading_refusal,
    silence_transformers,
    task_of,
)
from model.engine.engine import Engine
from model.engine.execution import Execution, check_finite
from model.engine.lexical import LexicalReader
from model.errors import CheckpointError, ParameterError
from model.exits.binding import own_execution
from model.exits.layer_sweep import predict_tokenized
from model.exits.policy import ExitPolicy, policy_of
from model.exits.predictions import Predictions
from model.network.backbones.adapter import BackboneAdapter
from model.network.backbones.registry import adapter_for
from model.network.branch_design import BranchDesign
from model.network.branches.registry import make_branch
from model.network.config import FastBertConfig, load_fastbert_config
from model.network.lexical_branch import LexicalBranch, make_lexical_branch
from model.tokens.lexical_signature import lexical_signature
from model.tokens.max_length import check_max_length
from model.tokens.tokenization import tokenize


class FastBertForSequenceClassification(PreTrainedModel):
    """FastBERT (Liu et al., ACL 2020) around any supported Hugging Face sequence classifier.

    The backbone's own head on the last layer is the teacher classifier and stays untouched: at full depth
    this is the user's model. A student classifier, the branch, follows each layer before it.

    Attributes:
        backbone: the Hugging Face model.
        branches: one `Branch` per layer, the last excepted.
        lexical_branch: the exit before the first layer; None for a model without one.
    """

    config_class = FastBertConfig
    base_model_prefix = "backbone"
    _tokenizer: PreTrainedTokenizerBase | None = None

    def __init__(self, config: FastBertConfig, *, init_backbone_weights: bool = True) -> None:
        """Make a model of `config`'s shape with fresh weights.

        Args:
            config: the shape.
            init_backbone_weights: False leaves the backbone without weights, on the meta device, for a caller
                who puts another in.
        """
        super().__init__(config)
        self._identity = ModelIdentity()
        with nullcontext() if init_backbone_weights else torch.device("meta"):
            self.backbone = AutoModelForSequenceClassification.from_config(
                config.backbone_config, trust_remote_code=False
            )
        self.adapter: BackboneAdapter = adapter_for(self.backbone)
        self.branches = nn.ModuleList(make_branch(config) for _ in range(self.num_layers - 1))
        self.lexical_branch = make_lexical_branch(config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave the branches' first weights as torch draws them; the backbone's own class draws its own.

        A backbone's `initializer_range` is for wide layers that are trained for long. Branches drawn from it
        begin with signals that shrink by a factor of four a layer, and learn next to nothing for epochs.
        """

    @classmethod
    def from_backbone(
        cls,
        backbone: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_length: int,
        branch_design: BranchDesign = BranchDesign.POOLING,
        seed: int = 0,
    ) -> "FastBertForSequenceClassification":
        """Put fresh branches around a fine-tuned classifier, whose weights are shared, not copied.

        Args:
            backbone: a sequence classifier of a supported family.
            tokenizer: its own.
            max_length: tokens that a text is cut to.
            branch_design: how branches read the states.
            seed: of the branches' first weights.

        Raises:
            CheckpointError: if the family is not supported, or it has a single layer.
        """
        num_layers = len(adapter_for(backbone).layers)
        if num_layers < 2:
            raise CheckpointError("a model of one layer has no earlier layer to exit at")
        config = FastBertConfig.from_backbone(
            backbone.config, max_length=max_length, branch_design=branch_design
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = cls(config, init_backbone_weights=False)
        model.backbone = backbone
        model.adapter = adapter_for(backbone)
        model.tokenizer = tokenizer
        return cast("FastBertForSequenceClassification", model.eval())

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """What `predict` takes texts with; `from_pretrained` loads it with the weights.

        Raises:
            CheckpointError: if the model was made without one and none was set.
        """
        if self._tokenizer is None:
            raise CheckpointError("this model has no tokenizer yet; set `model.tokenizer` to the backbone's")
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if self.lexical_branch and self.config.lexical_signature != lexical_signature(tokenizer, self.labels):
            raise CheckpointError(
                "the model's lexical branch was trained with another tokenizer, or with other labels or "
                "another order of them; make it again with `fastbert-jobs distill`"
            )
        self._tokenizer = tokenizer

    def set_lexical_branch(self, branch: LexicalBranch | None) -> None:
        """Put an exit before the first layer, trained with the model's own tokenizer; None for none."""
        self.lexical_branch = branch
        self.config.lexical_ngrams = branch.num_ngrams if branch else 0
        self.config.lexical_slot_bits = branch.table.slot_bits if branch else 0
        self.config.lexical_signature = lexical_signature(self.tokenizer, self.labels) if branch else ""

    @classmethod
    def from_pretrained(cls, name: str | PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """Load a FastBERT checkpoint with its tokenizer, in eval mode.

        Args:
            name: a directory, or a name on the Hugging Face hub.
            args: as `PreTrainedModel.from_pretrained` takes them.
            kwargs: likewise; of them `revision`, `token`, `cache_dir` and `local_files_only` say what the
                hub is asked for.

        Returns:
            The model; with `output_loading_info=True` the loading report too.

        Raises:
            CheckpointError: if it is no FastBERT, or its tensors do not match its configuration exactly.
        """
        hub_options = {key: kwargs.pop(key) for key in HUB_OPTIONS if key in kwargs}
        directory = resolve_checkpoint(str(name), **hub_options)
        kwargs["dtype"] = kwargs.pop("torch_dtype", kwargs.get("dtype", "float32"))  # its older name
        # Tensors of another shape are refused below, by name.
        options = {"config": load_fastbert_config(directory), "ignore_mismatched_sizes": True, **kwargs}
        with_report = options.pop("output_loading_info", False)
        # Transformers hands it on from its Auto classes; no FastBERT has code to run.
        options.pop("trust_remote_code", None)
        with silence_transformers(), foreign(loading_refusal(directory, str(name))):
            model, report = super().from_pretrained(
                directory, *args, output_loading_info=True, trust_remote_code=False, **options
            )
        check_complete(report, str(name))
        check_nothing_unexpected(report, str(name))
        if model.lexical_branch:
            model.lexical_branch.check(str(name))
        check_max_length(model.config.max_length, model.backbone, str(name))
        model.tokenizer = load_tokenizer(directory)
        # In another number format they are no longer the weights that the files hold.
        if model.dtype == torch.float32:
            model._identity.set_checkpoint(model, checkpoint_hash(directory))
        return (model.eval(), report) if with_report else model.eval()

    def save_pretrained(self, save_directory: str | PathLike[str], **kwargs: Any) -> None:
        """Write config.json, model.safetensors and, if there is a tokenizer, its files.

        Calibrate a model that was made or changed in memory after it is saved, not before: what it is bound
        to is then the saved checkpoint.
        """
        with silence_transformers():
            super().save_pretrained(save_directory, **kwargs)
        if self._tokenizer is not None:
            self._tokenizer.save_pretrained(save_directory)
        if self.dtype == torch.float32 and not self._identity.is_checkpoint(self) and not kwargs:
            self._identity.set_checkpoint(self, checkpoint_hash(Path(save_directory)))

    @property
    def model_hash(self) -> str:
        """What calibrated policies are bound to: the hash of the checkpoint that the weights are of.

        Where they are of none, being made, trained or converted in memory, a name of their own.
        """
        return self._identity.of(self)

    @property
    def num_layers(self) -> int:
        """Layers of the backbone; exit layers count from 1 to this."""
        return len(self.adapter.layers)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the logits."""
        return label_names(self.config)

    @property
    def task(self) -> Task:
        """What the logits mean."""
        return task_of(self.config)

    def forward(self, **inputs: Tensor) -> SequenceClassifierOutput:
        """Run the backbone at full depth; arguments and result are those of the Hugging Face model."""
        output: SequenceClassifierOutput = self.backbone(**inputs)
        return output

    def predict(
        self,
        texts: Sequence[str],
        text_pairs: Sequence[str] | None = None,
        *,
        speed: float | None = None,
        policy: ExitPolicy | None = None,
        decide: Sequence[str] = (),
        tolerance: float | None = None,
        engine: Engine | None = None,
    ) -> Predictions:
        """Classify texts, each leaving at the first layer that is sure enough.

        Args:
            texts: what to classify.
            text_pairs: the second text of each pair, for a model of pairs.
            speed: a text leaves where its uncertainty is below this; 0, as neither of both, is full depth,
                the Hugging Face model's answers.
            policy: thresholds per layer; excludes `speed`.
            decide: cuts that answers are told by, as `spam>=0.9`, or `>=3` of a score; a policy has its own.
            tolerance: by which two scores may differ, in place of cuts.
            engine: this model made ready before, for frequent calls. None makes an engine: for a calibrated
                policy the one that it is calibrated for; else one in the model's own dtype, packed for a
                long list of texts, and of the layers as they are for a short one.

        Returns:
            Answers in the order of `texts`.

        Raises:
            ParameterError: if `speed` is outside [0, 1] or given beside a policy, the policy is of another
                depth, or of a cut or a tolerance one does not fit the model or is given beside a policy.
            ArtifactError: if `policy` is calibrated for another model, or for what cannot run here.
            CheckpointError: if an answer is not finite.
        """
        if isinstance(texts, str):
            raise TypeError("texts is a sequence of strings, not one string")
        policy = self.policy_of(speed, policy, decide=decide, tolerance=tolerance)
        tokenized = tokenize(self.tokenizer, texts, text_pairs, max_length=self.config.max_length)
        if engine is None:
            num_tokens = len(tokenized.input_ids)
            engine = self.engine(own_execution(policy, self.dtype, self.device, num_tokens=num_tokens))
        answers = predict_tokenized(engine, tokenized, policy)
        check_finite(answers.logits)
        return answers

    def policy_of(
        self,
        speed: float | None,
        policy: ExitPolicy | None,
        *,
        decide: Sequence[str] = (),
        tolerance: float | None = None,
    ) -> ExitPolicy:
        """Return the policy of a caller who gives a speed, a policy, or neither for full depth.

        Args:
            speed: see `predict`, as for all that follow.
            policy: likewise.
            decide: likewise.
            tolerance: likewise.

        Returns:
            One that says which answers are the same.

        Raises:
            ParameterError: as `predict` does.
        """
        if policy is not None and (decide or tolerance is not None):
            raise ParameterError("`policy` says what is decided: leave `decide` and `tolerance` out")
        rule = answer_rule(self.task, self.labels, decide=decide, tolerance=tolerance)
        policy = policy_of(speed, policy, num_layers=self.num_layers, answer=rule)
        return policy if policy.answer else replace(policy, answer=rule)

    def engine(self, execution: Execution, *, num_cores: int | None = None) -> Engine:
        """Return a copy of this model made ready; the model itself keeps its device, dtype and mode.

        Args:
            execution: what to run on.
            num_cores: see `Engine`.
        """
        tokenizer, branch = self.tokenizer, self.lexical_branch
        return Engine.for_classifier(
            self.backbone,
            execution,
            pad_token_id=tokenizer.pad_token_id,
            branches=self.branches,
            lexical=LexicalReader(branch, sep_token_id=tokenizer.sep_token_id) if branch else None,
            num_cores=num_cores,
            model_hash=self.model_hash,
        )


AutoModelForSequenceClassification.register(FastBertConfig, FastBertForSequenceClassification)
