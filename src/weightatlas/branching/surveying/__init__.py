"""The parts of a survey: the opened network, its units, its pairs of layers, its families."""
