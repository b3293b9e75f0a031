"""The loss along a line as a function of one number: its slope, its curvature, and their integrals."""
