"""How fast texts are answered, against other ways to run the same model."""
