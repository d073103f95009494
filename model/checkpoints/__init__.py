"""Model directories: found, loaded whole or refused, told apart by their bytes."""
