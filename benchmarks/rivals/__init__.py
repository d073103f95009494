"""What else one could do with a teacher and unlabelled text: static students, and other ways to run it."""
