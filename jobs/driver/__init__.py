"""How a job is driven: Beam runners, output directories."""
