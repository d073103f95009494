"""What makes the documents: outputs of the quickstart, tables from measured numbers."""
