"""Renders plates as one self-contained HTML page, and charts as files; knows no phenomenon and never loads torch."""

from weightatlas.atlas.page import write_atlas

__all__ = ["write_atlas"]
