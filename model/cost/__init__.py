"""What layers and branches cost, in FLOPs and in seconds."""
