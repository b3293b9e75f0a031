"""Which directions of the parameters are free, which basis a network computes in, and which modules remain."""
