"""Beam, Arrow and the data contract: what is read, what is written, and how the work is cut."""
