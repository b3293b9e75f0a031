"""Checkpoints in the format of another one: the same file or folder, but for the values of its tensors."""
