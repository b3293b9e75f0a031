"""How well a network is conditioned: smooth along its training, away from dead channels."""
