"""What branches are worth: agreement, and the compute that is saved at a promise, on several data sets."""
