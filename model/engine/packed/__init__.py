"""Layers and branches over packed texts: no padding, fused products."""
