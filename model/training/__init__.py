"""The training loop, and what it trains: branches by self-distillation, classifiers from labelled texts."""
