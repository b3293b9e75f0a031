"""What `convert` and `fold` are made of: which norm stands behind which convolution, and what takes whose place."""
