"""How two networks' units are matched: by their weights, by their activations, by the loss at the midpoint."""
