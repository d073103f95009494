"""What the fine-tuning of a classifier is made of: its settings, its loss, and how it is judged."""
