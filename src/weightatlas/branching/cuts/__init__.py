"""A network as one graph, and its normalised cut."""
