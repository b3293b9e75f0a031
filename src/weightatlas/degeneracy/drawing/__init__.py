"""The charts of degeneracy: free directions, spectra, the course over examples, what may be left out."""
