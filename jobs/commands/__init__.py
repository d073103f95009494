"""One module a command: `run(config)` opens, calls, prints and writes."""
