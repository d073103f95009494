"""What true labels beside the teacher's do to branches."""
