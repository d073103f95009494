"""Copies of a FastBERT and of its backbone, to be changed and loaded."""

import json

import pytest
from safetensors.torch import load_file, save_file

from model.checkpoints.hub import resolve_checkpoint
from model.checkpoints.loading import load_classifier, load_tokenizer
from model.fastbert import FastBertForSequenceClassification

FASTBERT, BACKBONE = "fastbert", "backbone"


both = pytest.mark.parametrize("directory", [FASTBERT, BACKBONE], indirect=True)
fastbert_only = pytest.mark.parametrize("directory", [FASTBERT], indirect=True)
backbone_only = pytest.mark.parametrize("directory", [BACKBONE], indirect=True)


def load(directory):
    """Load a copy as its kind is loaded by the jobs."""
    if directory.name == FASTBERT:
        return FastBertForSequenceClassification.from_pretrained(directory)
    path = resolve_checkpoint(str(directory))
    classifier = load_classifier(path)
    load_tokenizer(path)
    return classifier


def change_tensors(directory, change):
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def change_config(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
