"""A run gone through part by part: where each tensor is, what was measured already, what is left."""
