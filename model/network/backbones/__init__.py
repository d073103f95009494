"""One adapter per Hugging Face family: how its classifier is run a layer at a time."""
