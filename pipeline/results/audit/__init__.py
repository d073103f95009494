"""What is said of a finished job: whether its promise holds, what it is made of, and what it did."""
