"""What finished jobs left, read again: soft labels, calibrations, exit statistics."""
