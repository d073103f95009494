"""Thresholds, what they are certified to keep, and scalings: plain functions over arrays."""
