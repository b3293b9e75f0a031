"""HDF5, parsed in a child process, and the three generations of Keras that write it."""
