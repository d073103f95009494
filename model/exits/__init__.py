"""Where texts leave: policies, the layer sweep, every exit's answer."""
