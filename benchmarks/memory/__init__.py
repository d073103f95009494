"""What a certificate rests on: texts that the teacher remembers, near copies, and other texts."""
