"""Input files to validated rows, each accepted or rejected."""
