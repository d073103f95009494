"""What the network is made of: configuration, branches, uncertainty."""
