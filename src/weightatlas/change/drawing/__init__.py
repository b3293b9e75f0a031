"""The parts of the charts."""
