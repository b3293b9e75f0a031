"""The charts of connectivity: lines, layers, what may change places, planes."""
