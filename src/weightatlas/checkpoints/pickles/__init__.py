"""What torch saves: pickles read as data, archives and storages, distributed checkpoints."""
