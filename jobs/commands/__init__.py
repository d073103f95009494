"""One module per command: `run(config)` opens, calls, prints and writes."""
