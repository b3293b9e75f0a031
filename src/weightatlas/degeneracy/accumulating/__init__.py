"""Sums over what every layer of a network is given and what its outputs are worth, streamed over any amount of data."""
