"""Our own jobs: their rates against each other, and their memory."""
