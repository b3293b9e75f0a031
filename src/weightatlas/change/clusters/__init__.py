"""From a table of curves to clusters of layers, and how far those can be trusted."""
