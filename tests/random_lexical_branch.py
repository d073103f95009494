"""A lexical branch of random weights, for models whose other branches have such too."""

import torch

from model.engine.execution import Precision, resolve_execution
from model.network.lexical_branch import LexicalBranch
from model.tokens.ngram_table import NgramTable, slots_of
from model.tokens.ngrams import hash_ngrams
from model.tokens.tokenization import tokenize

SLOT_BITS = 13


def add_lexical_branch(model, texts, *, seed=2):
    """Give `model` a lexical branch that knows every n-gram of `texts`, and is sure of some of them."""
    tokens = tokenize(model.tokenizer, texts, max_length=model.config.max_length)
    ngrams = hash_ngrams(tokens, sep_token_id=model.tokenizer.sep_token_id)
    table = NgramTable.of_slots(slots_of(ngrams.hashes, SLOT_BITS), slot_bits=SLOT_BITS)
    branch = LexicalBranch.of_table(table, num_outputs=model.config.num_outputs, task=model.task)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        branch.embedding.weight.normal_(generator=generator)
    model.set_lexical_branch(branch.eval())
    logits = model.engine(resolve_execution(Precision.FP32, device="cpu"), num_cores=1).lexical_logits(tokens)
    with torch.no_grad():
        scale = 1.5 / logits.std(dim=0)
        branch.classifier.bias.copy_((branch.classifier.bias - logits.mean(dim=0)) * scale)
        branch.classifier.weight.mul_(scale[:, None])
    return model
