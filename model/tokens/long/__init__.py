"""Long texts, shortened before the tokenizer sees them, to the same ids."""
