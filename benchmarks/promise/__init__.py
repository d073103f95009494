"""How often a promise is broken, counted where everything is known."""
