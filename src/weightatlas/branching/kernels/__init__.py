"""What one kernel says of its unit: colour, spectrum, the best Gabor, the class."""
