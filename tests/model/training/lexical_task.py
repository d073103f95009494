"""Texts whose label one word gives away, as a teacher might answer them."""

import random

import numpy as np

from model.training.soft_labelled_texts import SoftLabelledTexts

WORDS = ("fox", "dog", "fence", "lunch", "quick", "lazy", "brown", "over")


def labelled(num_texts, *, num_labels=3, seed=0):
    """Return texts of which the word `WORDS[label]` gives the label away, and no other such word is in."""
    draw = random.Random(seed)
    labels = [draw.randrange(num_labels) for _ in range(num_texts)]
    neutral = ("a", "the", "and", "12", "for", "each")
    texts = []
    for label in labels:
        words = [*draw.choices(neutral, k=draw.randint(1, 9)), WORDS[label]]
        draw.shuffle(words)
        texts.append(" ".join(words))
    return SoftLabelledTexts(
        texts=texts,
        text_pairs=None,
        logits=(4.0 * np.eye(num_labels)[labels]).astype(np.float32),
        num_tokens=np.array([len(text.split()) + 2 for text in texts], dtype=np.int64),
    )
