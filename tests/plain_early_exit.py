"""Early exit by plain and slow code, a text at a time: what the engine is held against."""

import numpy as np
import torch

from model.fastbert import FastBertForSequenceClassification


@torch.no_grad()
def plain_exits(model: FastBertForSequenceClassification, text: str, pair: str | None = None) -> np.ndarray:
    """Return every exit's logits for one text, (num_layers, num_labels).

    Hidden states come from Hugging Face's own forward; a branch is written out with all its queries.
    """
    pairs, limit = None if pair is None else [pair], model.config.max_length
    inputs = model.tokenizer([text], pairs, truncation=True, max_length=limit, return_tensors="pt")
    output = model.backbone(**inputs, output_hidden_states=True)
    # An ALBERT whose layers have several inner ones tells the states after each of these.
    inner = (len(output.hidden_states) - 1) // model.num_layers
    exits = [
        _plain_branch(branch, states[0])
        for branch, states in zip(model.branches, output.hidden_states[inner:-1:inner], strict=True)
    ]
    return torch.stack([*exits, output.logits[0]]).numpy()


def _plain_branch(branch: torch.nn.Module, states: torch.Tensor) -> torch.Tensor:
    """Return a branch's logits, (num_labels,), from one text's states, (length, hidden_size)."""
    return (
        _plain_paper_branch(branch, states) if hasattr(branch, "narrow") else _plain_pooling(branch, states)
    )


def _plain_pooling(branch: torch.nn.Module, states: torch.Tensor) -> torch.Tensor:
    states = _normalised(branch, states)
    weights = (states @ branch.queries.weight.T).softmax(dim=0)
    seen = [(weight[:, None] * states).sum(dim=0) for weight in weights.T]
    token = states[_token_of(branch)]
    joined = torch.cat([branch.norm(each) for each in (*seen, states.mean(dim=0), token)])
    return branch.classifier(torch.nn.functional.gelu(branch.dense(joined)))


def _plain_paper_branch(branch: torch.nn.Module, states: torch.Tensor) -> torch.Tensor:
    narrow = branch.narrow(_normalised(branch, states)).tanh()
    query, key, value = branch.query(narrow), branch.key(narrow), branch.value(narrow)
    size = narrow.shape[1] // branch.num_heads
    heads = []
    for start in range(0, narrow.shape[1], size):
        part = slice(start, start + size)
        scores = query[:, part] @ key[:, part].T / size**0.5
        heads.append(scores.softmax(dim=-1) @ value[:, part])
    attended = branch.attention_output(torch.cat(heads, dim=1))
    return branch.classifier(branch.dense(attended[_token_of(branch)]).tanh())


def _normalised(branch: torch.nn.Module, states: torch.Tensor) -> torch.Tensor:
    if not branch.reading.normalise:
        return states
    centred = states - states.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()


def _token_of(branch: torch.nn.Module) -> int:
    return -1 if branch.reading.tokens == "last" else 0


def plain_uncertainty(logits: np.ndarray) -> np.ndarray:
    """Return the normalised entropy of softmax(logits) over the last axis, in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    shares = powers / powers.sum(axis=-1, keepdims=True)
    terms = shares * np.log(np.where(shares > 0, shares, 1))
    return terms.sum(axis=-1) / np.log(1 / logits.shape[-1])
