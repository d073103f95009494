"""What the user sees: progress, tables, plots, and what Beam may log."""
