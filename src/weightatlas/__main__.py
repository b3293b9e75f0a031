"""`python -m weightatlas`: the command line, for launchers that start modules."""

from weightatlas.cli import main

main()
