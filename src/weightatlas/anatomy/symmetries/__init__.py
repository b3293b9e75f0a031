"""How a network's symmetries are found: axes of its tensors as factors, followed through its graph, and verified."""
