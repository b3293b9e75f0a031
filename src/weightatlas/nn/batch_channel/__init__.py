"""How batch-channel normalisation is computed: moments of maps, running estimates, the plain and the fused pass."""
