"""One module per command; each has a configuration and `run(config) -> summary`."""
