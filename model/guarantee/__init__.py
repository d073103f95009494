"""Thresholds, what they are certified to keep, and temperatures: plain functions over arrays."""
