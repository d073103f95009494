"""The Beam transforms, and what each does with a work item."""
