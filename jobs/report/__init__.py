"""Pages that people look at: plots as inline SVG, tables and verdicts in one HTML file without a network."""
