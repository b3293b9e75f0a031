"""Fuzzers of every reader, each in a process of its own: `python -m tests.fuzz --format NAME --examples N --seed S`."""
