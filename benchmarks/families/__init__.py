"""Families whose blocks are their own: full depth against Hugging Face, on models of the real shapes."""
