"""The student classifiers after the layers: one design a file."""
