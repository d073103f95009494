"""One room per claim; each script measures and writes a Parquet file, each report makes tables of it."""
