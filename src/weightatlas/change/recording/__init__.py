"""What a recorder keeps of the weights, what it makes of them, and how that is read back."""
