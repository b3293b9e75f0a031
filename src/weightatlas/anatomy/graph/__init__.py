"""A network's exported graph, followed channel by channel."""
