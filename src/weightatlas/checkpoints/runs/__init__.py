"""The checkpoints of a training run, in the order of their steps."""
