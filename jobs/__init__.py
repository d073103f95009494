"""One module a command; each has a configuration and `run(config) -> summary`."""
