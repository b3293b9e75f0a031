"""Which layers make a rectifier's inputs, and which alone take its outputs: found by following one run of a network."""
