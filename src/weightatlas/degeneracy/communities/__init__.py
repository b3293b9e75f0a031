"""Communities of a graph in layers: the graph, what chance makes of it, and the Leiden algorithm."""
