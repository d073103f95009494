"""What a certificate leaves of the saved compute."""
