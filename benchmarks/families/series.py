"""What `run.py` compares, by the names that `report.py` looks up."""

PIPELINE, OWN_LAYERS, PACKED = SYSTEMS = ("pipeline", "its own layers", "packed")
