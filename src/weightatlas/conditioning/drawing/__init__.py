"""Charts of smoothness and of the course of a run."""
