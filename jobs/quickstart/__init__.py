"""The whole line on text that every installation already has."""
