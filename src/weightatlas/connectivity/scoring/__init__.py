"""Networks on a line scored on data: curves, how high they rise, and how sure that is."""
