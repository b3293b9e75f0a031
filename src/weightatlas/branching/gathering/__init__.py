"""Families in branches: who is where, how rare that is, and whether runs agree."""
