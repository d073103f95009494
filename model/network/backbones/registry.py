"""Which adapter is whose; a new family is a file beside this one and a line in this."""

from transformers import PretrainedConfig, PreTrainedModel

from model.errors import CheckpointError
from model.network.backbones.adapter import BackboneAdapter
from model.network.backbones.albert import AlbertAdapter
from model.network.backbones.deberta import DebertaAdapter
from model.network.backbones.distilbert import DistilBertAdapter
from model.network.backbones.electra import ElectraAdapter
from model.network.backbones.mobilebert import MobileBertAdapter
from model.network.backbones.modernbert import ModernBertAdapter
from model.network.backbones.mpnet import MPNetAdapter
from model.network.backbones.roberta import RobertaAdapter
from model.network.backbones.xlnet import XLNetAdapter
from model.network.config import FastBertConfig

_ADAPTERS: dict[str, type[BackboneAdapter]] = {
    family: adapter
    for adapter in (
        BackboneAdapter,
        RobertaAdapter,
        ElectraAdapter,
        DistilBertAdapter,
        MPNetAdapter,
        AlbertAdapter,
        MobileBertAdapter,
        DebertaAdapter,
        ModernBertAdapter,
        XLNetAdapter,
    )
    for family in adapter.families
}

SUPPORTED_FAMILIES = tuple(sorted(_ADAPTERS))


def adapter_type(config: PretrainedConfig, name: str) -> type[BackboneAdapter]:
    """Return the kind of adapter of a model's family.

    Args:
        config: of the model.
        name: the model, for the message.

    Raises:
        CheckpointError: if the family is not supported.
    """
    family = config.model_type
    if family == FastBertConfig.model_type:
        raise CheckpointError(f"{name!r} is a FastBERT already; give the classifier that it was made from")
    if family not in _ADAPTERS:
        supported = ", ".join(SUPPORTED_FAMILIES)
        raise CheckpointError(
            f"{name!r} is of family {family!r}, which cannot exit early; supported are {supported}"
        )
    return _ADAPTERS[family]


def adapter_for(model: PreTrainedModel) -> BackboneAdapter:
    """Return the adapter of `model`'s family.

    Raises:
        CheckpointError: if the family is not supported, the model is a decoder, or one of its settings cannot
            be run a layer at a time.
    """
    name = model.name_or_path or "the model"
    adapter = adapter_type(model.config, name)
    if getattr(model.config, "is_decoder", False):
        raise CheckpointError(f"{name!r} is a decoder (is_decoder=true); only encoders can exit early")
    if refused := adapter.refusal(model.config):
        raise CheckpointError(f"{name!r} cannot exit early: {refused}")
    return adapter(model)
