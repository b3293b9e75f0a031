"""The command line: parses, calls one survey, prints. Holds no science."""

from weightatlas.cli.application import main

__all__ = ["main"]
