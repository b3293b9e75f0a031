"""The matrices between two layers: sizes of connections, balanced, decomposed, tested."""
