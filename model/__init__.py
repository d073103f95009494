"""The network and its mathematics: torch and transformers, nothing of Beam, Arrow or the command line."""
