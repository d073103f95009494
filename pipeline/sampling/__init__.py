"""Hashes of texts, and what is drawn or told apart by them."""
