"""Conversion tried on the zoos' networks, outside of the test suite: `make sweep`."""
