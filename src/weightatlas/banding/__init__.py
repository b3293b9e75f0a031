"""banding."""
