"""Texts to token ids, packed without padding, and the micro-batches that they are run in."""
