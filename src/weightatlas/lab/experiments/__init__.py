"""Experiments: a matrix of variants and seeds, run, measured, compared with its baseline and judged."""
