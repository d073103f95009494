"""What is compared with the full model: labels, sets of labels, scores, and the sides of cuts."""
