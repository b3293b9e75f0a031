"""The Jacobian of a network's outputs by its parameters: its rows, and their factors, streamed."""
